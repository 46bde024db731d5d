package careful

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// TestPlan: how far a flow jumps, and why it does not.
func TestPlan(t *testing.T) {
	ticket := Ticket{Rate: 10e6, RTT: 20 * ms, At: t0}
	path := Path{RTT: 40 * ms, Window: 14600, MSS: 1460}
	for _, c := range []struct {
		name string
		edit func(*Ticket, *Path, *Limits)
		part float64
		at   time.Duration
		want Jump
		why  Reason
	}{
		{"a rate makes another window on another path", nil, 1, 0, Jump{Window: 400_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"half of it", nil, 0.5, 0, Jump{Window: 200_000, Rate: 5e6, Most: 11_250_000}, Allowed},
		{"never more than all", nil, 7, 0, Jump{Window: 400_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"a nearer POP", func(_ *Ticket, p *Path, _ *Limits) { p.RTT = 5 * ms }, 1, 0, Jump{Window: 50_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"the ceiling of the window", func(_ *Ticket, _ *Path, l *Limits) { l.Window = 100_000 }, 1, 0, Jump{Window: 100_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"the ceiling of the rate", func(_ *Ticket, _ *Path, l *Limits) { l.Rate = 1e6 }, 1, 0, Jump{Window: 40_000, Rate: 1e6, Most: 1e6}, Allowed},
		{"the client's window", func(_ *Ticket, p *Path, _ *Limits) { p.Peer = 65_000 }, 1, 0, Jump{Window: 65_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"no ticket", func(k *Ticket, _ *Path, _ *Limits) { *k = Ticket{} }, 1, 0, Jump{}, NoTicket},
		{"no round trip yet", func(_ *Ticket, p *Path, _ *Limits) { p.RTT = 0 }, 1, 0, Jump{}, NoTicket},
		{"half a minute old", nil, 1, 30 * time.Second, Jump{Window: 400_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"older", nil, 1, 30*time.Second + 1, Jump{}, Expired},
		{"of the future", nil, 1, -2 * time.Second, Jump{}, Expired},
		{"losses in the handshake", func(_ *Ticket, p *Path, _ *Limits) { p.Retrans = 1 }, 1, 0, Jump{}, Lossy},
		{"ten times as far", func(_ *Ticket, p *Path, _ *Limits) { p.RTT = 200 * ms }, 1, 0, Jump{Window: 2_000_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"another path", func(_ *Ticket, p *Path, _ *Limits) { p.RTT = 201 * ms }, 1, 0, Jump{}, FarAway},
		{"tenfold of nearly nothing is no other path", func(k *Ticket, p *Path, _ *Limits) { k.RTT, p.RTT = ms, 40*ms }, 1, 0, Jump{Window: 400_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"no queue", func(_ *Ticket, p *Path, _ *Limits) { p.Least = 32 * ms }, 1, 0, Jump{Window: 320_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"a queue", func(_ *Ticket, p *Path, _ *Limits) { p.Least = 30 * ms }, 1, 0, Jump{Window: 75_000, Rate: 2.5e6, Most: 5e6}, Allowed},
		{"a queue, and less was earned", func(_ *Ticket, p *Path, _ *Limits) { p.Least = 20 * ms }, 0.2, 0, Jump{Window: 40_000, Rate: 2e6, Most: 4e6}, Allowed},
		{"a queue, and it measures", func(_ *Ticket, p *Path, _ *Limits) { p.Least, p.Measures = 30*ms, true }, 1, 0, Jump{}, Busy},
		{"no queue, and it measures", func(_ *Ticket, p *Path, _ *Limits) { p.Least, p.Measures = 32*ms, true }, 1, 0, Jump{Window: 320_000, Rate: 10e6, Most: 11_250_000}, Allowed},
		{"not earned", nil, 0, 0, Jump{}, NotEarned},
		{"the window is as large already", func(_ *Ticket, p *Path, _ *Limits) { p.Window = 400_000 - 1460 }, 1, 0, Jump{}, NoGain},
		{"a slow flow", func(k *Ticket, _ *Path, _ *Limits) { k.Rate = 400_000 }, 1, 0, Jump{}, NoGain},
	} {
		k, p, l := ticket, path, Limits{}
		if c.edit != nil {
			c.edit(&k, &p, &l)
		}
		got, why := l.Plan(k, p, c.part, t0.Add(c.at))
		if used := float64(got.Window) / (float64(min(k.Rate, cmp.Or(l.Rate, 1_250_000_000))) * min(p.RTT, cmp.Or(p.Least, p.RTT)).Seconds()); why == Allowed && got.Part != used {
			t.Errorf("%s: %g of the former rate is used, %v says %g", c.name, used, got, got.Part)
		}
		got.Part = 0
		if got != c.want || why != c.why {
			t.Errorf("%s: %v %q, want %v %q", c.name, got, why, c.want, c.why)
		}
	}
}

// TestWatch: how jumps end.
func TestWatch(t *testing.T) {
	type look struct {
		at     time.Duration
		info   Info
		phase  Phase
		action Action
		done   bool
	}
	j := Jump{Window: 100_000, Rate: 2_500_000, Most: 5e6}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"all arrives", []look{
			{40 * ms, Info{Acked: 1000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{}, false},
			{80 * ms, Info{Acked: 100_999, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
			{81 * ms, Info{Acked: 100_999, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{}, false},
			{85 * ms, Info{Acked: 101_000, Out: 100_000, RTT: 40 * ms}, Validated, Action{}, false},
			{200 * ms, Info{Acked: 400_000, Retrans: 9, Lost: 4, RTT: 40 * ms}, Validated, Action{}, false},
			{205 * ms, Info{Acked: 410_000, RTT: 40 * ms}, Validated, Action{Lift: true}, true},
			{300 * ms, Info{Acked: 500_000, RTT: 40 * ms}, Validated, Action{}, true},
		}},
		{"all at once", []look{
			{85 * ms, Info{Acked: 101_000, Out: 100_000, RTT: 40 * ms}, Validated, Action{Rate: 5e6}, false},
		}},
		{"all arrives, and a queue grows", []look{
			{80 * ms, Info{Acked: 50_999, Out: 100_000, RTT: 48 * ms}, Unvalidated, Action{}, false},
			{85 * ms, Info{Acked: 101_000, Out: 100_000, RTT: 50 * ms}, Validated, Action{}, false},
			{200 * ms, Info{Acked: 410_000, RTT: 40 * ms}, Validated, Action{Rate: 5e6}, false},
			{245 * ms, Info{Acked: 410_000, RTT: 40 * ms}, Validated, Action{Lift: true}, true},
		}},
		{"something is lost", []look{
			{60 * ms, Info{Acked: 41_000, Lost: 1, RTT: 40 * ms}, Retreated, Action{Window: 20_000, Lift: true}, true},
		}},
		{"something was sent again", []look{
			{60 * ms, Info{Acked: 1000, Retrans: 3, RTT: 40 * ms}, Retreated, Action{Window: 1, Lift: true}, true},
		}},
		{"a retreat to its end", []look{
			{60 * ms, Info{Acked: 21_000, Delivered: 31_000, Lost: 1, RTT: 40 * ms}, Retreated, Action{Window: 15_000, Rate: 1_250_000}, false},
			{80 * ms, Info{Acked: 21_000, Delivered: 60_000, Lost: 4, RTT: 40 * ms}, Retreated, Action{}, false},
			{90 * ms, Info{Acked: 101_000, Delivered: 71_000, RTT: 40 * ms}, Retreated, Action{Threshold: 35_000, Lift: true}, true},
			{95 * ms, Info{Acked: 201_000, Delivered: 171_000, RTT: 40 * ms}, Retreated, Action{}, true},
		}},
		{"a retreat without end", []look{
			{60 * ms, Info{Acked: 1000, Delivered: 1000, Lost: 1, RTT: 40 * ms}, Retreated, Action{Window: 1, Rate: 1_250_000}, false},
			{400 * ms, Info{Acked: 1000, Delivered: 41_000, Lost: 1, RTT: 40 * ms}, Retreated, Action{}, false},
			{401 * ms, Info{Acked: 1000, Delivered: 41_000, Lost: 1, RTT: 40 * ms}, Retreated, Action{Threshold: 20_000, Lift: true}, true},
		}},
		{"what was lost before the jump is not of it", []look{
			{60 * ms, Info{Acked: 2000, Retrans: 2, Out: 5, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
		}},
		{"its congestion control grows by itself", []look{
			{80 * ms, Info{Acked: 11_000, Window: 110_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
			{85 * ms, Info{Acked: 41_000, Window: 137_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{}, false},
		}},
		{"its congestion control waits", []look{
			{80 * ms, Info{Acked: 11_000, Window: 101_000, Out: 100_000, RTT: 40 * ms, Measures: true}, Unvalidated, Action{Rate: 5e6, Only: 110_000}, false},
			{85 * ms, Info{Acked: 12_000, Window: 110_000, Out: 100_000, RTT: 40 * ms, Measures: true}, Unvalidated, Action{}, false},
			{90 * ms, Info{Acked: 61_000, Window: 111_000, Out: 100_000, RTT: 60 * ms, Measures: true}, Unvalidated, Action{Only: 80_000 * 2}, false},
			{95 * ms, Info{Acked: 101_000, Window: 161_000, Out: 100_000, RTT: 40 * ms, Measures: true}, Validated, Action{}, false},
		}},
		{"never beyond what the former rate takes", []look{
			{80 * ms, Info{Acked: 96_000, Window: 100_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6, Only: 195_000}, false},
			{81 * ms, Info{Acked: 100_000, Window: 100_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Only: 199_000}, false},
		}},
		{"a queue ends slow start", []look{
			{80 * ms, Info{Acked: 11_000, Window: 110_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
			{90 * ms, Info{Acked: 101_000, Window: 190_000, Out: 150_000, RTT: 46 * ms}, Validated, Action{Window: 150_000}, false},
			{95 * ms, Info{Acked: 121_000, Window: 150_000, Out: 150_000, RTT: 49 * ms}, Validated, Action{}, false},
			{250 * ms, Info{Acked: 421_000, Window: 550_000, Out: 150_000, RTT: 49 * ms}, Validated, Action{Lift: true}, true},
		}},
		{"nor does it come below what arrived", []look{
			{80 * ms, Info{Acked: 11_000, Window: 110_000, Out: 100_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
			{90 * ms, Info{Acked: 101_000, Window: 190_000, Out: 20_000, RTT: 46 * ms}, Validated, Action{Window: 100_000}, false},
		}},
		{"what the pace kept unused does not go out at once", []look{
			{80 * ms, Info{Acked: 101_000, Window: 200_000, Out: 100_000, RTT: 40 * ms}, Validated, Action{Rate: 5e6}, false},
			{201 * ms, Info{Acked: 400_000, Window: 400_000, Out: 180_000, RTT: 40 * ms}, Validated, Action{Lift: true, Only: 180_000}, true},
		}},
		{"there was not so much to send", []look{
			{400 * ms, Info{Acked: 50_000, RTT: 40 * ms}, Unvalidated, Action{Rate: 5e6}, false},
			{401 * ms, Info{Acked: 50_000, Out: 1, RTT: 40 * ms}, Unvalidated, Action{}, false},
			{402 * ms, Info{Acked: 50_001, RTT: 40 * ms}, Ended, Action{Lift: true}, true},
		}},
	} {
		w := NewWatch(j, Info{Acked: 1000, Delivered: 1000, Retrans: 2, RTT: 40 * ms}, t0)
		for _, l := range c.looks {
			if l.info.Retrans == 0 {
				l.info.Retrans = 2
			}
			a, done := w.Look(l.info, t0.Add(l.at))
			if a != l.action || done != l.done || w.Phase() != l.phase {
				t.Errorf("%s, after %v: %+v %v %v, want %+v %v %v", c.name, l.at, a, done, w.Phase(), l.action, l.done, l.phase)
			}
		}
	}
}

// TestProved: a flight that arrives shows what the path takes only if it came
// as fast as planned.
func TestProved(t *testing.T) {
	type look struct {
		at time.Duration
		Info
	}
	j := Jump{Window: 100_000, Rate: 2_500_000, Most: 5e6}
	for _, c := range []struct {
		name  string
		looks []look
		want  bool
	}{
		{"by the kernel as fast as planned", []look{{50 * ms, Info{Acked: 50_000, Rate: 2_000_000}}, {100 * ms, Info{Acked: 100_000, Rate: 1_000_000}}}, true},
		{"by the kernel a bit slower", []look{{50 * ms, Info{Acked: 50_000, Rate: 1_999_999}}, {100 * ms, Info{Acked: 100_000, Rate: 1_999_999}}}, false},
		{"nothing is known", []look{{50 * ms, Info{Acked: 100_000}}}, false},
		{"faster, but not all of it has come", []look{{50 * ms, Info{Acked: 99_999, Rate: 5_000_000}}}, false},
		{"faster, and something was lost", []look{{50 * ms, Info{Acked: 50_000, Rate: 5_000_000}}, {60 * ms, Info{Acked: 60_000, Lost: 1, Rate: 5_000_000}}}, false},
		{"as fast only after all of it", []look{{80 * ms, Info{Acked: 100_000}}, {100 * ms, Info{Acked: 200_000, Rate: 5_000_000}}}, false},
		{"by our looks as fast as planned", []look{{40 * ms, Info{Acked: 1000}}, {80 * ms, Info{Acked: 101_000}}}, true},
		{"looks that come late", []look{{40 * ms, Info{Acked: 1000}}, {120 * ms, Info{Acked: 180_000}}}, true},
		{"a client that reads piece by piece", []look{{40 * ms, Info{Acked: 20_000}}, {80 * ms, Info{Acked: 60_000}}, {120 * ms, Info{Acked: 120_000}}}, false},
		{"the first look late", []look{{60 * ms, Info{Acked: 60_000}}, {80 * ms, Info{Acked: 110_000}}}, true},
		{"too late to tell", []look{{75 * ms, Info{Acked: 90_000}}, {80 * ms, Info{Acked: 110_000}}}, false},
		{"some acknowledgements at once", []look{{75 * ms, Info{Acked: 40_000}}, {76 * ms, Info{Acked: 110_000}}}, false},
	} {
		w := NewWatch(j, Info{RTT: 40 * ms}, t0)
		for _, l := range c.looks {
			l.RTT = 40 * ms
			w.Look(l.Info, t0.Add(l.at))
		}
		if got := w.Proved(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestNext: looks are far apart but where the first acknowledgement is due.
func TestNext(t *testing.T) {
	w := NewWatch(Jump{Window: 100_000, Rate: 1e6, Most: 2e6}, Info{RTT: 96 * ms}, t0)
	for _, c := range []struct{ at, want time.Duration }{{0, 72 * ms}, {72 * ms, 3 * ms}, {190 * ms, 3 * ms}, {192 * ms, 12 * ms}} {
		if got := w.Next(96*ms, t0.Add(c.at)); got != c.want {
			t.Errorf("after %v: %v, want %v", c.at, got, c.want)
		}
	}
	w.Look(Info{Acked: 1, RTT: 96 * ms}, t0.Add(100*ms))
	if got := w.Next(96*ms, t0.Add(100*ms)); got != 12*ms {
		t.Errorf("once something has come back: %v", got)
	}
	if got := w.Next(10*time.Second, t0.Add(20*time.Second)); got != 50*ms {
		t.Errorf("far away: %v", got)
	}
}

// TestInvariants: whatever the numbers are, no jump is more than its part of
// the former rate, its ceilings or the client's window; a retreat at least
// halves; the pace is lifted once; and no part ever exceeds what was earned.
func TestInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	e := NewEarned(8)
	model := map[Between]float64{}
	var order []Between
	now := t0
	for range 200_000 {
		now = now.Add(time.Duration(r.IntN(2000)) * ms)
		b := Between{"LON", "FRA", netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(r.IntN(8)), 0}), 24)}
		part := e.Part(b, now)
		if _, known := model[b]; !known {
			model[b] = first
			order = append(order, b)
		}
		if part > model[b] || part < 0 {
			t.Fatalf("%v may use %g, has earned %g", b, part, model[b])
		}
		k := Ticket{Rate: r.Uint64N(2e9), RTT: time.Duration(r.IntN(300)) * ms, At: now.Add(-time.Duration(r.IntN(40_000)) * ms)}
		p := Path{RTT: time.Duration(r.IntN(300)) * ms, Window: 14600, MSS: 1460, Retrans: uint32(r.IntN(8) / 7), Peer: r.Uint64N(4 << 20)}
		j, why := Limits{}.Plan(k, p, part, now)
		if why != Allowed {
			if j != (Jump{}) {
				t.Fatalf("refused (%s), and yet %v", why, j)
			}
			continue
		}
		most := part * float64(k.Rate) * p.RTT.Seconds()
		if float64(j.Window) > most || j.Window > 8<<20 || j.Rate > 1_250_000_000 || p.Peer > 0 && j.Window > p.Peer || now.Sub(k.At) > 30*time.Second || p.Retrans > 0 {
			t.Fatalf("%v of %+v on %+v with %g", j, k, p, part)
		}
		e.Begin(b, now)
		if again := e.Part(b, now); again > part*0.75 {
			t.Fatalf("a second jump may use %g beside one of %g", again, part)
		}
		w := NewWatch(j, Info{RTT: p.RTT}, now)
		lifts := 0
		for at, done := now, false; !done; {
			at = at.Add(time.Duration(r.IntN(100)) * ms)
			var a Action
			acked := r.Uint64N(2 * j.Window)
			i := Info{Acked: acked, Delivered: acked, Window: j.Window + r.Uint64N(j.Window+1), Out: r.Uint64N(2 * j.Window), Lost: uint32(r.IntN(10) / 9),
				RTT: p.RTT + time.Duration(r.IntN(8)/7*r.IntN(100))*ms, Rate: r.Uint64N(2 * j.Rate), Measures: r.IntN(2) == 0}
			a, done = w.Look(i, at)
			if a.Only > max(j.Window+acked, i.Out) || a.Only > 0 && w.Phase() == Retreated {
				t.Fatalf("%+v makes %+v", i, a)
			}
			if a.Rate > k.Rate/8*9+8 || a.Rate > 1_250_000_000 || a.Threshold > j.Window/2 {
				t.Fatalf("%+v after %v of %+v", a, j, k)
			}
			if w.Phase() == Retreated && a.Window > j.Window/2 && a.Window != 1 {
				t.Fatalf("a retreat from %d to %d", j.Window, a.Window)
			}
			if w.Phase() != Retreated && a.Window > i.Window {
				t.Fatalf("%+v: a queue makes the window %d", i, a.Window)
			}
			if a.Lift {
				lifts++
			}
		}
		if lifts != 1 || w.Phase() == Unvalidated {
			t.Fatalf("%d lifts, ended %v", lifts, w.Phase())
		}
		e.End(b, End{w.Phase(), j.Part, w.Proved()}, now)
		switch {
		case w.Phase() == Validated && w.Proved() && j.Part >= enough*model[b]:
			model[b] = min(1, model[b]*raise)
		case w.Phase() == Retreated:
			if model[b] /= 2; model[b] < least {
				model[b] = again // after a rest, of which the test of it tells
			}
		}
	}
	last := e.Last(100)
	if len(last) != 8 || len(e.Last(3)) != 3 || last[0].Part > model[last[0].Between] || last[0].Since.IsZero() {
		t.Errorf("learned last: %+v", last)
	}
	if len(order) != 8 || e.Len() != 8 {
		t.Errorf("%d networks, %d kept", len(order), e.Len())
	}
}

// TestRest: after too many retreats nothing jumps for an hour, and then as at
// first.
func TestRest(t *testing.T) {
	e := NewEarned(1)
	b := Between{"LON", "FRA", NetOf(netip.MustParseAddr("192.0.2.7"))}
	var parts []float64
	for range 3 {
		parts = append(parts, e.Part(b, t0))
		e.Begin(b, t0)
		e.End(b, End{Phase: Retreated}, t0)
	}
	if parts[0] != 0.5 || parts[1] != 0.25 || parts[2] != 0.125 || e.Part(b, t0.Add(Rest-1)) != 0 || e.Part(b, t0.Add(Rest)) != first {
		t.Errorf("%v, then %g and %g", parts, e.Part(b, t0.Add(Rest-1)), e.Part(b, t0.Add(Rest)))
	}
	e.Begin(b, t0.Add(Rest))
	if p := e.Part(b, t0.Add(Rest+stuck+1)); p != first {
		t.Errorf("a jump that never ended leaves %g", p)
	}
	e.Part(Between{}, t0)
	if e.Len() != 1 {
		t.Errorf("%d kept", e.Len())
	}
}

// TestLeast: the least round trip of late is kept.
func TestLeast(t *testing.T) {
	e := NewEarned(2)
	b := Between{From: "LON", To: "FRA"}
	for i, c := range []struct {
		at        time.Duration
		rtt, want time.Duration
	}{{0, 40 * ms, 40 * ms}, {1, 60 * ms, 40 * ms}, {2, 30 * ms, 30 * ms}, {leastFor + 2, 50 * ms, 30 * ms}, {leastFor + 3, 0, 30 * ms}, {leastFor + 4, 50 * ms, 50 * ms}} {
		if got := e.Least(b, c.rtt, t0.Add(c.at)); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}

func TestNetOf(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48"} {
		if got := NetOf(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("%s: %v, want %s", addr, got, want)
		}
	}
	if NetOf(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}

// TestStated: what a client says of itself is read, bounded, and never makes
// more of what was measured.
func TestStated(t *testing.T) {
	for _, c := range []struct {
		downlink, rtt, own string
		want               Stated
	}{
		{"", "", "", Stated{}},
		{"1.7", "50", "", Stated{Rate: 212_500, RTT: 50 * ms}},
		{"10", "0", "", Stated{Rate: 1_250_000}},
		{"10", "25", "80000000", Stated{Rate: 10_000_000, RTT: 25 * ms, Measured: true}},
		{" 2 ", " 25 ", " 8 ", Stated{Rate: 1, RTT: 25 * ms, Measured: true}},
		{"1e9", "1e3", "1e9", Stated{}},
		{"-1", "-1", "-1", Stated{}},
		{"NaN", "Inf", "0x10", Stated{}},
		{"1000000", "10001", "100000000001", Stated{}},
		{"100000", "10000", "7", Stated{Rate: 12_500_000_000, RTT: 10 * time.Second}},
		{"..", "1.5", "1,2", Stated{}},
	} {
		fields := map[string]string{FieldDownlink: c.downlink, FieldRTT: c.rtt, FieldBandwidth: c.own}
		if got := ParseStated(func(n string) string { return fields[n] }); got != c.want {
			t.Errorf("%q %q %q: %+v, want %+v", c.downlink, c.rtt, c.own, got, c.want)
		}
	}
	known := Ticket{Rate: 10e6, RTT: 20 * ms, At: t0}
	old := Ticket{Rate: 10e6, RTT: 20 * ms, At: t0.Add(-time.Minute)}
	p := Path{RTT: 40 * ms, Window: 14600, MSS: 1460}
	for _, c := range []struct {
		name string
		t    Ticket
		s    Stated
		want Ticket
	}{
		{"nothing is said", known, Stated{RTT: ms}, known},
		{"less than is known, by a browser", known, Stated{Rate: 1e6}, known},
		{"less, measured", known, Stated{Rate: 1e6, Measured: true}, Ticket{Rate: 1e6, RTT: 20 * ms, At: t0}},
		{"more, measured", known, Stated{Rate: 1e9, Measured: true}, known},
		{"nothing is known", Ticket{}, Stated{Rate: 2e6, RTT: 30 * ms}, Ticket{Rate: 1e6, RTT: 30 * ms, At: t0}},
		{"nothing is known, and everything is claimed", Ticket{}, Stated{Rate: 1e10, Measured: true}, Ticket{Rate: 2_500_000, RTT: 40 * ms, At: t0}},
		{"what is known is old", old, Stated{Rate: 2e6}, Ticket{Rate: 1e6, RTT: 40 * ms, At: t0}},
		{"old, and nothing is said", old, Stated{}, old},
	} {
		if got := (Limits{}).Hear(c.t, c.s, p, t0); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzStated(f *testing.F) {
	f.Add("1.7", "50", "80000000")
	f.Add("1e99", "NaN", "-1")
	f.Fuzz(func(t *testing.T, downlink, rtt, own string) {
		fields := map[string]string{FieldDownlink: downlink, FieldRTT: rtt, FieldBandwidth: own}
		s := ParseStated(func(n string) string { return fields[n] })
		if s.Rate > mostStated/8 || s.RTT < 0 || s.RTT > mostStatedRTT {
			t.Errorf("%+v", s)
		}
		if k := (Limits{}).Hear(Ticket{}, s, Path{RTT: ms}, t0); k.Rate > 2_500_000 {
			t.Errorf("%+v makes %+v", s, k)
		}
	})
}
