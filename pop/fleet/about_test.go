package fleet

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

func TestAboutLimits(t *testing.T) {
	good := About{
		Version: "1.2", Sessions: 3, SessionsUp: 2, Core: "embedded", Turn: &Turn{Ticket: 7, Held: true, LeftMS: 1000},
		Drains:  []Drain{{Of: "web", By: "ann", Why: "disks", AgeMS: 5, LeftMS: 7, Waits: true}},
		Windows: []Window{{Name: "disks", Of: "all services", InMS: -5, LastsMS: 60000}},
	}
	if got, err := DecodeAbout(good.Encode()); err != nil || !reflect.DeepEqual(got, good) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := DecodeAbout([]byte(`{"version":"9","tomorrow":{"x":[1]}}`)); err != nil {
		t.Errorf("a newer version: %v", err)
	}
	for _, bad := range []string{
		`[]`, `{"sessions":-1}`, `{"sessions":1,"sessions_up":2}`, `{"turn":{"ticket":18446744073709551615}}`,
		`{"drains":[{"of":"x","age_ms":-1}]}`, `{"windows":[{"name":"x","of":"y","in_ms":-9223372036854775808,"lasts_ms":1}]}`,
		`{"drains":[` + strings.Repeat(`{"of":"x"},`, maxDrains) + `{"of":"x"}]}`,
	} {
		if got, err := DecodeAbout([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	many := About{Version: strings.Repeat("ä", 100)}
	for range 40 {
		many.Drains = append(many.Drains, Drain{Of: "a\nb"})
	}
	if got, err := DecodeAbout(many.Encode()); err != nil || len(got.Drains) != maxDrains || got.Drains[0].Of != "a b" || len(got.Version) > maxVersion {
		t.Errorf("%d drains, %v", len(got.Drains), err)
	}
}

func FuzzDecodeAbout(f *testing.F) {
	f.Add([]byte(`{"turn":{"ticket":1,"held":true},"drains":[{"of":"web"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAbout(b)
		if err != nil {
			return
		}
		if again, err := DecodeAbout(a.Encode()); err != nil || again.SessionsUp > again.Sessions {
			t.Fatalf("%+v does not come back: %v", a, err)
		}
	})
}

// TestTurns: what is believed of another POP's place in the queue of drains.
func TestTurns(t *testing.T) {
	told := func(e Event, turn *Turn) Event {
		about := About{Turn: turn}.Encode()
		switch e := e.(type) {
		case AskedUs:
			e.About = about
			return e
		case Answered:
			e.About, e.Told = about, true
			return e
		}
		panic("no message")
	}
	wants, holds, none := &Turn{Ticket: 4}, &Turn{Ticket: 4, Held: true}, &Turn{}
	for _, tc := range []struct {
		name   string
		events []Event
		want   policy.PeerTurn
	}{
		{"nothing is said", []Event{answer(1*s, 1*s, "a", 1, up(web4))}, policy.PeerTurn{}},
		{"an answer says", []Event{told(answer(1*s, 2*s, "a", 1), wants)}, policy.PeerTurn{Known: true, Ticket: 4, Asked: at(1 * s)}},
		{"a question takes a place at once", []Event{told(ask(1*s, "a", 1), wants), told(ask(2*s, "a", 2), holds)},
			policy.PeerTurn{Known: true, Ticket: 4, Held: true}},
		{"a question gives none up", []Event{told(answer(1*s, 2*s, "a", 1), holds), told(ask(3*s, "a", 2), none)},
			policy.PeerTurn{Known: true, Ticket: 4, Held: true, Asked: at(1 * s)}},
		{"nor does one of another life", []Event{told(answer(1*s, 2*s, "a", 1), holds), told(ask(3*s, "b", 1), none)},
			policy.PeerTurn{Known: true, Ticket: 4, Held: true, Asked: at(1 * s)}},
		{"an answer does", []Event{told(ask(1*s, "a", 1), holds), told(answer(2*s, 3*s, "a", 2), none)}, policy.PeerTurn{Known: true, Asked: at(2 * s)}},
		{"a question with a later ticket does not make it wait longer", []Event{told(ask(1*s, "a", 1), wants), told(ask(2*s, "a", 2), &Turn{Ticket: 9})},
			policy.PeerTurn{Known: true, Ticket: 4}},
		{"an answer to a question that told nothing confirms nothing", []Event{told(answer(1*s, 2*s, "a", 1), wants), func() Event {
			e := told(answer(3*s, 4*s, "a", 2), wants).(Answered)
			e.Told = false
			return e
		}()}, policy.PeerTurn{Known: true, Ticket: 4, Asked: at(1 * s)}},
		{"replaced by an older version", []Event{told(answer(1*s, 2*s, "a", 1), holds), answer(3*s, 4*s, "b", 1)}, policy.PeerTurn{}},
		{"overtaken", []Event{told(ask(3*s, "a", 5), holds), told(answer(1*s, 4*s, "a", 4), none)}, policy.PeerTurn{Known: true, Ticket: 4, Held: true}},
	} {
		st := state(true, false)
		for _, e := range tc.events {
			_, _ = st.Take(e)
		}
		if got := st.View(at(5 * s)).Peers[0].Turn; got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// TestDifferences: what a POP says against what BGP shows.
func TestDifferences(t *testing.T) {
	off := Claim{Slice: web4, Verdict: policy.Up}
	base := []Event{own(0, up(web4)), route4(1*s, web4, nil), own(90*s, up(web4))}
	for _, tc := range []struct {
		name   string
		rib    bool
		events []Event
		now    time.Duration
		want   []Difference
	}{
		{"alike", true, []Event{answer(91*s, 91*s, "a", 1, up(web4))}, 92 * s, nil},
		{"the route is gone", true, []Event{answer(91*s, 91*s, "a", 1, up(web4)), route4(93*s, web4, gone)}, 94 * s,
			[]Difference{{POP: "FRA", Slice: web4, Says: announced, Since: at(93 * s), Follows: "counted as absent"}}},
		{"the route is still there", true, []Event{answer(91*s, 91*s, "a", 1, up(web4)), answer(92*s, 92*s, "a", 2, off)}, 93 * s,
			[]Difference{{POP: "FRA", Slice: web4, Says: withdrawn, Shown: true, Since: at(92 * s), Follows: "counted as absent, but routers may still send it traffic"}}},
		{"kept by graceful restart alone", true, []Event{answer(91*s, 91*s, "a", 1, off), route4(92*s, web4, stale)}, 93 * s, nil},
		{"its word is old", true, []Event{answer(91*s, 91*s, "a", 1, off)}, 99 * s, nil},
		{"no site community", false, []Event{answer(91*s, 91*s, "a", 1, off)}, 92 * s, nil},
	} {
		st := state(true, tc.rib)
		for _, e := range slices.Concat(base, tc.events) {
			if _, err := st.Take(e); err != nil {
				t.Fatal(err)
			}
		}
		got := st.Differences(at(tc.now))
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
		for _, d := range got { // and the guards judge by the same
			if v := st.View(at(tc.now)).Peers[0].Slices[d.Slice]; v.Stance.Announced() {
				t.Errorf("%s: %v, but it counts as %v", tc.name, d, v.Stance)
			}
		}
	}
}
