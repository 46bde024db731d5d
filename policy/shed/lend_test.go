package shed

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var lendNow = time.Unix(1_800_000_000, 0)

// lendView is three POPs of capacity 100; me is A.
func lendView(loads ...float64) *View {
	v := &View{Me: "A"}
	for i, l := range loads {
		v.POPs = append(v.POPs, POP{ID: policy.POPID(rune('A' + i)), Capacity: 100, At: lendNow, Load: map[policy.SliceID]float64{{}: l}, Level: map[policy.SliceID]Level{}})
	}
	return v
}

func lendCase() Lending {
	return Lending{Most: 0.3, Step: 0.1, Part: 0.5, Settle: 2 * time.Minute, To: []policy.POPID{"B", "C", "Z"}}
}

func TestLend(t *testing.T) {
	cfg := Defaults()
	for _, c := range []struct {
		name   string
		loads  []float64
		loans  []Loan
		change func(v *View, l *Lending)
		to     policy.POPID // "": no step
		share  float64
		why    string
	}{
		{name: "nothing to do", loads: []float64{80, 10, 10}},
		{name: "a step at a time", loads: []float64{97, 10, 10}, to: "B", share: 0.1},
		{name: "to who has room", loads: []float64{97, 95.5, 10}, to: "C", share: 0.1},
		{name: "not to who is overloaded", loads: []float64{97, 99, 10}, to: "C", share: 0.1},
		{name: "not to who is drained", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) {
			v.Slices = []policy.SliceID{{}}
			v.POPs[0].Level[policy.SliceID{}], v.POPs[2].Level[policy.SliceID{}] = 0, 0
		}, to: "C", share: 0.1},
		{name: "not to who lends himself", loads: []float64{97, 10, 10}, loans: []Loan{{"B", "C", 0.1}}, to: "C", share: 0.1},
		{name: "as much as fits", loads: []float64{97, 91, 99}, to: "B", share: 0.0478},
		{name: "nobody has room", loads: []float64{97, 96, 97}, why: "has room"},
		{name: "on top of what is lent", loads: []float64{97, 10, 10}, loans: []Loan{{"A", "B", 0.1}}, to: "B", share: 0.2},
		{name: "no more than the most", loads: []float64{97, 10, 10}, loans: []Loan{{"A", "B", 0.3}}, why: "no more than 30 %"},
		{name: "a rest", loads: []float64{97, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, to: "B", share: 0.3},
		{name: "what is needed", loads: []float64{97, 10, 10}, change: func(_ *View, l *Lending) { l.Step, l.Most, l.Part = 1, 1, 1 }, to: "B", share: 9.0 / 97},
		{name: "alone", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) { v.Isolated = true }},
		{name: "surprised", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) { v.Surprised = true }},
		{name: "settling", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) { v.Changed = lendNow.Add(-time.Second) }},
		{name: "old", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) { v.POPs[0].At = lendNow.Add(-time.Hour) }},
		{name: "on its way", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) {
			v.Reserved = []Reservation{{ReservationID: ReservationID{From: "A", To: "B"}, Until: lendNow.Add(time.Minute)}}
		}},
		{name: "not among the POPs", loads: []float64{97, 10, 10}, change: func(v *View, _ *Lending) { v.Me = "Q" }},
		{name: "back, the last choice first", loads: []float64{40, 10, 10}, loans: []Loan{{"A", "B", 0.1}, {"A", "C", 0.1}}, to: "C", share: 0},
		{name: "back from who is no choice", loads: []float64{40, 10, 10}, loans: []Loan{{"A", "B", 0.1}, {"A", "Y", 0.3}}, to: "Y", share: 0.2},
		{name: "back in steps", loads: []float64{40, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, to: "B", share: 0.15},
		{name: "back as far as is sure", loads: []float64{70, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, to: "B", share: 0.2003},
		{name: "not back", loads: []float64{74, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, why: "with more of them back"},
		{name: "not back so soon", loads: []float64{40, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, change: func(v *View, _ *Lending) { v.Shed = lendNow.Add(-time.Minute * 5) }},
		{name: "what BGP moved first", loads: []float64{40, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, change: func(v *View, _ *Lending) {
			v.Slices = []policy.SliceID{{}}
			v.POPs[0].Level[policy.SliceID{}] = 1
		}},
		{name: "all back when it is off", loads: []float64{70, 10, 10}, loans: []Loan{{"A", "B", 0.25}}, change: func(_ *View, l *Lending) { *l = Lending{} }, to: "B", share: 0},
	} {
		v, l := lendView(c.loads...), lendCase()
		if c.change != nil {
			c.change(v, &l)
		}
		st, why := cfg.Lend(l, v, c.loans, time.Time{}, lendNow)
		switch {
		case (st == nil) != (c.to == "") || !strings.Contains(why, c.why) || c.why == "" && why != "":
			t.Errorf("%s: %+v, %q", c.name, st, why)
		case st == nil:
		case st.Loan.From != "A" || st.Loan.To != c.to || st.Share < c.share-0.002 || st.Share > c.share+0.002:
			t.Errorf("%s: %+v, want %v to %s", c.name, st.Loan, c.share, c.to)
		default:
			if err := cfg.AdmitLoan(v, st, lendNow); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if st.Share < st.Was && st.Reserve.To != "A" || st.Share > st.Was && st.Reserve.To != c.to || st.Reserve.High != st.High || st.High <= 0 {
				t.Errorf("%s: reserves %+v", c.name, st.Reserve)
			}
		}
	}
	if st, _ := cfg.Lend(lendCase(), lendView(97, 10, 10), nil, lendNow.Add(-time.Minute), lendNow); st != nil {
		t.Errorf("a minute after the last one: %+v", st)
	}
}

func TestAdmitLoan(t *testing.T) {
	cfg := Defaults()
	v := lendView(97, 10, 10)
	st, _ := cfg.Lend(lendCase(), v, nil, time.Time{}, lendNow)
	for _, c := range []struct {
		change func()
		why    string
	}{
		{func() {
			v.Reserved = []Reservation{{ReservationID: ReservationID{From: "C", To: "B"}, High: 80, Until: lendNow.Add(time.Minute)}}
		}, "room for"},
		{func() { v.POPs[1].Load[policy.SliceID{}] = 99 }, "overloaded itself"},
		{func() { v.POPs = v.POPs[:1] }, "not a POP"},
	} {
		if c.change(); cfg.AdmitLoan(v, st, lendNow) == nil || !strings.Contains(cfg.AdmitLoan(v, st, lendNow).Error(), c.why) {
			t.Errorf("%v, want %s", cfg.AdmitLoan(v, st, lendNow), c.why)
		}
	}
}

// TestLoansFitTheRoom plays random fleets: whatever is lent by all of them, in
// any order and with what was reserved before, no receiver is promised more than
// it has room for, and nobody lends more than he may.
func TestLoansFitTheRoom(t *testing.T) {
	cfg, steps := Defaults(), 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 8))
		v := lendView()
		for i := range 3 + r.IntN(4) {
			v.POPs = append(v.POPs, lendView(slices.Repeat([]float64{20 + 85*r.Float64()}, i+1)...).POPs[i])
		}
		var loans []Loan
		for range 30 {
			me := &v.POPs[r.IntN(len(v.POPs))]
			v.Me = me.ID
			l := lendCase()
			l.To = nil
			for _, i := range r.Perm(len(v.POPs)) {
				if v.POPs[i].ID != me.ID {
					l.To = append(l.To, v.POPs[i].ID)
				}
			}
			st, _ := cfg.Lend(l, v, loans, time.Time{}, lendNow)
			if st == nil || cfg.AdmitLoan(v, st, lendNow) != nil {
				continue
			}
			steps++
			st.Reserve.Until = lendNow.Add(time.Minute)
			v.Reserved = append(v.Reserved, st.Reserve)
			loans = append(slices.DeleteFunc(loans, func(x Loan) bool { return x.From == st.From && x.To == st.Loan.To }), st.Loan)
			if all := mine(loans, me.ID); all > l.Most+1e-9 {
				t.Fatalf("seed %d: %s lends %v", seed, me.ID, all)
			}
			for i := range v.POPs {
				p := &v.POPs[i]
				_, high, _ := cfg.Pending(p, v.Reserved, lendNow)
				if own, _ := cfg.High(p, lendNow); high > 0 && own+high > cfg.Receive*p.Capacity+1e-6 {
					t.Fatalf("seed %d: %s carries %v and is promised %v", seed, p.ID, own, high)
				}
			}
		}
	}
	if steps < 200 {
		t.Errorf("%d steps", steps)
	}
}
