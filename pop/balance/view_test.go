package balance

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/fleet"
)

func sliceOf(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

var (
	web  = sliceOf("192.0.2.0/25")
	web2 = sliceOf("192.0.2.128/25")
	dns  = sliceOf("198.51.100.0/24")
	t0   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func level(l int) *int { return &l }

func peer(id policy.POPID, l *fleet.Load, slices map[policy.SliceID]policy.PeerSlice) fleet.PeerReport {
	return fleet.PeerReport{Peer: policy.Peer{POP: id, Heard: t0, Slices: slices}, Load: l, LoadAt: t0.Add(-3 * time.Second)}
}

var normal = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}

// facts are those of LON, in a fleet with FRA.
func facts(fra fleet.PeerReport) *Facts {
	return &Facts{
		Me: "LON", Services: []Service{{ID: "web", Slices: []policy.SliceID{web, web2}, Rungs: 2}},
		Own:   fleet.Load{Unit: "out", Capacity: 100, Other: 5, Slices: []fleet.SliceLoad{{Slice: web, Load: 60, Level: level(0)}, {Slice: web2, Load: 20, Level: level(1)}, {Slice: dns, Load: 7, Level: level(0)}}},
		OwnAt: t0, Peers: []fleet.PeerReport{fra},
	}
}

// TestViewOfPeers: what another POP says of its load, its claims, and what we
// make of both.
func TestViewOfPeers(t *testing.T) {
	said := func(a, b *int) *fleet.Load {
		return &fleet.Load{Unit: "out", Capacity: 200, Slices: []fleet.SliceLoad{{Slice: web, Load: 30, Level: a}, {Slice: web2, Load: 40, Level: b}}}
	}
	claims := func(a, b policy.PeerSlice) map[policy.SliceID]policy.PeerSlice {
		return map[policy.SliceID]policy.PeerSlice{web: a, web2: b}
	}
	rung1 := policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce, Rung: 1}, Verdict: policy.Up}
	gone := policy.PeerSlice{Verdict: policy.Up}
	down := policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Down}
	drain := policy.PeerSlice{Stance: policy.Stance{Action: policy.Drain}, Verdict: policy.Up}
	leaving := normal
	leaving.Leaving = true
	otherUnit := said(level(0), level(0))
	otherUnit.Unit = "requests"
	for name, c := range map[string]struct {
		fra  fleet.PeerReport
		want map[policy.SliceID]shed.Level
		load float64 // of all; 0: it gets nothing
		note string
	}{
		"all normal":                     {peer("FRA", said(level(0), level(0)), claims(normal, normal)), map[policy.SliceID]shed.Level{web: 0, web2: 0}, 70, ""},
		"steps back on one":              {peer("FRA", said(level(1), level(0)), claims(rung1, normal)), map[policy.SliceID]shed.Level{web: 1, web2: 0}, 70, ""},
		"said before its load followed":  {peer("FRA", said(level(0), level(0)), claims(rung1, normal)), map[policy.SliceID]shed.Level{web: 1, web2: 0}, 70, ""},
		"on a rung for its health":       {peer("FRA", said(nil, level(0)), claims(rung1, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"withdrawn for its load":         {peer("FRA", said(level(2), level(0)), claims(gone, normal)), map[policy.SliceID]shed.Level{web: 2, web2: 0}, 70, ""},
		"withdrawn for its health":       {peer("FRA", said(nil, level(0)), claims(gone, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"withdrawn, load said otherwise": {peer("FRA", said(level(0), level(0)), claims(gone, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"down":                           {peer("FRA", said(level(0), level(0)), claims(down, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"leaving":                        {peer("FRA", said(level(0), level(0)), claims(leaving, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"drained":                        {peer("FRA", said(nil, level(0)), claims(drain, normal)), map[policy.SliceID]shed.Level{web2: 0}, 70, ""},
		"no claims":                      {peer("FRA", said(level(0), level(0)), nil), map[policy.SliceID]shed.Level{}, 70, ""},
		"an older POP":                   {peer("FRA", nil, claims(normal, rung1)), map[policy.SliceID]shed.Level{web: 0, web2: 1}, 0, "says nothing of its load"},
		"another unit":                   {peer("FRA", otherUnit, claims(normal, normal)), map[policy.SliceID]shed.Level{web: 0, web2: 0}, 0, `in "requests"`},
		"level beyond the ladder":        {peer("FRA", said(level(9), level(0)), claims(gone, normal)), map[policy.SliceID]shed.Level{web: 2, web2: 0}, 70, ""},
	} {
		v, notes := facts(c.fra).View(shed.Defaults())
		i := slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == "FRA" })
		fra := v.POPs[i]
		if len(fra.Level) != len(c.want) || !slices.Equal(notesWith(notes, c.note), notes) {
			t.Errorf("%s: level %v, want %v; notes %q", name, fra.Level, c.want, notes)
		}
		for id, l := range c.want {
			if got, ok := fra.Level[id]; !ok || got != l {
				t.Errorf("%s: %v at level %d (%v), want %d", name, id, got, ok, l)
			}
		}
		if fra.Total() != c.load || (c.load == 0) != fra.At.IsZero() {
			t.Errorf("%s: load %v at %v, want %v", name, fra.Total(), fra.At, c.load)
		}
		if _, err := shed.Round(shed.Defaults(), v, t0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func notesWith(notes []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return word == "" || !strings.Contains(n, word) })
}

// TestViewOfOwn: what is carried beside the slices that load may move counts,
// and is not touched.
func TestViewOfOwn(t *testing.T) {
	f := facts(peer("FRA", nil, nil))
	f.Memory.Shed = t0
	v, _ := f.View(shed.Defaults())
	if v.Me != "LON" || !slices.Equal(v.Slices, []policy.SliceID{web, web2}) || !v.Shed.Equal(t0) {
		t.Fatalf("%+v", v)
	}
	lon := v.POPs[1]
	if lon.ID != "LON" || lon.Total() != 92 || lon.Load[web] != 60 || lon.Level[web2] != 1 || len(lon.Level) != 2 {
		t.Errorf("%+v", lon)
	}
	if v.Matrix.Rows["LON"] == nil || v.Matrix.Rows["FRA"] == nil {
		t.Errorf("matrix of %v", v.Matrix.Rows)
	}
}

// TestViewKeepsWhatWasLearned: also when a POP comes.
func TestViewKeepsWhatWasLearned(t *testing.T) {
	f := facts(peer("FRA", nil, nil))
	v, _ := f.View(shed.Defaults())
	f.Matrix = v.Matrix.Measured("LON", 1, 0.4, map[policy.POPID]float64{"FRA": 1}, t0)
	f.Peers = append(f.Peers, peer("AMS", nil, nil))
	v, _ = f.View(shed.Defaults())
	if k := v.Matrix.Lookup("LON", 1, t0); k.Leave.Mean != 0.4 || len(v.Matrix.Rows) != 3 {
		t.Errorf("%+v of %d", k, len(v.Matrix.Rows))
	}
}

func TestShares(t *testing.T) {
	pop := func(id policy.POPID, capacity, load float64) shed.POP {
		return shed.POP{ID: id, Capacity: capacity, Load: map[policy.SliceID]float64{web: load}}
	}
	for name, c := range map[string]struct {
		pops []shed.POP
		want []float64
	}{
		"by load":                     {[]shed.POP{pop("A", 100, 30), pop("B", 50, 10)}, []float64{0.75, 0.25}},
		"one unheard":                 {[]shed.POP{pop("A", 100, 50), pop("B", 100, 0)}, []float64{0.5, 0.5}},
		"nothing known":               {[]shed.POP{pop("A", 0, 0), pop("B", 0, 0)}, []float64{0.5, 0.5}},
		"nobody carries, by capacity": {[]shed.POP{pop("A", 30, 0), pop("B", 10, 0)}, []float64{0.75, 0.25}},
	} {
		got := Shares(c.pops)
		for i, p := range c.pops {
			if got[p.ID] != c.want[i] {
				t.Errorf("%s: %s has %v, want %v", name, p.ID, got[p.ID], c.want[i])
			}
		}
	}
}

// TestViewOfAPOPThatIsBack: who announces again looks empty until its demand
// is back, and gets nothing before a sample that shows it.
func TestViewOfAPOPThatIsBack(t *testing.T) {
	cfg := shed.Defaults()
	fra := peer("FRA", &fleet.Load{Unit: "out", Capacity: 200, Slices: []fleet.SliceLoad{{Slice: web, Load: 1, Level: level(0)}, {Slice: web2, Load: 1, Level: level(0)}}},
		map[policy.SliceID]policy.PeerSlice{web: normal, web2: normal})
	at := func(v *shed.View) time.Time {
		return v.POPs[slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == "FRA" })].At
	}
	fra.Back = fra.LoadAt.Add(time.Second - cfg.Settle)
	if v, notes := facts(fra).View(cfg); !at(v).IsZero() || len(notes) != 1 || !strings.Contains(notes[0], "FRA announces again") {
		t.Errorf("its load counts at %v: %q", at(v), notes)
	}
	fra.Back = fra.LoadAt.Add(-cfg.Settle)
	if v, notes := facts(fra).View(cfg); !at(v).Equal(fra.LoadAt) || len(notes) > 0 {
		t.Errorf("it is back long enough: %v, %q", at(v), notes)
	}
}
