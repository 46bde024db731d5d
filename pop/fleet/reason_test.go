package fleet

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/catchment/catchment/policy"
)

func because(c Claim, reason string) Claim {
	c.Reason = reason
	return c
}

// reasons are those that a node has heard of its peers.
func (n *node) reasons() map[policy.POPID]string {
	out := map[policy.POPID]string{}
	for _, r := range n.Peers(time.Now()) {
		for _, c := range r.Claims {
			out[r.POP] = c.Reason
		}
	}
	return out
}

// TestReasonsReachPeers: first with an answer, and a new one although no
// decision depends on it.
func TestReasonsReachPeers(t *testing.T) {
	nodes := world(t, 20*time.Millisecond, "127.0.0.1", "LON", "FRA")
	for _, reason := range []string{"healthy", "hold-down: 5s more", "hold-down: 4s more"} {
		nodes["LON"].say(because(up(web4), reason))
		for deadline := time.Now().Add(20 * time.Second); nodes["FRA"].reasons()["LON"] != reason; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("FRA has heard %q, want %q", nodes["FRA"].reasons()["LON"], reason)
			}
		}
	}
}

// TestNoReasonForOldPOPs: they refuse a message with a field they do not know.
func TestNoReasonForOldPOPs(t *testing.T) {
	f := newNode(t, "LON", "FRA")
	f.say(because(up(web4), "healthy"))
	for header, want := range map[string]bool{"": false, "yes": true} {
		r := signed(string(encode(t, message("b", 1, up(web4)))))
		if header != "" {
			r.Header.Set(reasonsHeader, header)
		}
		w := httptest.NewRecorder()
		f.exchange.Handler(f.take).ServeHTTP(w, r)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"reason"`) != want {
			t.Errorf("asked with %q: %d %s", header, w.Code, w.Body)
		}
	}
}

func TestTidy(t *testing.T) {
	long := strings.Repeat("ä", 150)
	for reason, want := range map[string]string{
		"": "", "healthy": "healthy", "two\nlines\x7f": "two lines ", long: strings.Repeat("ä", 98) + "…",
	} {
		got := tidy(reason)
		if got != want || len(got) > maxReason || !utf8.ValidString(got) || tidy(got) != got {
			t.Errorf("tidy(%q) = %q, %d bytes, want %q", reason, got, len(got), want)
		}
	}
}
