package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
)

// asides is a POP that tells aside, its listener, and one that asks it.
func asides(t *testing.T, change func(http.Handler) http.Handler) (fra, lon *Fleet, url string) {
	t.Helper()
	local := func(context.Context) ([]Claim, error) { return nil, nil }
	fra, err := New(Config{
		POP: "FRA", Listen: "unused", Secrets: secret, Peers: []Peer{{POP: "LON", URL: "http://unused/"}},
		Aside: func(most int) []byte { return bytes.Repeat([]byte("x"), most) },
	}, local, quiet())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(change(fra.exchange.Handler(fra.take)))
	t.Cleanup(srv.Close)
	lon, err = New(Config{POP: "LON", Secrets: secret, Peers: []Peer{{POP: "FRA", URL: srv.URL + "/"}, {POP: "AMS", URL: srv.URL}}}, local, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return fra, lon, srv.URL
}

// TestAside: a peer tells aside as much as is asked for; nobody else does, and
// nobody else is told.
func TestAside(t *testing.T) {
	fra, lon, url := asides(t, func(h http.Handler) http.Handler { return h })
	if b, err := lon.Aside(t.Context(), "FRA", 5<<20); err != nil || len(b) != 5<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if got := lon.Asides(); len(got) != 2 || got[0] != "FRA" {
		t.Errorf("can be asked: %v", got)
	}
	for pop, want := range map[policy.POPID]string{"AMS": "another POP", "NYC": "not in fleet.peers"} {
		if _, err := lon.Aside(t.Context(), pop, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pop, err, want)
		}
	}
	ask := `{"from":"LON","to":"FRA","most":3}`
	for _, c := range []struct {
		what, body, nonce, mac string
		status                 int
	}{
		{"as it should be", ask, "", kindAsideAsk, 200},
		{"a question of the exchange", ask, "", kindAsk, 401},
		{"no nonce", ask, "x", kindAsideAsk, 401},
		{"no JSON", "{", "", kindAsideAsk, 400},
		{"less than nothing", `{"from":"LON","to":"FRA","most":-3}`, "", kindAsideAsk, 400},
		{"a POP that is no peer", `{"from":"NYC","to":"FRA"}`, "", kindAsideAsk, 403},
		{"another POP", `{"from":"LON","to":"AMS"}`, "", kindAsideAsk, 409},
		{"too large", ask + strings.Repeat(" ", maxAsideAsk), "", kindAsideAsk, 413},
	} {
		nonce := newNonce()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/"+asidePath, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.nonce != "" {
			nonce = c.nonce
		}
		req.Header.Set(nonceHeader, nonce)
		req.Header.Set(macHeader, secret.sign(c.mac, req.Method, nonce, []byte(c.body)))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || c.status == 200 && string(b) != "xxx" {
			t.Errorf("%s: %s %q, want %d", c.what, res.Status, b, c.status)
		}
	}
	if n := fra.exchange.refused.snapshot(); n[Forged] != 2 || n[Malformed] != 2 || n[UnknownPOP] != 1 || n[WrongPOP] != 2 || n[TooLarge] != 1 {
		t.Errorf("refused: %v", n)
	}
	if r := httptest.NewRecorder(); true {
		lon.exchange.Handler(lon.take).ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/"+asidePath, strings.NewReader(ask)))
		if r.Code != http.StatusNotFound {
			t.Errorf("who tells nothing answers %d", r.Code)
		}
	}
}

// TestAsideForged: an answer that was changed on its way, or is to another
// question, is not taken.
func TestAsideForged(t *testing.T) {
	var first []byte
	var mac string
	mode := "change"
	_, lon, _ := asides(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			b := rec.Body.Bytes()
			switch {
			case mode == "change":
				first, mac = bytes.Clone(b), rec.Header().Get(macHeader)
				b[0]++
			case mode == "again":
				b = first
				rec.Header().Set(macHeader, mac)
			}
			w.Header().Set(macHeader, rec.Header().Get(macHeader))
			_, _ = w.Write(b)
		})
	})
	for _, mode = range []string{"change", "again"} {
		if b, err := lon.Aside(t.Context(), "FRA", 4); !errors.Is(err, Forged) {
			t.Errorf("%s: %q, %v", mode, b, err)
		}
	}
	mode = ""
	if _, err := lon.Aside(t.Context(), "FRA", 4); err != nil {
		t.Error(err)
	}
}
