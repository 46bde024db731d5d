package main

import (
	"reflect"
	"testing"

	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/policy/steer"
)

// TestOffers: a POP offers what it lends, and nothing of what others do.
func TestOffers(t *testing.T) {
	loans := []shed.Loan{{From: "FRA", To: "LON", Share: 0.1}, {From: "LON", To: "FRA", Share: 0.2}, {From: "LON", To: "NYC", Share: 0.05}}
	if got := offers(loans, "LON"); !reflect.DeepEqual(got, []steer.Offer{{To: "FRA", Share: 0.2}, {To: "NYC", Share: 0.05}}) {
		t.Errorf("%+v", got)
	}
	if got := offers(loans, "NYC"); got != nil {
		t.Errorf("%+v", got)
	}
}
