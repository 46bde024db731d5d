package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// watching gives the events of a watch until the test ends.
func watching(t *testing.T, b api.Reader) <-chan api.Event {
	events := make(chan api.Event, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := api.Watch(ctx, b, func(e api.Event) error { events <- e; return nil }); err != nil {
			t.Errorf("watch: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return events
}

// TestWatch: at first the whole status, then what changed and nothing else,
// and a beat while nothing does.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := apitest.World()
		b.Entries, b.More = nil, make(chan api.JournalEntry)
		events := watching(t, b)
		whole, _ := b.Status(t.Context())
		expect := func(what string, kinds ...api.EventKind) (last api.Event) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			for _, want := range kinds {
				select {
				case last = <-events:
					if last.Kind != want {
						t.Fatalf("%s: %s, want %s", what, last.Kind, want)
					}
				default:
					t.Fatalf("%s: no event, want %s", what, want)
				}
			}
			if len(events) > 0 {
				t.Fatalf("%s: one more: %+v", what, <-events)
			}
			return last
		}
		if e := expect("start", api.EventStatus); !reflect.DeepEqual(*e.Status, whole) {
			t.Errorf("first event %+v, want %+v", e.Status, whole)
		}
		b.Touch(func(b *apitest.Backend) { b.POP.Now = b.POP.Now.Add(time.Second) })
		expect("time passes")
		b.Touch(func(b *apitest.Backend) { b.POP.Services[0].Checks[0].Verdict = policy.Down })
		if e := expect("a verdict", api.EventService); e.Service.Checks[0].Verdict != policy.Down {
			t.Errorf("%+v", e.Service)
		}
		b.Touch(func(b *apitest.Backend) { b.POP.Neighbors[0].State = bgp.Idle })
		if e := expect("a session", api.EventNeighbor); e.Neighbor.State != bgp.Idle {
			t.Errorf("%+v", e.Neighbor)
		}
		b.Touch(func(b *apitest.Backend) { b.POP.Alarms = []api.Alarm{{Name: "correlated"}} })
		if e := expect("an alarm", api.EventPOP); len(e.Status.Alarms) != 1 || e.Status.Services != nil || e.Status.Neighbors != nil {
			t.Errorf("%+v", e.Status)
		}
		b.More <- api.JournalEntry{Seq: 9, Text: "done"}
		if e := expect("an entry", api.EventJournal); e.Journal.Seq != 9 {
			t.Errorf("%+v", e.Journal)
		}
		b.Touch(func(b *apitest.Backend) { b.POP.Services = b.POP.Services[1:] })
		expect("a reload", api.EventStatus)
		time.Sleep(4 * time.Second)
		expect("nothing for five seconds", api.EventPOP)
	})
}

// TestWatchPaces: a burst of changes is one event, and its end is not lost.
func TestWatchPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := apitest.World()
		b.Entries, b.More = nil, make(chan api.JournalEntry)
		events := watching(t, b)
		synctest.Wait()
		<-events
		for i := range 1000 {
			b.Touch(func(b *apitest.Backend) { b.POP.Services[0].Checks[0].Streak = 100 + i })
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(events); n > 2 {
			t.Errorf("%d events for a burst", n)
		}
		var last api.Event
		for len(events) > 0 {
			last = <-events
		}
		if last.Service == nil || last.Service.Checks[0].Streak != 1099 {
			t.Errorf("last event %+v", last)
		}
	})
}

// TestWatchApplied: who applies every event knows the status, whatever
// happens to it.
func TestWatchApplied(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	mutations := []func(*apitest.Backend){
		func(b *apitest.Backend) {
			b.POP.Services[0].Slices[0].Stance.Action = policy.Action(random.IntN(3))
		},
		func(b *apitest.Backend) { b.POP.Services = append(b.POP.Services, api.ServiceStatus{ID: "new"}) },
		func(b *apitest.Backend) { b.POP.Services = b.POP.Services[:1] },
		func(b *apitest.Backend) { b.POP.Neighbors[0].Flaps++ },
		func(b *apitest.Backend) {
			b.POP.Neighbors = append(b.POP.Neighbors, api.PeerStatus{Address: netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(9)), 1})})
		},
		func(b *apitest.Backend) { b.POP.Intents = nil },
		func(b *apitest.Backend) {
			b.POP.Alarms = append(b.POP.Alarms, api.Alarm{Name: fmt.Sprint(random.IntN(9))})
		},
		func(b *apitest.Backend) { b.POP.Started = b.POP.Started.Add(time.Second) },
	}
	synctest.Test(t, func(t *testing.T) {
		b := apitest.World()
		b.Entries, b.More = nil, make(chan api.JournalEntry)
		events := watching(t, b)
		var known api.Status
		for range 500 {
			b.Touch(mutations[random.IntN(len(mutations))])
			time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
			synctest.Wait()
			for len(events) > 0 {
				known.Apply(<-events)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for len(events) > 0 {
			known.Apply(<-events)
		}
		want, _ := b.Status(t.Context())
		known.Now = want.Now
		if !reflect.DeepEqual(known, want) {
			t.Errorf("known\n%+v\nwant\n%+v", known, want)
		}
	})
}

// TestWatchEnds: with the daemon, by an error, and with its reader.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := apitest.World()
		b.Entries, b.More = nil, make(chan api.JournalEntry)
		enough := errors.New("enough")
		if err := api.Watch(t.Context(), b, func(api.Event) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("a reader that stops: %v", err)
		}
		close(b.More)
		if err := api.Watch(t.Context(), b, func(api.Event) error { return nil }); err == nil {
			t.Error("a daemon that stops: no error")
		}
	})
}

// TestWatchOnTheSocket: as JSON lines by the client, as server-sent events to
// whom asks for them.
func TestWatchOnTheSocket(t *testing.T) {
	b := apitest.World()
	b.Entries, b.More = nil, make(chan api.JournalEntry)
	c, socket := start(t, b)
	enough := errors.New("enough")
	var kinds []api.EventKind
	err := c.Watch(t.Context(), func(e api.Event) error {
		kinds = append(kinds, e.Kind)
		if e.Kind == api.EventPOP {
			return enough
		}
		b.Touch(func(b *apitest.Backend) { b.POP.DryRun = true })
		return nil
	})
	if !errors.Is(err, enough) || len(kinds) != 2 || kinds[0] != api.EventStatus {
		t.Errorf("%v, %v", kinds, err)
	}
	browser := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer browser.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/v1/watch", nil)
	req.Header.Set("Accept", "text/event-stream")
	res, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	if lines.Text() != "event: status" {
		t.Errorf("first line %q", lines.Text())
	}
	lines.Scan()
	data, ok := strings.CutPrefix(lines.Text(), "data: ")
	var e api.Event
	if err := json.Unmarshal([]byte(data), &e); !ok || err != nil || e.Status.POP != b.POP.POP {
		t.Errorf("second line %q: %v", lines.Text(), err)
	}
}
