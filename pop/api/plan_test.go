package api_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
