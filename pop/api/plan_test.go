package api_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestPlanIsARead: who may change nothing may ask what would happen; what makes
// no sense is refused before the daemon is asked.
func TestPlanIsARead(t *testing.T) {
	b := apitest.World()
	srv, err := api.New(api.Options{Socket: t.TempDir() + "/s", Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, body string) (int, string) {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/"+path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	if code, text := ask("drain", `{"service":"web"}`); code != http.StatusForbidden {
		t.Fatalf("a stranger may drain: %d %s", code, text)
	}
	code, text := ask("plan", `{"suppose":[{"kind":"drain","service":"web"},{"kind":"pop","pop":"FRA","is":"gone"}],"for":"90s"}`)
	var p api.Plan
	if err := json.Unmarshal([]byte(text), &p); code != http.StatusOK || err != nil || len(p.Slices) == 0 || len(b.Plans) != 1 || b.Plans[0].Suppose[1].POP != "FRA" {
		t.Fatalf("%d %v %s, asked %+v", code, err, text, b.Plans)
	}
	for body, want := range map[string]string{
		``:                                       "nothing is supposed",
		`{}`:                                     "nothing is supposed",
		`{"suppose":[{"kind":"drain","srv":1}]}`: "unknown field",
		`{"suppose":[{"kind":"dance"}]}`:         `no kind \"dance\"`,
		`{"suppose":[{"kind":"check","service":"web","verdict":"ill"}]}`:               "want one of",
		`{"suppose":[{"kind":"drain"}],"for":"25h"}`:                                   "at most 24h",
		`{"suppose":[{"kind":"drain","slice":"192.0.2.1/24"}]}`:                        "host bits",
		`{"suppose":[{"kind":"stop","service":"web"}]}`:                                "whole daemon",
		`{"suppose":[{"kind":"neighbor","neighbor":"10.0.0.2","is":"gone"}]}`:          "want one of",
		`{"suppose":[{"kind":"config","config":"pop: LON","format":"ini"}]}`:           "yaml or toml",
		`{"suppose":[` + strings.Repeat(`{"kind":"hold"},`, 100) + `{"kind":"hold"}]}`: "at most 100",
	} {
		if code, text := ask("plan", body); code != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%.80s: %d %s, want %q", body, code, text, want)
		}
	}
	if len(b.Plans) != 1 {
		t.Errorf("the daemon was asked %d times", len(b.Plans))
	}
}

// TestPlanConfigTakesRights: who may change nothing cannot have the daemon read
// a configuration, which takes memory by its size, nor learn how it differs from
// the one in force.
func TestPlanConfigTakesRights(t *testing.T) {
	b := apitest.World()
	srv, err := api.New(api.Options{Socket: t.TempDir() + "/s", Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("# long\n", 20_000) // beyond what a change may be
	config := api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeDrain}, {Kind: api.SupposeConfig, Config: "pop: LON\n"}}}
	long := api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeConfig, Config: text}}}
	wrong := api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeDrain, Service: policy.ServiceID(text)}}}
	for _, c := range []struct {
		what   string
		change bool
		ask    api.PlanRequest
		want   int
		say    string
		plans  int
	}{
		{"a reader", false, config, http.StatusForbidden, "plan config: the page, from 192.0.2.1:1234 may read but not change", 0},
		{"a reader, at length", false, wrong, http.StatusBadRequest, "too large", 0},
		{"an operator", true, config, http.StatusOK, "", 1},
		{"an operator, at length", true, long, http.StatusOK, "", 1},
	} {
		body, err := json.Marshal(c.ask)
		if err != nil {
			t.Fatal(err)
		}
		b.Plans = nil
		w := httptest.NewRecorder()
		srv.PageHandler(c.change).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/plan", bytes.NewReader(body)))
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.say) || len(b.Plans) != c.plans {
			t.Errorf("%s: %d %.200s, %d plans; want %d, %q, %d", c.what, w.Code, w.Body, len(b.Plans), c.want, c.say, c.plans)
		}
	}
}
