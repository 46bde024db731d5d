package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestMaintenanceCalls: who may only read sees the windows and the fleet, and
// changes nothing; a window that makes no sense is refused.
func TestMaintenanceCalls(t *testing.T) {
	b := apitest.World()
	srv, err := api.New(api.Options{Socket: filepath.Join(t.TempDir(), "c.sock"), Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const window = `{"name":"power","at":"daily 02:00 UTC","for":"1h","why":"the feed"}`
	for _, c := range []struct {
		change       bool
		method, path string
		body         string
		status       int
		says         string
	}{
		{false, "GET", "fleet", "", http.StatusOK, `"pop":"a-pop-with-a-long-name"`},
		{false, "GET", "maintenance", "", http.StatusOK, "[]"},
		{false, "POST", "maintenance/add", window, http.StatusForbidden, "may read but not change"},
		{false, "POST", "maintenance/remove", `{"name":"power"}`, http.StatusForbidden, "may read but not change"},
		{true, "POST", "maintenance/add", `{"name":"power","at":"2am","for":"1h"}`, http.StatusBadRequest, "Europe/London"},
		{true, "POST", "maintenance/add", `{"name":"power","when":"daily 02:00 UTC"}`, http.StatusBadRequest, "unknown field"},
		{true, "POST", "maintenance/add", `{"name":"power","at":"daily 02:00 UTC","for":"1h","why":"a\nb"}`, http.StatusBadRequest, "one line"},
		{true, "POST", "maintenance/add", window, http.StatusOK, "window power added"},
		{false, "GET", "maintenance", "", http.StatusOK, `"by":"the page, from`},
		{true, "POST", "maintenance/remove", `{"name":"lunch"}`, http.StatusNotFound, "no window"},
		{true, "POST", "maintenance/remove", `{"name":"power"}`, http.StatusOK, "removed"},
	} {
		w := httptest.NewRecorder()
		srv.PageHandler(c.change).ServeHTTP(w, httptest.NewRequest(c.method, "/v1/"+c.path, strings.NewReader(c.body)))
		if said := w.Body.String(); w.Code != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, w.Code, said, c.status, c.says)
		}
	}
}
