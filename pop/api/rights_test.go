package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestRights: who may change things.
func TestRights(t *testing.T) {
	me := uint32(os.Geteuid())
	for _, tc := range []struct {
		name string
		who  caller
		want bool
	}{
		{"nobody known", stranger{}, false},
		{"root", process{uid: 0, gid: 7}, true},
		{"the daemon's user", process{uid: me, gid: 7}, true},
		{"another", process{uid: 4242, gid: 4242}, false},
		{"another, in the group", process{uid: 4242, gid: 77, group: "77"}, true},
		{"another, in another group", process{uid: 4242, gid: 78, group: "77"}, false},
		{"a group that is gone", process{uid: 4242, gid: 78, group: "no-such-group-here"}, false},
		{"a certificate, nobody named", holder{names: []string{"ann"}}, false},
		{"a certificate that is named", holder{names: []string{"ann", "ann@example.net"}, changes: []string{"bob", "ann@example.net"}}, true},
		{"a certificate that is not", holder{names: []string{"ann"}, changes: []string{"bob", "an", "annn"}}, false},
		{"a certificate, all named", holder{names: []string{"ann"}, changes: []string{"*"}}, true},
		{"a certificate without a name", holder{changes: []string{""}}, false},
		{"loopback", local{}, false},
		{"loopback, allowed", local{changes: true}, true},
	} {
		if got := tc.who.mayChange() == nil; got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// TestStrangerReadsOnly: without the rights a change never reaches the backend
// (which is nil here), whatever the request says.
func TestStrangerReadsOnly(t *testing.T) {
	s, err := New(Options{Socket: "unused", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		who  caller
		want string
	}{
		{process{uid: 4242, gid: 4242}, "uid 4242 may read but not change"},
		{holder{names: []string{"ann"}, address: "192.0.2.1"}, "certificate ann (192.0.2.1) may read but not change"},
		{local{"127.0.0.1:5", false, "web.change"}, "127.0.0.1:5 may read but not change: that takes the Unix socket, or web.change"},
		{nil, "unknown may read but not change"},
	} {
		for _, verb := range []string{"drain", "undrain", "hold", "release", "pin", "reload", "stop", "cache/purge"} {
			r := httptest.NewRequest("POST", "/v1/"+verb, strings.NewReader(`{"servic`))
			if tc.who != nil {
				r = r.WithContext(withCaller(r.Context(), tc.who))
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%s: %d %s", verb, w.Code, w.Body)
			}
		}
	}
}

// TestPage: whoever reaches the page's listener reads, and changes only where
// that is allowed.
func TestPage(t *testing.T) {
	s, err := New(Options{Socket: "unused", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[bool]int{false: http.StatusForbidden, true: http.StatusBadRequest} {
		r := httptest.NewRequest("POST", "/v1/drain", strings.NewReader(`{"servic`))
		w := httptest.NewRecorder()
		s.PageHandler(change).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("change %v: %d %s", change, w.Code, w.Body)
		}
	}
}
