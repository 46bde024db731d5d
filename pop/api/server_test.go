package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

// start runs a server on a socket of its own until the test ends.
func start(t *testing.T, b api.Backend) (*api.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "c.sock")
	ctx, cancel := context.WithCancel(context.Background())
	srv, err := api.New(api.Options{Socket: socket, Backend: b, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if _, err := os.Stat(socket); err == nil {
			t.Error("the socket is left behind")
		}
	})
	select {
	case <-srv.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	c := api.NewClient(socket)
	t.Cleanup(c.Close)
	return c, socket
}

// TestReads: what the backend says comes out of the client unchanged.
func TestReads(t *testing.T) {
	b := apitest.World()
	c, _ := start(t, b)
	want, _ := b.Status(t.Context())
	st, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(st, want) {
		t.Errorf("status: %v\n got %+v\nwant %+v", err, st, want)
	}
	if svcs, err := c.Services(t.Context()); err != nil || !reflect.DeepEqual(svcs, want.Services) {
		t.Errorf("services: %v, %+v", err, svcs)
	}
	if sl, err := c.Slices(t.Context()); err != nil || !reflect.DeepEqual(sl, want.Slices()) || len(sl) != 4 {
		t.Errorf("slices: %v, %+v", err, sl)
	}
	for _, id := range []policy.SliceID{slice("192.0.2.0/24"), slice("2001:db8:100::/48")} {
		e, err := c.Explain(t.Context(), id)
		if err != nil || e.Slice.Slice != id || len(e.Journal) != 1 || len(e.WouldChange) == 0 {
			t.Errorf("explain %v: %v, %+v", id, err, e)
		}
	}
	var apiErr *api.Error
	if _, err := c.Explain(t.Context(), slice("10.0.0.0/8")); !errors.As(err, &apiErr) || apiErr.Code != api.NotFound {
		t.Errorf("explain of a stranger: %v", err)
	}
}

// TestChanges: the kernel says who asks, and everything that was asked arrives.
func TestChanges(t *testing.T) {
	b := apitest.World()
	c, _ := start(t, b)
	pin := policy.Stance{Action: policy.Announce, Rung: 1}
	type change = func(context.Context, api.Change) (api.Result, error)
	for _, tc := range []struct {
		call change
		with api.Change
		want policy.Intent
	}{
		{c.Drain, api.Change{Service: "web", Why: "disks", Wait: api.Duration(time.Minute), Force: true},
			policy.Intent{Kind: policy.IntentDrain, Service: "web", Why: "disks", Wait: time.Minute, Force: true}},
		{c.Hold, api.Change{Slice: slice("2001:db8:100::/48")}, policy.Intent{Kind: policy.IntentHold, Slice: slice("2001:db8:100::/48")}},
		{c.Pin, api.Change{Service: "web", Stance: &pin}, policy.Intent{Kind: policy.IntentPin, Service: "web", Stance: pin}},
		{c.Stop, api.Change{}, policy.Intent{Kind: policy.IntentStop}},
	} {
		r, err := tc.call(t.Context(), tc.with)
		if err != nil || r.Text == "" {
			t.Errorf("%s: %+v, %v", tc.want.Kind, r, err)
			continue
		}
		got := b.Intents[len(b.Intents)-1]
		if !strings.HasPrefix(got.By, "uid ") || time.Since(got.At) > time.Minute {
			t.Errorf("%s: by %q at %v", tc.want.Kind, got.By, got.At)
		}
		got.By, got.At = "", time.Time{}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%+v, want %+v", got, tc.want)
		}
	}
	if _, err := c.Hold(t.Context(), api.Change{For: api.Duration(time.Hour)}); err != nil {
		t.Error(err)
	} else if in := b.Intents[len(b.Intents)-1]; in.Until.Sub(in.At) != time.Hour {
		t.Errorf("until %v", in.Until)
	}
	if _, err := c.Undrain(t.Context(), api.Change{Service: "web", Why: "done"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Release(t.Context(), api.Change{}); err != nil {
		t.Error(err)
	}
	if r := b.Released; len(r) != 2 || !reflect.DeepEqual(r[0].Kinds, []policy.IntentKind{policy.IntentDrain}) || r[0].Service != "web" ||
		r[0].Why != "done" || r[0].By == "" || !reflect.DeepEqual(r[1].Kinds, []policy.IntentKind{policy.IntentHold, policy.IntentPin}) {
		t.Errorf("released: %+v", r)
	}
	if changes, err := c.Reload(t.Context()); err != nil || len(changes) != 1 {
		t.Errorf("reload: %v, %v", changes, err)
	}
	b.Err = &api.Error{Code: api.Refused, Guard: "last-pop", Message: "nobody else"}
	var apiErr *api.Error
	if _, err := c.Drain(t.Context(), api.Change{}); !errors.As(err, &apiErr) || apiErr.Code != api.Refused || apiErr.Guard != "last-pop" {
		t.Errorf("refused: %v", err)
	}
}

// TestInvalid: what is wrong in a request is an error, never "everything".
func TestInvalid(t *testing.T) {
	b := apitest.World()
	c, socket := start(t, b)
	_ = c
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "drain", `{"servce":"web"}`, 400, `unknown field "servce"`},
		{"POST", "drain", `{}{}`, 400, "something follows"},
		{"POST", "drain", `{"slice":"192.0.2.1/24"}`, 400, "meant is 192.0.2.0/24"},
		{"POST", "drain", `{"wait":"-1s"}`, 400, "not negative"},
		{"POST", "drain", `{"wait":"soon"}`, 400, "want a number with a unit"},
		{"POST", "drain", `{"stance":{"action":"announce"}}`, 400, "a stance is needed with pin"},
		{"POST", "pin", `{}`, 400, "a stance is needed with pin"},
		{"POST", "drain", `{"rung":"backup"}`, 400, "a stance is needed with pin"},
		{"POST", "pin", `{"rung":"backup","stance":{"action":"announce"}}`, 400, "a stance is needed with pin"},
		{"POST", "pin", `{"rung":"backup"}`, 400, "want its number"},
		{"POST", "stop", `{"service":"web"}`, 400, "stop is for the whole daemon"},
		{"POST", "undrain", `{"force":true}`, 400, "takes a service or a slice"},
		{"POST", "reload", `{"service":"web"}`, 400, "unknown field"},
		{"POST", "drain", `{"why":"one\nuid 0 (root): another"}`, 400, "on one line"},
		{"POST", "plan", `{"suppose":[{"kind":"stop"}]} {"suppose":[]}`, 400, "something follows"},
		{"POST", "drain", `{"why":"` + strings.Repeat("x", 70000) + `"}`, 400, "too large"},
		{"GET", "explain/web", "", 400, `slice "web": want a prefix`},
		{"GET", "explain/2001:db8:100::1/48", "", 400, "meant is 2001:db8:100::/48"},
		{"GET", "journal?sice=x", "", 400, `no parameter "sice"`},
		{"GET", "journal?since=yesterday", "", 400, "duration back from now"},
		{"GET", "journal?limit=-1", "", 400, "want a number"},
		{"GET", "journal?limit=all", "", 400, "want a number"},
		{"GET", "journal?limit=10001", "", 400, "up to 10000, or 0 for all"},
		{"GET", "drain", "", 404, "no call GET /v1/drain"},
		{"GET", "nonsense", "", 404, "no call GET /v1/nonsense"},
	} {
		req, _ := http.NewRequest(tc.method, "http://x/v1/"+tc.path, strings.NewReader(tc.body))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		var e api.Error
		if err := json.Unmarshal(text, &e); err != nil || res.StatusCode != tc.status || !strings.Contains(e.Message, tc.want) {
			t.Errorf("%s %s %.40s: %d %s, want %d %q", tc.method, tc.path, tc.body, res.StatusCode, text, tc.status, tc.want)
		}
	}
	if len(b.Intents)+len(b.Released) != 0 {
		t.Errorf("a wrong request did something: %+v %+v", b.Intents, b.Released)
	}
}

func TestJournal(t *testing.T) {
	b := apitest.World()
	c, _ := start(t, b)
	for _, tc := range []struct {
		f    api.JournalFilter
		want []uint64
	}{
		{api.JournalFilter{}, []uint64{1, 2, 3, 4}},
		{api.JournalFilter{Service: "web"}, []uint64{2, 3}},
		{api.JournalFilter{Slice: slice("2001:db8:100::/48")}, []uint64{3}},
		{api.JournalFilter{Limit: 1}, []uint64{4}},
		{api.JournalFilter{Since: apitest.Now.Add(-4 * time.Hour)}, []uint64{2, 3, 4}},
		{api.JournalFilter{Service: "none"}, nil},
	} {
		var got []uint64
		if err := c.Journal(t.Context(), tc.f, func(e api.JournalEntry) error { got = append(got, e.Seq); return nil }); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.f, got, tc.want)
		}
	}
}

// TestJournalWithoutLimit: who names no limit gets the last of them, who says 0
// all, over both ways in.
func TestJournalWithoutLimit(t *testing.T) {
	b := apitest.World()
	b.Entries = make([]api.JournalEntry, api.JournalLast+5)
	for i := range b.Entries {
		b.Entries[i].Seq = uint64(i + 1)
	}
	srv, err := api.New(api.Options{Socket: t.TempDir() + "/s", Backend: b, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"journal": api.JournalLast, "journal?limit=0": len(b.Entries), "journal?limit=7": 7, "journal?since=1h": 0} {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/"+path, nil))
		if n := strings.Count(w.Body.String(), "\n"); w.Code != http.StatusOK || n != want {
			t.Errorf("%s: %d, %d entries; want %d", path, w.Code, n, want)
		}
	}
	c, _ := start(t, b)
	n := 0
	if err := c.Journal(t.Context(), api.JournalFilter{}, func(api.JournalEntry) error { n++; return nil }); err != nil || n != len(b.Entries) {
		t.Errorf("a client that wants all gets %d of %d, %v", n, len(b.Entries), err)
	}
}

// TestJournalFollow: entries arrive as they are made, and the server's end
// ends the stream.
func TestJournalFollow(t *testing.T) {
	b := apitest.World()
	c, _ := start(t, b)
	got := make(chan uint64)
	done := make(chan error, 1)
	stop := errors.New("enough")
	go func() {
		done <- c.Journal(t.Context(), api.JournalFilter{Limit: 1, Follow: true}, func(e api.JournalEntry) error {
			got <- e.Seq
			if e.Seq == 6 {
				return stop
			}
			return nil
		})
	}()
	for _, want := range []uint64{4, 5, 6} {
		if want > 4 {
			b.More <- api.JournalEntry{Seq: want}
		}
		if seq := <-got; seq != want {
			t.Errorf("%d, want %d", seq, want)
		}
	}
	if err := <-done; !errors.Is(err, stop) {
		t.Error(err)
	}
}

// broken fails in the middle of a journal.
type broken struct{ *apitest.Backend }

func (broken) Journal(_ context.Context, _ api.JournalFilter, yield func(api.JournalEntry) error) error {
	if err := yield(api.JournalEntry{Seq: 1}); err != nil {
		return err
	}
	return errors.New("disk gone")
}

func TestJournalHalf(t *testing.T) {
	c, _ := start(t, broken{apitest.World()})
	if err := c.Journal(t.Context(), api.JournalFilter{}, func(api.JournalEntry) error { return nil }); err == nil {
		t.Error("half a journal looks whole")
	}
}
