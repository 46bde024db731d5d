package site

import (
	"net/http"
	"testing"

	"github.com/catchment/catchment/server/cache/rule"
)

func TestTargetedFieldsAreKeptFromClients(t *testing.T) {
	s := &Site{policy: rule.DefaultPolicy()}
	h := http.Header{"Cdn-Cache-Control": {"max-age=60"}}
	if s.EditResponse(h); len(h) != 1 || s.EditsResponse() {
		t.Errorf("without being asked: %v", h)
	}
	s.policy.StripTargeted = true
	if s.EditResponse(h); len(h) != 0 || !s.EditsResponse() {
		t.Errorf("%v", h)
	}
}
