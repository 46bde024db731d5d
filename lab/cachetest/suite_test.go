package cachetest

import (
	"encoding/json"
	"slices"
	"testing"
)

const listed = `[{"id": "one", "tests": [
	{"id": "base"},
	{"id": "above", "kind": "optimal", "depends_on": ["base"]},
	{"id": "top", "kind": "required", "depends_on": ["above"]},
	{"id": "asks", "kind": "check"},
	{"id": "browser", "browser_only": true}
]}]`

// A test that passes by itself does not count while one it depends on, at any
// depth, fails; checks and what only browsers run are no failures.
func TestJudge(t *testing.T) {
	var s Suite
	if err := s.parse([]byte(listed)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		results  string
		required int
		optimal  int
		failures []string
	}{
		{`{"base": true, "above": true, "top": true, "asks": ["Assertion", "no"]}`, 2, 1, nil},
		{`{"base": ["Setup", "retry"], "above": true, "top": true}`, 0, 0, []string{"base", "above", "top"}},
		{`{"base": true, "above": ["Assertion", "not cached"], "top": true}`, 1, 0, []string{"above", "top"}},
		{`{"base": true, "above": true}`, 1, 1, []string{"top"}},
	} {
		var r results
		if err := json.Unmarshal([]byte(c.results), &r); err != nil {
			t.Fatal(err)
		}
		required, all := s.score(Required, r)
		optimal, _ := s.score(Optimal, r)
		if required != c.required || optimal != c.optimal || all != 2 {
			t.Errorf("%s: required %d of %d, optimal %d; want %d of 2, %d", c.results, required, all, optimal, c.required, c.optimal)
		}
		if got := s.failures(r); !slices.Equal(got, c.failures) {
			t.Errorf("%s: failures %v, want %v", c.results, got, c.failures)
		}
	}
}

func TestReasons(t *testing.T) {
	if _, err := reasons(reasonsFile); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"a\n", "a why\na again\n"} {
		if _, err := reasons(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
