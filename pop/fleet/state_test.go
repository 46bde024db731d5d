package fleet

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

var (
	web4 = slice("192.0.2.0/24")
	web6 = slice("2001:db8:100::/48")
	t0   = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

	announced = policy.Stance{Action: policy.Announce}
	draining  = policy.Stance{Action: policy.Drain}
	withdrawn = policy.Stance{}
	siteFRA   = bgp.LargeCommunity{Global: 64500, Local1: 1, Local2: 2}
)

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

func at(d time.Duration) time.Time { return t0.Add(d) }

func up(id policy.SliceID) Claim {
	return Claim{Slice: id, Stance: announced, Verdict: policy.Up}
}

func down(id policy.SliceID) Claim {
	return Claim{Slice: id, Stance: announced, Verdict: policy.Down, Failing: []policy.CheckID{"http"}}
}

func message(boot string, seq uint64, claims ...Claim) Message {
	return Message{From: "FRA", To: "LON", Boot: boot, Sequence: seq, Slices: claims}
}

func ask(t time.Duration, boot string, seq uint64, claims ...Claim) Event {
	return AskedUs{Message: message(boot, seq, claims...), At: at(t)}
}

func answer(asked, t time.Duration, boot string, seq uint64, claims ...Claim) Event {
	return Answered{Message: message(boot, seq, claims...), Asked: at(asked), At: at(t)}
}

func own(t time.Duration, claims ...Claim) Event { return Own{Slices: claims, At: at(t)} }

func route4(t time.Duration, id policy.SliceID, change func(*pathChange)) Event {
	e := pathChange{
		key: pathKey{neighbor: netip.MustParseAddr("10.0.0.2"), prefix: id.Prefix()},
		pop: "FRA", at: at(t),
	}
	if change != nil {
		change(&e)
	}
	return e
}

func gone(e *pathChange)  { e.pop = "" }
func drain(e *pathChange) { e.drain = true }
func stale(e *pathChange) { e.stale = true }

func state(status, rib bool) State {
	cfg := Config{POP: "LON", Stale: 5 * time.Second}
	if status {
		cfg.Peers = []Peer{{POP: "FRA", URL: "http://192.0.2.9/"}}
	}
	if rib {
		cfg.Sites = []Site{{POP: "FRA", Community: siteFRA}}
	}
	return newState(cfg)
}

const s = time.Second

// TestView is the merge of the sources and of what is believed of messages, by
// the words of the package comment.
func TestView(t *testing.T) {
	leaving := up(web4)
	leaving.Leaving = true
	for _, tc := range []struct {
		name   string
		rib    bool
		noAsk  bool // RIB only
		events []Event
		now    time.Duration
		source string
		heard  time.Duration // -1: never
		stance map[policy.SliceID]policy.Stance
		downAt time.Duration // of web4, 0: not down

		leaving bool // of web4
	}{
		{name: "never heard", now: s, source: "status", heard: -1},
		{name: "an answer is believed", events: []Event{answer(1*s, 2*s, "a", 1, up(web4), up(web6))}, now: 3 * s,
			source: "status", heard: 2 * s, stance: map[policy.SliceID]policy.Stance{web4: announced, web6: announced}},
		{name: "a question never strengthens", events: []Event{ask(1*s, "a", 1, up(web4))}, now: 2 * s,
			source: "status", heard: -1, stance: map[policy.SliceID]policy.Stance{web4: withdrawn}},
		{name: "a question does not renew the age", events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(9*s, "a", 2, up(web4))}, now: 9 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "a question weakens at once", events: []Event{answer(1*s, 1*s, "a", 1, up(web4), up(web6)), ask(2*s, "a", 2, down(web4), up(web6))}, now: 2 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced, web6: announced}, downAt: 2 * s},
		{name: "who leaves shows so", events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(2*s, "a", 2, leaving)}, now: 2 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "a slice not mentioned is not announced", events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(2*s, "a", 2)}, now: 2 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: withdrawn}},
		{name: "leaving is taken back by an answer only",
			events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(2*s, "a", 2, leaving), ask(3*s, "a", 3, up(web4))}, now: 3 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "and then it is", events: []Event{ask(2*s, "a", 2, leaving), answer(3*s, 3*s, "a", 3, up(web4))}, now: 3 * s,
			source: "status", heard: 3 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "down since the first word of it", events: []Event{ask(2*s, "a", 1, down(web4)), answer(3*s, 4*s, "a", 2, down(web4))}, now: 4 * s,
			source: "status", heard: 4 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, downAt: 2 * s},

		{name: "an answer older than a question does not count",
			events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(3*s, "a", 3, leaving), answer(2*s, 4*s, "a", 2, up(web4))}, now: 4 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "nor one of the life before",
			events: []Event{answer(1*s, 1*s, "a", 9, up(web4)), ask(3*s, "b", 1, leaving), answer(2*s, 4*s, "a", 10, up(web4))}, now: 4 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "nor when an old question made it look newer",
			events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), ask(3*s, "a", 5, leaving), ask(3*s, "old", 1, leaving), ask(3*s, "a", 3, leaving), answer(2*s, 4*s, "a", 4, up(web4))}, now: 4 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "a new life is believed when we ask it",
			events: []Event{answer(1*s, 1*s, "a", 9, up(web4)), ask(2*s, "b", 1, leaving), answer(3*s, 4*s, "b", 2, up(web4))}, now: 4 * s,
			source: "status", heard: 4 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "the life before is over", events: []Event{answer(1*s, 1*s, "a", 9, up(web4)), answer(2*s, 3*s, "b", 1, up(web4)), ask(4*s, "a", 11, down(web4))}, now: 4 * s,
			source: "status", heard: 3 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},

		{name: "rib alone: never shown", rib: true, noAsk: true, now: s, source: "rib", heard: -1},
		{name: "rib alone: shown", rib: true, noAsk: true, events: []Event{route4(1*s, web4, nil), route4(1*s, web6, drain)}, now: 100 * s,
			source: "rib", heard: 100 * s, stance: map[policy.SliceID]policy.Stance{web4: announced, web6: draining}},
		{name: "rib alone: gone", rib: true, noAsk: true, events: []Event{route4(1*s, web4, nil), route4(2*s, web4, gone)}, now: 3 * s,
			source: "rib", heard: 3 * s, stance: map[policy.SliceID]policy.Stance{web4: withdrawn}},
		{name: "rib alone: stale is unknown", rib: true, noAsk: true, events: []Event{route4(1*s, web4, nil), route4(2*s, web4, stale)}, now: 3 * s,
			source: "rib", heard: 3 * s},
		{name: "rib: another neighbor still has it", rib: true, noAsk: true,
			events: []Event{route4(1*s, web4, nil), route4(1*s, web4, func(e *pathChange) { e.key.neighbor = netip.MustParseAddr("10.0.1.2"); e.drain = true }), route4(2*s, web4, gone)}, now: 3 * s,
			source: "rib", heard: 3 * s, stance: map[policy.SliceID]policy.Stance{web4: draining}},

		{name: "status wins over the rib", rib: true, events: []Event{route4(1*s, web4, nil), answer(2*s, 2*s, "a", 1, down(web4))}, now: 3 * s,
			source: "status", heard: 2 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, downAt: 2 * s},
		{name: "the rib where the status is old", rib: true, events: []Event{answer(1*s, 1*s, "a", 1, up(web4)), route4(2*s, web4, nil)}, now: 9 * s,
			source: "rib", heard: 9 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "the rib where the status is missing", rib: true, events: []Event{ask(1*s, "a", 1, up(web4)), route4(0, web4, nil)}, now: 9 * s,
			source: "rib", heard: 9 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "but a weaker last word holds", rib: true, events: []Event{route4(1*s, web4, nil), answer(2*s, 2*s, "a", 1, up(web4)), ask(3*s, "a", 2, leaving)}, now: 99 * s,
			source: "rib", heard: 99 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "until a route appears after it", rib: true,
			events: []Event{route4(1*s, web4, nil), answer(2*s, 2*s, "a", 1, leaving), route4(3*s, web4, gone), route4(4*s, web4, nil)}, now: 99 * s,
			source: "rib", heard: 99 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "a route appears, and the POP says again that it leaves", rib: true, events: []Event{answer(1*s, 1*s, "a", 1, leaving), route4(2*s, web4, nil), ask(3*s, "a", 2, leaving)}, now: 99 * s,
			source: "rib", heard: 99 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}, leaving: true},
		{name: "a rib that never had it says nothing", rib: true, events: []Event{own(0, up(web4)), answer(1*s, 1*s, "a", 1, up(web4))}, now: 2 * s,
			source: "status", heard: 1 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "nor one that had it only while we did not announce", rib: true,
			events: []Event{own(0), route4(1*s, web4, nil), own(100*s, up(web4)), route4(101*s, web4, gone), own(200*s, up(web4)), answer(200*s, 200*s, "a", 1, up(web4))}, now: 200 * s,
			source: "status", heard: 200 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
		{name: "one that had it beside ours does", rib: true,
			events: []Event{own(0, up(web4)), route4(1*s, web4, nil), own(62*s, up(web4)), route4(70*s, web4, gone), answer(71*s, 71*s, "a", 1, up(web4))}, now: 72 * s,
			source: "status", heard: 71 * s, stance: map[policy.SliceID]policy.Stance{web4: withdrawn}},
		{name: "and no longer when the route is back", rib: true,
			events: []Event{own(0, up(web4)), route4(1*s, web4, nil), own(62*s, up(web4)), route4(70*s, web4, gone), answer(71*s, 71*s, "a", 1, up(web4)), route4(72*s, web4, nil)}, now: 72 * s,
			source: "status", heard: 71 * s, stance: map[policy.SliceID]policy.Stance{web4: announced}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := state(!tc.noAsk, tc.rib)
			for _, e := range tc.events {
				if _, err := st.Take(e); err != nil && !errors.Is(err, Overtaken) && !errors.Is(err, Replayed) {
					t.Fatal(err)
				}
				st.View(at(tc.now)) // and must not hide what comes later
			}
			f := st.View(at(tc.now))
			if !f.Configured || len(f.Peers) != 1 {
				t.Fatalf("view: %+v", f)
			}
			p := f.Peers[0]
			if p.Source != tc.source || p.POP != "FRA" || p.Capacity != 1 {
				t.Errorf("peer: %+v, want source %s", p, tc.source)
			}
			if want := at(tc.heard); tc.heard < 0 != p.Heard.IsZero() || tc.heard >= 0 && !p.Heard.Equal(want) {
				t.Errorf("heard %v, want %v", p.Heard, want)
			}
			got := map[policy.SliceID]policy.Stance{}
			for id, ps := range p.Slices {
				got[id] = ps.Stance
			}
			if len(got)+len(tc.stance) > 0 && !reflect.DeepEqual(got, tc.stance) {
				t.Errorf("stances %v, want %v", got, tc.stance)
			}
			ps := p.Slices[web4]
			if ps.Leaving != tc.leaving {
				t.Errorf("leaving: %v", ps.Leaving)
			}
			if tc.downAt == 0 != ps.DownSince.IsZero() || tc.downAt > 0 && (!ps.DownSince.Equal(at(tc.downAt)) || ps.Verdict != policy.Down) {
				t.Errorf("%v, want down since %v", ps, at(tc.downAt))
			}
		})
	}
}

// TestRefusals: what is refused changes nothing.
func TestRefusals(t *testing.T) {
	st := state(true, false)
	for _, e := range []Event{answer(1*s, 1*s, "a", 5, up(web4)), answer(2*s, 3*s, "b", 1, up(web4))} {
		if _, err := st.Take(e); err != nil {
			t.Fatal(err)
		}
	}
	stranger := AskedUs{Message: Message{From: "XXX", Boot: "a", Sequence: 1}, At: at(4 * s)}
	for _, tc := range []struct {
		name string
		e    Event
		want Refusal
	}{
		{"question of the life before", ask(4*s, "a", 99, down(web4)), Replayed},
		{"answer of the life before", answer(4*s, 4*s, "a", 99, up(web4)), Replayed},
		{"same question again", ask(4*s, "b", 1, down(web4)), Overtaken},
		{"same answer again", answer(4*s, 4*s, "b", 1, up(web4)), Overtaken},
		{"answer to an older question", answer(1*s, 4*s, "b", 2, up(web4)), Overtaken},
		{"stranger", stranger, UnknownPOP},
	} {
		before := st.View(at(5 * s))
		if _, err := st.Take(tc.e); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if after := st.View(at(5 * s)); !reflect.DeepEqual(before, after) {
			t.Errorf("%s changed the view: %+v", tc.name, after)
		}
	}
}

func TestDisagreements(t *testing.T) {
	st := state(true, true)
	for _, e := range []Event{
		own(0, up(web4)), route4(1*s, web4, nil), own(90*s, up(web4)),
		answer(91*s, 91*s, "a", 1, up(web4)), route4(95*s, web4, gone),
	} {
		if _, err := st.Take(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []Disagreement{{POP: "FRA", Slice: web4, Since: at(95 * s)}}
	if got := st.Disagreements(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestPathSites: which POP a route is of.
func TestPathSites(t *testing.T) {
	f, err := New(Config{POP: "LON", Sites: []Site{{POP: "FRA", Community: siteFRA, Capacity: 2}}}, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	path := bgp.Path{Prefix: web6.Prefix(), Neighbor: netip.MustParseAddr("2001:db8::2"), LargeCommunities: []bgp.LargeCommunity{{Global: 1}, siteFRA}}
	other := path
	other.Prefix, other.LargeCommunities = web4.Prefix(), []bgp.LargeCommunity{{Global: 1}}
	ctx, stop := runFleet(t, f)
	f.Path(other, false)
	f.Path(path, false)
	eventually(t, ctx, f, func(v policy.Fleet) bool { return len(v.Peers[0].Slices) == 1 })
	path.Communities = []bgp.Community{bgp.GracefulShutdown}
	f.Path(path, false)
	eventually(t, ctx, f, func(v policy.Fleet) bool { return v.Peers[0].Slices[web6].Stance == draining })
	f.Path(path, true)
	eventually(t, ctx, f, func(v policy.Fleet) bool { return v.Peers[0].Slices[web6].Stance == withdrawn })
	if v := f.View(time.Now()); v.Peers[0].Capacity != 2 || v.Peers[0].Source != SourceRIB {
		t.Errorf("%+v", v.Peers[0])
	}
	stop()
}

// TestBack: a POP is back when it first announces in full, and when it does
// again after a drain or a withdraw; what it says of anything else, and a
// milder rung, is no return.
func TestBack(t *testing.T) {
	st := state(true, false)
	with := func(stance policy.Stance) Claim { return Claim{Slice: web4, Stance: stance, Verdict: policy.Up} }
	for i, c := range []struct {
		at    time.Duration
		claim Claim
		back  time.Duration
	}{
		{1 * s, up(web4), 1 * s},
		{2 * s, with(policy.Stance{Action: policy.Announce, Rung: 1}), 1 * s},
		{3 * s, down(web4), 1 * s},
		{4 * s, with(draining), 1 * s},
		{5 * s, up(web4), 5 * s},
		{6 * s, with(withdrawn), 5 * s},
		{7 * s, up(web4), 7 * s},
		{8 * s, up(web4), 7 * s},
	} {
		if _, err := st.Take(ask(c.at, "boot", uint64(i+1), c.claim)); err != nil {
			t.Fatal(err)
		}
		if got := st.Peers[0].back(); !got.Equal(at(c.back)) {
			t.Errorf("%d: back at %v, want %v", i, got.Sub(t0), c.back)
		}
	}
}
