package shed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func sliceID(i int) policy.SliceID {
	return policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24))
}

// four is a fleet of four POPs with k slices: A carries 100 of 100, and its
// one level sends 60 % of a slice to B, 30 % to C and 10 % to D.
func four(k int) *View {
	m := NewMatrix(DefaultModel(), map[policy.POPID]float64{"A": 0.4, "B": 0.2, "C": 0.2, "D": 0.2}, 3)
	for _, p := range []policy.POPID{"A", "B", "C", "D"} {
		part := map[policy.POPID]float64{"B": 0.6, "C": 0.3, "D": 0.1}
		if p != "A" {
			part = map[policy.POPID]float64{"A": 0.2, "B": 0.3, "C": 0.3, "D": 0.2}
		}
		m = m.Measured(p, 1, 0.8, part, t0).Measured(p, 2, 1, part, t0)
	}
	v := &View{Me: "A", Matrix: m}
	for i := range k {
		v.Slices = append(v.Slices, sliceID(i))
	}
	for i, p := range []policy.POPID{"A", "B", "C", "D"} {
		pop := POP{ID: p, Capacity: 100, At: t0, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}}
		for _, s := range v.Slices {
			pop.Load[s], pop.Level[s] = []float64{100, 50, 50, 50}[i]/float64(k), 0
		}
		v.POPs = append(v.POPs, pop)
	}
	return v
}

func (v *View) pop(p policy.POPID) *POP {
	return &v.POPs[slices.IndexFunc(v.POPs, func(q POP) bool { return q.ID == p })]
}

func TestStance(t *testing.T) {
	for _, c := range []struct {
		level Level
		rungs int
		want  policy.Stance
	}{
		{0, 1, policy.Stance{Action: policy.Announce}},
		{0, 0, policy.Stance{Action: policy.Announce}},
		{1, 1, policy.Stance{}},
		{2, 3, policy.Stance{Action: policy.Announce, Rung: 2}},
		{3, 3, policy.Stance{Action: policy.Withdraw}},
	} {
		got := Stance(c.level, c.rungs)
		if got != c.want || LevelOf(got, c.rungs) != c.level {
			t.Errorf("level %d of %d rungs: %v, back %d", c.level, c.rungs, got, LevelOf(got, c.rungs))
		}
	}
	if l := LevelOf(policy.Stance{Action: policy.Drain}, 2); l != 2 {
		t.Errorf("drain is level %d", l)
	}
}

// TestRound: what one round does in plain situations.
func TestRound(t *testing.T) {
	now := t0.Add(10 * time.Second)
	for name, c := range map[string]struct {
		change func(*View, *Config)
		code   Code
		steps  int // -1: some
	}{
		"overloaded":               {func(*View, *Config) {}, Shedding, -1},
		"below its trigger":        {func(v *View, _ *Config) { v.pop("A").Capacity = 106 }, Fine, 0},
		"load is on its way to it": {func(v *View, _ *Config) { v.pop("A").Capacity = 106; reserveAt(v, "A", 20, t0) }, Fine, 0},
		"another is overloaded":    {func(v *View, _ *Config) { v.Me = "B" }, Fine, 0},
		"core out of reach":        {func(v *View, _ *Config) { v.Isolated = true }, Alone, 0},
		"own capacity unknown":     {func(v *View, _ *Config) { v.pop("A").Capacity = 0 }, Blind, 0},
		"others' unknown":          {func(v *View, _ *Config) { full(v, 0) }, NoRoom, 0},
		"own load too old":         {func(v *View, _ *Config) { v.pop("A").At = t0.Add(-time.Hour) }, Blind, 0},
		"last change is fresh":     {func(v *View, _ *Config) { v.Changed = t0 }, Settling, 0},
		"took back a minute ago":   {func(v *View, _ *Config) { v.Returned = t0.Add(-2 * time.Minute); v.pop("A").Capacity = 104 }, Turning, 0},
		"and is above capacity":    {func(v *View, _ *Config) { v.Returned = t0.Add(-2 * time.Minute) }, Shedding, -1},
		"surprised":                {func(v *View, _ *Config) { v.Surprised = true }, Stopped, 0},
		"absorbs":                  {func(_ *View, c *Config) { c.Absorb = AbsorbAll }, Absorbing, 0},
		"nobody has room":          {func(v *View, _ *Config) { full(v, 52) }, NoRoom, 0},
		"nobody's load is known":   {func(v *View, _ *Config) { unheard(v) }, NoRoom, 0},
		"room is reserved":         {func(v *View, _ *Config) { reserve(v, 45, now) }, NoRoom, 0},
		"part of it can go":        {func(v *View, _ *Config) { full(v, 68) }, Shedding, -1},
		"absorbs rather than part": {func(v *View, c *Config) { full(v, 62); v.pop("A").Capacity = 60; c.Absorb = AbsorbCascade }, NoRoom, 0},
		"floor":                    {func(_ *View, c *Config) { c.Keep = 8 }, NoRoom, 0},
		"last-pop":                 {func(_ *View, c *Config) { c.Normal = 4 }, NoRoom, 0},
	} {
		v, cfg := four(8), Defaults()
		c.change(v, &cfg)
		d, err := Round(cfg, v, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Code != c.code || (c.steps < 0) != (len(d.Steps) > 0) {
			t.Errorf("%s: %s (%s) with %d steps, want %s", name, d.Code, d.Detail, len(d.Steps), c.code)
		}
		for _, s := range d.Steps {
			if err := cfg.Admit(v, s, now); err != nil {
				t.Errorf("%s: its own step is not admitted: %v", name, err)
			}
		}
	}
}

func full(v *View, capacity float64) {
	for _, p := range []policy.POPID{"B", "C", "D"} {
		v.pop(p).Capacity = capacity
	}
}

func unheard(v *View) {
	for _, p := range []policy.POPID{"B", "C", "D"} {
		v.pop(p).At = time.Time{}
	}
}

func reserve(v *View, load float64, now time.Time) {
	for _, p := range []policy.POPID{"B", "C", "D"} {
		reserveAt(v, p, load, now)
	}
}

func reserveAt(v *View, p policy.POPID, load float64, now time.Time) {
	v.Reserved = append(v.Reserved, Reservation{ReservationID: ReservationID{From: "X", To: p}, High: load, Mean: load, Taken: now, Applied: now, Until: now.Add(time.Minute)})
}

// TestTakeBack: a POP returns when it surely has room, one slice a round, not
// soon after it stepped back.
func TestTakeBack(t *testing.T) {
	now := t0.Add(10 * time.Second)
	v, cfg := four(8), Defaults()
	a := v.pop("A")
	for i, s := range v.Slices {
		a.Load[s] = 5
		if i < 3 {
			a.Level[s], a.Load[s] = 1, 1
			v.pop("B").Load[s] += 2.4
			v.pop("C").Load[s] += 1.2
			v.pop("D").Load[s] += 0.4
		}
	}
	d, err := Round(cfg, v, now)
	if err != nil || d.Code != Returning || len(d.Steps) != 1 || d.Steps[0].To != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	if m := d.Steps[0].Moves; math.Abs(m+4) > 0.5 {
		t.Errorf("takes back %.2f, want about 4", -m)
	}
	if err := cfg.Admit(v, d.Steps[0], now); err != nil {
		t.Errorf("its own room: %v", err)
	}
	v.Shed = now.Add(-9 * time.Minute)
	if d, _ := Round(cfg, v, now); d.Code != Turning || len(d.Steps) > 0 {
		t.Errorf("nine minutes after shedding: %+v", d)
	}
	v.Shed = time.Time{}
	a.Capacity = 40
	if d, _ := Round(cfg, v, now); d.Code != Waiting || len(d.Steps) > 0 {
		t.Errorf("with little room: %+v", d)
	}
}

// TestProbe: a level nobody has seen is tried on one slice.
func TestProbe(t *testing.T) {
	v := four(8)
	v.Matrix = NewMatrix(DefaultModel(), map[policy.POPID]float64{"A": 0.4, "B": 0.2, "C": 0.2, "D": 0.2}, 3)
	v.pop("A").Capacity = 70
	d, err := Round(Defaults(), v, t0)
	if err != nil || len(d.Steps) != 1 || !d.Steps[0].Probe {
		t.Fatalf("%+v, %v", d, err)
	}
}

// TestAdmitNeverOversubscribes: POPs take and free reservations in any order
// with views of any age; never are more than a receiver's room reserved.
func TestAdmitNeverOversubscribes(t *testing.T) {
	cfg := Defaults()
	admitted, refused := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		v, now := four(4), t0
		var ledger []Reservation
		for range 60 {
			now = now.Add(time.Duration(r.IntN(20)) * time.Second)
			var want []Reservation
			for range 1 + r.IntN(3) {
				to := v.POPs[r.IntN(4)].ID
				id := ReservationID{From: policy.POPID(fmt.Sprint("X", r.IntN(5))), To: to, Slice: sliceID(r.IntN(4))}
				if !slices.ContainsFunc(want, func(w Reservation) bool { return w.ReservationID == id }) {
					amount := r.Float64() * 20
					want = append(want, Reservation{ReservationID: id, Mean: amount * 0.8, High: amount, Taken: now, Until: now.Add(cfg.Hold)})
				}
			}
			v.Reserved = ledger
			if err := cfg.Admit(v, Step{Reserve: want}, now); err != nil {
				refused++
			} else {
				admitted++
				ledger = slices.DeleteFunc(ledger, func(o Reservation) bool {
					return slices.ContainsFunc(want, func(w Reservation) bool { return w.ReservationID == o.ReservationID })
				})
				ledger = append(ledger, want...)
				for _, w := range want {
					if w.To == "A" {
						continue // above its trigger: it is not asked
					}
					if over := oversubscribed(cfg, v.pop(w.To), ledger, now); over > 1e-9 {
						t.Fatalf("seed %d: %s is oversubscribed by %.2f", seed, w.To, over)
					}
				}
			}
			if i := r.IntN(4); r.IntN(3) == 0 { // a sample of a POP
				v.POPs[i].At = now
			}
			if len(ledger) > 0 && r.IntN(2) == 0 { // a route changes
				if o := &ledger[r.IntN(len(ledger))]; o.Applied.IsZero() {
					o.Applied = now
				}
			}
		}
	}
	if admitted == 0 || refused == 0 {
		t.Errorf("%d admitted, %d refused: tries nothing", admitted, refused)
	}
}

// oversubscribed adds up by hand what a receiver may come to carry, less what
// it may.
func oversubscribed(cfg Config, p *POP, ledger []Reservation, now time.Time) float64 {
	sum := p.Total() * (1 + cfg.Z*(cfg.Noise+cfg.Growth*math.Sqrt(now.Sub(p.At).Minutes())))
	for _, r := range ledger {
		over := now.After(r.Until) || now.Equal(r.Until)
		seen := !r.Applied.IsZero() && p.At.Sub(r.Applied) >= cfg.Settle
		if r.To == p.ID && !over && !seen {
			sum += r.High
		}
	}
	return sum - cfg.Receive*p.Capacity
}

// TestAdmit: the sum counts, unknown receivers have no room, and what has
// arrived in the receiver's own sample no longer takes any.
func TestAdmit(t *testing.T) {
	cfg, v := Defaults(), four(4)
	cfg.Z, cfg.Receive = 0, 0.92
	res := func(from policy.POPID, high float64) Reservation {
		return Reservation{ReservationID: ReservationID{From: from, To: "B", Slice: sliceID(0)}, High: high, Mean: high, Taken: t0, Until: t0.Add(cfg.Hold)}
	}
	admit := func(standing, want []Reservation, now time.Time) error {
		v.Reserved = standing
		return cfg.Admit(v, Step{Reserve: want}, now)
	}
	if err := admit(nil, []Reservation{res("A", 42)}, t0); err != nil {
		t.Errorf("42 of 42: %v", err)
	}
	if err := admit(nil, []Reservation{res("A", 22), res("C", 21)}, t0); err == nil {
		t.Error("43 of 42 in two parts")
	}
	first := res("A", 30)
	if err := admit([]Reservation{first}, []Reservation{res("C", 20)}, t0); err == nil {
		t.Error("20 more than 30 of 42")
	}
	if err := admit([]Reservation{first}, []Reservation{res("A", 40)}, t0); err != nil {
		t.Errorf("a reservation that replaces itself: %v", err)
	}
	first.Applied = t0
	v.pop("B").At = t0.Add(cfg.Settle)
	if err := admit([]Reservation{first}, []Reservation{res("C", 20)}, t0.Add(cfg.Settle)); err != nil {
		t.Errorf("after the first has arrived: %v", err)
	}
	if free := cfg.Free("A", v.POPs, []Reservation{first}, t0.Add(cfg.Settle)); len(free) != 1 {
		t.Errorf("%d to free", len(free))
	}
	v.pop("B").At = time.Time{}
	if err := admit(nil, []Reservation{res("A", 1)}, t0); err == nil {
		t.Error("a POP never heard has room")
	}
	if err := admit(nil, []Reservation{{ReservationID: ReservationID{From: "A", To: "Q"}, High: 1}}, t0); err == nil {
		t.Error("a POP of no fleet has room")
	}
}

// TestConfig: the defaults hold, and each rule is checked.
// TestAdmitAboveTrigger: a receiver that is about to let go is filled up to
// its capacity, or by a little above it, and no further.
func TestAdmitAboveTrigger(t *testing.T) {
	cfg := Defaults()
	for _, c := range []struct {
		load, arrives float64 // of its capacity
		ok            bool
	}{
		{0.96, 0.03, true}, {0.96, 0.05, false}, {0.99, 0.16, false},
		{1.10, 0.04, true}, {1.10, 0.06, false},
	} {
		v := four(4)
		b := v.pop("B")
		for _, s := range v.Slices {
			b.Load[s] = c.load * b.Capacity / 4
		}
		amount := c.arrives * b.Capacity
		st := Step{Reserve: []Reservation{{ReservationID: ReservationID{From: "A", To: "B", Slice: sliceID(0)}, High: amount, Mean: amount, Taken: t0, Until: t0.Add(cfg.Hold)}}}
		if err := cfg.Admit(v, st, t0); (err == nil) != c.ok {
			t.Errorf("%.2f arrive at one at %.2f of its capacity: %v", c.arrives, c.load, err)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"return above target": func(c *Config) { c.Return = 0.93 },
		"receive too high":    func(c *Config) { c.Receive = 1.01 },
		"negative z":          func(c *Config) { c.Z = -1 },
		"turn below settle":   func(c *Config) { c.Turn = time.Second },
		"nobody normal":       func(c *Config) { c.Normal = 0 },
	} {
		c := Defaults()
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("%s: not noticed", name)
		}
		if _, err := Round(c, four(2), t0); err == nil {
			t.Errorf("%s: a round all the same", name)
		}
	}
}
