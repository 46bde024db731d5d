package balance

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
)

// lending is how POPs of the world lend, where they do: a half of what they
// carry follows DNS, and they think that it is more.
func (w *world) lending(me policy.POPID) (l shed.Lending) {
	if !w.lend {
		return l
	}
	l = shed.Lending{Most: 0.4, Step: 0.1, Part: 0.7, Settle: 2 * time.Minute}
	for _, p := range w.pops {
		if p.id != me {
			l.To = append(l.To, p.id)
		}
	}
	return l
}

// resolve lets clients follow the answers of DNS for a time, which go by what
// stands in the core. Each share that has grown has room reserved.
func (w *world) resolve(passed time.Duration) {
	if !w.lend {
		return
	}
	held, rev, err := w.core.Reservations(w.t.Context())
	var loans []shed.Loan
	if err == nil {
		loans, err = loansOf(w.t.Context(), w.core, rev)
	}
	w.lock()
	defer w.unlock()
	if err == nil { // else DNS goes on with what it knows
		for _, x := range loans {
			w.grown(x, held)
		}
		w.loans = loans
	}
	if w.lent == nil {
		w.lent = map[[2]int]float64{}
	}
	for i, p := range w.pops {
		for j, q := range w.pops {
			to := 0.0
			for _, x := range w.loans {
				if x.From == p.id && x.To == q.id {
					to = 0.5 * x.Share
				}
			}
			at := [2]int{i, j}
			w.lent[at] += (to - w.lent[at]) * (1 - math.Exp(-passed.Seconds()/40))
		}
	}
}

// grown checks the reservation of a loan that is larger than it was.
func (w *world) grown(x shed.Loan, held []core.Held) {
	was := 0.0
	for _, o := range w.loans {
		if o.From == x.From && o.To == x.To {
			was = o.Share
		}
	}
	if x.Share <= was {
		return
	}
	i := slices.IndexFunc(w.pops, func(p *site) bool { return p.id == x.From })
	want := 0.5 * (x.Share - was) * sum(w.load(time.Now())[i]) // the demand may have changed since
	if !slices.ContainsFunc(held, func(h core.Held) bool {
		return h.From == string(x.From) && h.To == string(x.To) && h.Slice == "dns" && float64(h.Amount.Requests) >= want
	}) {
		w.t.Errorf("%+v was %v, and has no room for %v reserved: %+v", x, was, want, held)
	}
}

// TestDNSLendsFirst: a little too much is moved by DNS alone, with room reserved
// before, in steps; it comes back when there is room again, and not before the
// turn; above its capacity a POP does not wait for DNS.
func TestDNSLendsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 97, 40, 40)
		w.lend = true
		defer w.end()
		w.begin()
		p := w.pops[0]
		w.run(15 * time.Minute)
		if l := w.total(0); l > 95 || l < 70 {
			t.Errorf("P0 carries %v", l)
		}
		if n := p.changed(); n > 0 {
			t.Errorf("%d changes of route, though DNS was enough: %s", n, strings.Join(p.words(), "\n"))
		}
		for _, q := range w.pops {
			r := q.loop.Report()
			if len(r.Loans) != 1 || r.Loans[0].From != "P0" || r.Loans[0].To != "P1" || r.Loans[0].Share > 0.4 {
				t.Errorf("%s knows of %+v", q.id, r.Loans)
			}
		}
		words := strings.Join(p.words(), "\n")
		if !strings.Contains(words, "load: DNS send 10.0 % of new clients to P1 (was 0.0 %): 0.97 of capacity, up to 0.10 of it reserved at P1") {
			t.Error(words)
		}
		if _, held := w.inCore(); len(held) > 0 {
			t.Errorf("reserved after all has moved: %+v", held)
		}

		// A restart and the loss of the core change nothing.
		p.stop()
		w.core.Fail(errCut)
		p.start()
		w.run(5 * time.Minute)
		w.core.Fail(nil)
		w.run(time.Minute)
		if len(w.loans) != 1 {
			t.Errorf("%+v", w.loans)
		}
		w.set(func() { p.demand = 40 })
		w.run(30 * time.Minute)
		if len(w.loans) != 0 || !strings.Contains(strings.Join(p.words(), "\n"), "of new clients to P1 (was") || p.changed() > 0 {
			t.Errorf("%+v: %s", w.loans, strings.Join(p.words(), "\n"))
		}

		w.set(func() { p.demand = 130 })
		w.run(4 * time.Minute)
		if p.below() == 0 {
			t.Errorf("above its capacity it waits for DNS: %s", strings.Join(p.words(), "\n"))
		}
		w.set(func() { p.demand = 40 })
		w.run(time.Hour)
		if len(w.loans) != 0 || p.below() > 0 {
			t.Errorf("%+v: %s", w.loans, strings.Join(p.words(), "\n"))
		}
	})
}

// TestDNSLendsInAct: a loop that only observes lends nothing, says what it would
// do, and takes back what it lent when it acted.
func TestDNSLendsInAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 97, 40, 40)
		w.lend = true
		for _, p := range w.pops {
			p.mode = Observe
		}
		defer w.end()
		w.begin()
		p := w.pops[0]
		w.run(5 * time.Minute)
		if r := p.loop.Report(); len(w.loans) > 0 || !slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, "would make DNS send 10.0 % of new clients to P1") }) {
			t.Errorf("%+v %+v", w.loans, r.Notes)
		}
		c := p.loop.opt.Config
		c.Mode = Act
		if err := p.loop.Set(c, p.loop.opt.Targets); err != nil {
			t.Fatal(err)
		}
		w.run(5 * time.Minute)
		if len(w.loans) == 0 {
			t.Error("it acts, and lends nothing")
		}
		for _, mode := range []Mode{Off} {
			c.Mode = mode
			if err := p.loop.Set(c, p.loop.opt.Targets); err != nil {
				t.Fatal(err)
			}
			w.run(2 * time.Minute)
			if len(w.loans) != 0 {
				t.Errorf("%s: %+v", mode, w.loans)
			}
		}
	})
}
