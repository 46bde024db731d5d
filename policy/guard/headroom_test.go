package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestHeadroom: what load may do, by what is reserved for it.
func TestHeadroom(t *testing.T) {
	normal, backup, none := policy.Stance{Action: policy.Announce}, policy.Stance{Action: policy.Announce, Rung: 1}, policy.Stance{}
	at := func(p policy.POPID, load float64, in time.Duration) policy.Room {
		return policy.Room{POP: p, Load: load, Until: t0.Add(in)}
	}
	for _, c := range []struct {
		name     string
		from, to policy.Stance
		why      policy.Code
		room     []policy.Room
		want     policy.GuardAnswer
		detail   string
	}{
		{"reserved", normal, backup, policy.Load, []policy.Room{at("FRA", 12.5, time.Minute)}, policy.Allow, "12.5 at FRA"},
		{"withdraw, reserved at two", normal, none, policy.Load, []policy.Room{at("FRA", 12, time.Minute), at("AMS", 3, time.Minute)}, policy.Allow, "3 at AMS"},
		{"nothing reserved", normal, backup, policy.Load, nil, policy.Veto, "no other POP"},
		{"one of two is over", normal, backup, policy.Load, []policy.Room{at("FRA", 12, time.Minute), at("AMS", 3, -2*time.Second)}, policy.Veto, "AMS ended 2s ago"},
		{"room of our own", normal, backup, policy.Load, []policy.Room{at("LON", 12, time.Minute)}, policy.Veto, "no room elsewhere"},
		{"of nothing", normal, backup, policy.Load, []policy.Room{at("FRA", 0, time.Minute)}, policy.Veto, "no room elsewhere"},
		{"taken back", backup, normal, policy.Load, nil, policy.Allow, ""},
		{"stays", backup, backup, policy.Load, nil, policy.Allow, ""},
		{"deeper", backup, none, policy.Load, nil, policy.Veto, ""},
		{"by health", normal, backup, policy.CheckPart, nil, policy.Allow, ""},
	} {
		in := policy.Input{POP: "LON", Shed: map[policy.SliceID]policy.Shed{web: {Room: c.room}}}
		v := guard.Headroom{}.Ask(policy.Question{Slice: web, From: c.from, To: c.to, Why: policy.Reason{Code: c.why}, Input: &in, Now: t0})
		if v.Answer != c.want || !strings.Contains(v.Detail, c.detail) {
			t.Errorf("%s: %v %q, want %v %q", c.name, v.Answer, v.Detail, c.want, c.detail)
		}
	}
}

// next decides and goes on from there.
func (s *scene) next() policy.SliceDecision {
	st, d := policy.Decider{Guards: guard.Standard()}.Decide(policy.State{Slices: map[policy.SliceID]policy.SliceState{web: s.state}}, s.in, s.at)
	s.state = st.Slices[web]
	return d.Slices[0]
}

// TestLoadSteps follows one slice through what load wants of it: it lowers
// what health wants, overrules no operator, and comes back without the
// hold-down of a service that was down.
func TestLoadSteps(t *testing.T) {
	s := newScene("LON", peer("FRA", time.Second))
	room := []policy.Room{{POP: "FRA", Load: 5, Until: t0.Add(time.Minute)}}
	backup := policy.Stance{Action: policy.Announce, Rung: 1}
	want := func(step, stance string, code policy.Code) {
		t.Helper()
		if d := s.next(); d.Stance.String() != stance || d.Reason.Code != code {
			t.Errorf("%s: %v because %v, want %s because %s", step, d.Stance, d.Reason, stance, code)
		}
	}
	s.in.Health["web"] = policy.Health{Verdict: policy.Up, Fraction: 1}
	want("up", "announce", policy.Healthy)
	s.in.Shed = map[policy.SliceID]policy.Shed{web: {Stance: backup, Detail: "1.12 of capacity"}}
	want("no room", "announce", policy.Guarded)
	s.in.Shed[web] = policy.Shed{Stance: backup, Detail: "1.12 of capacity", Room: room}
	want("room", "announce rung 1", policy.Load)
	s.at = s.at.Add(2 * time.Minute)
	s.in.Fleet.Peers[0].Heard, s.in.Fleet.Peers[0].Asked = s.at, s.at
	want("the reservation has ended", "announce rung 1", policy.Load)
	s.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", At: s.at, Stance: policy.Stance{Action: policy.Announce}}}
	want("pinned", "announce", policy.Operator)
	s.in.Intents = nil
	want("released, no room any more", "announce", policy.Guarded)
	s.in.Shed[web] = policy.Shed{Stance: backup, Room: []policy.Room{{POP: "FRA", Load: 5, Until: s.at.Add(time.Minute)}}}
	want("room again", "announce rung 1", policy.Load)
	s.in.Health["web"] = policy.Health{Verdict: policy.Up, Fraction: 1, Stalled: true}
	s.in.Shed = nil
	want("stalled", "announce rung 1", policy.Guarded)
	s.in.Health["web"] = policy.Health{Verdict: policy.Up, Fraction: 1}
	s.in.Shed = map[policy.SliceID]policy.Shed{web: {Stance: backup, Room: room}}
	want("goes on", "announce rung 1", policy.Load)
	s.in.Shed = nil
	want("taken back at once", "announce", policy.Healthy)
}

// TestLoadWithdraw: last-pop judges a withdraw by load as one by health, and
// brings it back when nobody else is left.
func TestLoadWithdraw(t *testing.T) {
	s := newScene("LON", peer("FRA", time.Second))
	s.in.Health["web"] = policy.Health{Verdict: policy.Up, Fraction: 1}
	s.next()
	s.in.Shed = map[policy.SliceID]policy.Shed{web: {Room: []policy.Room{{POP: "FRA", Load: 5, Until: t0.Add(time.Hour)}}}}
	gone := false
	for range 5 {
		s.at = s.at.Add(time.Second)
		s.in.Fleet.Peers[0].Heard, s.in.Fleet.Peers[0].Asked = s.at, s.at
		gone = s.next().Stance == policy.Stance{}
	}
	if !gone {
		t.Fatal("not withdrawn although another POP announces it")
	}
	p := s.in.Fleet.Peers[0].Slices[web]
	p.Verdict = policy.Down
	s.in.Fleet.Peers[0].Slices[web] = p
	if d := s.next(); d.Stance.String() != "announce rung 2" || d.Reason.Guard != guard.NameLastPOP {
		t.Errorf("the other POP is down: %v because %v", d.Stance, d.Reason)
	}
}
