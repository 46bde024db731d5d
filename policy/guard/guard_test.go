package guard_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

var (
	t0  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	web = policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))
)

// peer is a POP heard age ago that announces web and is up.
func peer(name policy.POPID, age time.Duration) policy.Peer {
	return policy.Peer{
		POP: name, Heard: t0.Add(-age), Asked: t0.Add(-age), Source: "status",
		Slices: map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}},
	}
}

func with(p policy.Peer, f func(*policy.PeerSlice)) policy.Peer {
	s := p.Slices[web]
	f(&s)
	p.Slices = map[policy.SliceID]policy.PeerSlice{web: s}
	return p
}

func down(p policy.Peer, check policy.CheckID, ago time.Duration) policy.Peer {
	return with(p, func(s *policy.PeerSlice) {
		s.Verdict, s.DownSince, s.Failing = policy.Down, t0.Add(-ago), []policy.CheckID{check}
	})
}

// scene is a POP that announces web when its check goes down.
type scene struct {
	in    policy.Input
	state policy.SliceState
	at    time.Time
}

func newScene(pop policy.POPID, peers ...policy.Peer) *scene {
	return &scene{
		at: t0,
		state: policy.SliceState{
			Service: "web", Stance: policy.Stance{Action: policy.Announce}, Judged: true, Served: true,
			Since: t0.Add(-time.Hour), Leaving: t0.Add(-10 * time.Second),
		},
		in: policy.Input{
			POP: pop,
			Services: []policy.Service{{
				ID: "web", Slices: []policy.SliceID{web}, Rungs: 3, LastRung: 2, DegradedRung: 1, SharedRung: 1, WithdrawOnDown: true, MinPOPs: 1,
			}},
			Health: map[policy.ServiceID]policy.Health{"web": {Verdict: policy.Down, Failing: []policy.Failure{{Check: "http", Detail: "refused"}}}},
			Fleet:  policy.Fleet{Configured: len(peers) > 0, Peers: peers},
			Limits: policy.Limits{
				BlastInterval: 10 * time.Second, CorrelatedShare: 0.5, CorrelatedWindow: time.Minute, StaleAfter: 5 * time.Second,
			},
		},
	}
}

func (s *scene) decide(guards []policy.Guard) policy.SliceDecision {
	st := policy.State{Slices: map[policy.SliceID]policy.SliceState{web: s.state}}
	_, d := policy.Decider{Guards: guards}.Decide(st, s.in, s.at)
	return d.Slices[0]
}

// without is the standard set less one guard.
func without(name string) []policy.Guard {
	return slices.DeleteFunc(guard.Standard(), func(g policy.Guard) bool { return g.Name() == name })
}

// TestEachGuard shows one case for each guard in which it alone makes the
// difference: with the guard removed the decision is another.
func TestEachGuard(t *testing.T) {
	up := policy.Health{Verdict: policy.Up}
	for name, c := range map[string]struct {
		scene         *scene
		with, without string
		detail        string
	}{
		guard.NameLastPOP: {
			scene: newScene("LON", down(peer("FRA", 0), "dns", time.Hour)),
			with:  "announce rung 2", without: "withdraw",
			detail: "0 other POPs announce it (FRA is down itself), 1 needed",
		},
		guard.NameStale: {
			scene: func() *scene { // FRA confirmed, but that is long ago
				s := newScene("LON", peer("FRA", 20*time.Second))
				s.state.Leaving = t0.Add(-time.Minute)
				return s
			}(),
			with: "announce rung 2", without: "withdraw",
			detail: "FRA was last heard 20s ago and does not count: 0 other POPs announce it (FRA is stale), 1 needed",
		},
		guard.NameCorrelated: {
			scene: newScene("LON", down(peer("FRA", 0), "http", time.Second), peer("AMS", 0)),
			with:  "announce", without: "withdraw",
			detail: "2 of 3 POPs went down within 1m0s (also FRA): the check is suspect",
		},
		guard.NameDeadman: {
			scene: func() *scene {
				s := newScene("LON")
				h := s.in.Health["web"]
				h.Stalled = true
				s.in.Health["web"] = h
				return s
			}(),
			with: "announce", without: "withdraw",
			detail: "the checks of web have stopped running",
		},
		guard.NameBlast: {
			scene: func() *scene {
				s := newScene("LON")
				s.in.Health["web"] = policy.Health{Empty: true}
				return s
			}(),
			with: "announce", without: "withdraw",
			detail: "web has no checks: an empty check set means hold",
		},
	} {
		d := c.scene.decide(guard.Standard())
		if d.Stance.String() != c.with || d.Reason.Guard != name || !strings.Contains(d.Reason.Detail, c.detail) {
			t.Errorf("%s: %v because %v; want %s: %s", name, d.Stance, d.Reason, c.with, c.detail)
		}
		if d := c.scene.decide(without(name)); d.Stance.String() != c.without {
			t.Errorf("%s removed: %v because %v; want %s", name, d.Stance, d.Reason, c.without)
		}
	}
	s := newScene("LON")
	s.in.Health["web"] = up
	q := policy.Question{Slice: policy.SliceID(netip.MustParsePrefix("10.0.0.0/8")), To: policy.Stance{Action: policy.Announce}, Input: &s.in}
	if v := (guard.OwnPrefix{}).Ask(q); v.Answer != policy.Veto || !strings.Contains(v.Detail, "10.0.0.0/8 is not a prefix of any configured service") {
		t.Errorf("own-prefix let a foreign prefix out: %+v", v)
	}
	q.Slice = web
	if v := (guard.OwnPrefix{}).Ask(q); v.Answer != policy.Allow {
		t.Errorf("own-prefix refuses its own: %+v", v)
	}
}

func withdrawn(p policy.Peer) policy.Peer {
	return with(p, func(s *policy.PeerSlice) { s.Stance = policy.Stance{} })
}

func TestLastPOP(t *testing.T) {
	draining := func(p policy.Peer) policy.Peer {
		return with(p, func(s *policy.PeerSlice) { s.Stance.Action = policy.Drain })
	}
	late := func(p policy.Peer) policy.Peer { p.Asked = t0.Add(-time.Minute); return p }
	rib := func(p policy.Peer) policy.Peer { p.Asked, p.Source = time.Time{}, "rib"; return p }
	silent := policy.Peer{POP: "FRA"}
	big := func(p policy.Peer) policy.Peer { p.Capacity = 3; return p }
	for name, c := range map[string]struct {
		pop    policy.POPID
		peers  []policy.Peer
		set    func(*scene)
		stance string
		detail string
	}{
		"no fleet configured":              {pop: "LON", stance: "withdraw"},
		"another one stays":                {pop: "LON", peers: []policy.Peer{peer("FRA", 0)}, stance: "withdraw"},
		"never heard":                      {pop: "LON", peers: []policy.Peer{silent}, stance: "announce rung 2", detail: "FRA was never heard"},
		"says nothing of the slice":        {pop: "LON", peers: []policy.Peer{{POP: "FRA", Heard: t0}}, stance: "announce rung 2", detail: "FRA says nothing of it"},
		"the other has withdrawn":          {pop: "LON", peers: []policy.Peer{withdrawn(peer("FRA", 0))}, stance: "announce rung 2", detail: "FRA has it in withdraw"},
		"the other drains":                 {pop: "LON", peers: []policy.Peer{draining(peer("FRA", 0))}, stance: "announce rung 2", detail: "FRA has it in drain"},
		"two needed, one there":            {pop: "LON", peers: []policy.Peer{peer("FRA", 0)}, set: func(s *scene) { s.in.Services[0].MinPOPs = 2 }, stance: "announce rung 2", detail: "1 other POP announces it, 2 needed"},
		"too little capacity stays":        {pop: "LON", peers: []policy.Peer{peer("FRA", 0), big(withdrawn(peer("AMS", 0)))}, set: func(s *scene) { s.in.Services[0].MinCapacity = 0.5 }, stance: "announce rung 2", detail: "50 % of capacity needed, 20 % there"},
		"enough capacity stays":            {pop: "LON", peers: []policy.Peer{big(peer("FRA", 0)), withdrawn(peer("AMS", 0))}, set: func(s *scene) { s.in.Services[0].MinCapacity = 0.5 }, stance: "withdraw"},
		"keeper, not asked since":          {pop: "AMS", peers: []policy.Peer{late(peer("FRA", 0))}, stance: "announce", detail: "AMS waits until 1 other POP confirms to stay (0 so far)"},
		"keeper, confirmed":                {pop: "AMS", peers: []policy.Peer{peer("FRA", 0)}, stance: "withdraw"},
		"keeper, one of two confirmed":     {pop: "AMS", peers: []policy.Peer{late(peer("FRA", 0)), peer("LON", 0)}, stance: "withdraw"},
		"keeper, seen in BGP only, young":  {pop: "AMS", peers: []policy.Peer{rib(peer("FRA", 0))}, set: func(s *scene) { s.state.Leaving = t0.Add(-time.Second) }, stance: "announce", detail: "waits"},
		"keeper, seen in BGP only, waited": {pop: "AMS", peers: []policy.Peer{rib(peer("FRA", 0))}, stance: "withdraw"},
		"a stale peer keeps nothing":       {pop: "LON", peers: []policy.Peer{peer("AMS", time.Minute), late(peer("NYC", 0))}, stance: "announce", detail: "LON waits"},
		"already withdrawn, needed again":  {pop: "LON", peers: []policy.Peer{withdrawn(peer("FRA", 0))}, set: func(s *scene) { s.state.Stance = policy.Stance{} }, stance: "announce rung 2", detail: "FRA has it in withdraw"},
		"already withdrawn, keeper":        {pop: "AMS", peers: []policy.Peer{late(peer("FRA", 0))}, set: func(s *scene) { s.state.Stance = policy.Stance{} }, stance: "withdraw"},
		"never announced here":             {pop: "LON", peers: []policy.Peer{withdrawn(peer("FRA", 0))}, set: func(s *scene) { s.state.Stance, s.state.Served = policy.Stance{}, false }, stance: "withdraw"},
		"already lower than the last rung": {pop: "LON", peers: []policy.Peer{silent}, set: func(s *scene) {
			s.in.Services[0].LastRung, s.state.Stance.Rung = 1, 2
		}, stance: "announce rung 2"},
		"forced drain": {pop: "LON", peers: []policy.Peer{silent}, set: func(s *scene) {
			s.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", At: t0, Force: true}}
		}, stance: "withdraw"},
		"pinned away": {pop: "LON", peers: []policy.Peer{silent}, set: func(s *scene) {
			s.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", At: t0}}
		}, stance: "announce rung 2", detail: "never heard"},
		"end of a drain": {pop: "LON", peers: []policy.Peer{silent}, set: func(s *scene) {
			s.state.Stance.Action, s.state.Drain = policy.Drain, t0.Add(-time.Hour)
			s.in.Health["web"] = policy.Health{Verdict: policy.Up}
			s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "eng", At: t0}}
		}, stance: "drain", detail: "FRA was never heard"},
		"stale but not needed": {pop: "NYC", peers: []policy.Peer{peer("FRA", 0), peer("LON", time.Minute)}, stance: "withdraw"},
	} {
		s := newScene(c.pop, c.peers...)
		if c.set != nil {
			c.set(s)
		}
		d := s.decide(guard.Standard())
		if d.Stance.String() != c.stance || !strings.Contains(d.Reason.Detail, c.detail) {
			t.Errorf("%s: %v because %v; want %s: %s", name, d.Stance, d.Reason, c.stance, c.detail)
		}
	}
}

func TestCorrelated(t *testing.T) {
	for name, c := range map[string]struct {
		peers  []policy.Peer
		set    func(*scene)
		stance string
		detail string
	}{
		"only here":                  {peers: []policy.Peer{peer("FRA", 0)}, stance: "withdraw"},
		"one of two others long ago": {peers: []policy.Peer{down(peer("FRA", 0), "dns", time.Hour), peer("AMS", 0)}, stance: "withdraw"},
		"same check long ago":        {peers: []policy.Peer{down(peer("FRA", 0), "http", time.Hour), peer("AMS", 0)}, stance: "withdraw"},
		"under repair elsewhere":     {peers: []policy.Peer{withdrawn(down(peer("FRA", 0), "http", 72*time.Hour)), peer("AMS", 0), peer("NYC", 0)}, stance: "withdraw"},
		"same check everywhere": {peers: []policy.Peer{down(peer("FRA", 0), "http", time.Hour), down(peer("AMS", 0), "http", time.Hour)},
			stance: "announce", detail: "check http fails at all 3 POPs"},
		"everywhere but where it is repaired": {peers: []policy.Peer{down(peer("FRA", 0), "http", time.Hour), withdrawn(down(peer("AMS", 0), "dns", time.Hour))},
			stance: "announce", detail: "check http fails at all 2 POPs"},
		"two of five":             {peers: []policy.Peer{down(peer("FRA", 0), "http", 0), peer("A", 0), peer("B", 0), peer("C", 0)}, stance: "withdraw"},
		"stale news of a failure": {peers: []policy.Peer{down(peer("FRA", time.Minute), "http", 0), peer("AMS", 0)}, stance: "withdraw"},
		"switched off":            {peers: []policy.Peer{down(peer("FRA", 0), "http", 0), peer("AMS", 0)}, set: func(s *scene) { s.in.Limits.CorrelatedShare = 0 }, stance: "withdraw"},
		"shared check everywhere": {peers: []policy.Peer{with(peer("FRA", 0), func(s *policy.PeerSlice) { s.Failing = []policy.CheckID{"origin"} })}, set: func(s *scene) {
			s.in.Health["web"] = policy.Health{Verdict: policy.Up, Shared: []policy.Failure{{Check: "origin"}}}
		}, stance: "announce", detail: "check origin fails at 2 of 2 POPs"},
	} {
		s := newScene("LON", c.peers...)
		if c.set != nil {
			c.set(s)
		}
		d := s.decide(guard.Standard())
		if d.Stance.String() != c.stance || !strings.Contains(d.Reason.Detail, c.detail) {
			t.Errorf("%s: %v because %v; want %s: %s", name, d.Stance, d.Reason, c.stance, c.detail)
		}
	}
}

func TestBlast(t *testing.T) {
	for name, c := range map[string]struct {
		slices, share int // limit; share in percent
		used          int
		why           policy.Code
		forced        bool
		veto          bool
	}{
		"off":                      {used: 1000},
		"room left":                {slices: 3, used: 2},
		"full":                     {slices: 3, used: 3, veto: true},
		"share full":               {share: 50, used: 5, veto: true},
		"share is the tighter one": {slices: 9, share: 50, used: 5, veto: true},
		"slices is the tighter":    {slices: 2, share: 50, used: 2, veto: true},
		"at least one may go":      {share: 1, used: 0},
		"the daemon stops":         {slices: 1, used: 5, why: policy.Stopping},
		"forced":                   {slices: 1, used: 5, forced: true},
		"drain counts":             {slices: 1, used: 1, why: policy.Operator, veto: true},
	} {
		s := newScene("LON")
		s.in.Limits.BlastSlices, s.in.Limits.BlastShare = c.slices, float64(c.share)/100
		q := policy.Question{
			Service: s.in.Services[0], Slice: web, From: policy.Stance{Action: policy.Announce}, Why: policy.Reason{Code: policy.CheckDown},
			Forced: c.forced, Input: &s.in, Now: t0, Announced: 10 - c.used,
		}
		if c.why != "" {
			q.Why.Code = c.why
		}
		for i := range c.used {
			q.Reductions = append(q.Reductions, t0.Add(time.Duration(i-9)*time.Millisecond))
		}
		v := guard.Blast{}.Ask(q)
		if (v.Answer == policy.Veto) != c.veto {
			t.Errorf("%s: %+v", name, v)
		}
		if c.veto && !v.Wake.Equal(q.Reductions[0].Add(10*time.Second)) {
			t.Errorf("%s: wake %v", name, v.Wake)
		}
		q.To = policy.Stance{Action: policy.Announce}
		if v := (guard.Blast{}).Ask(q); v.Answer != policy.Allow {
			t.Errorf("%s: a change that takes nothing away was refused: %+v", name, v)
		}
	}
}
