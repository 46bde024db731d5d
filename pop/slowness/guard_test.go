package slowness

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// TestGuard: what is stale, absent, or too much to be true moves nobody.
func TestGuard(t *testing.T) {
	g := Guard{Stale: time.Hour, Most: 0.5}
	networks := func(slow, fast int) *Store {
		s := New(Options{})
		for i := range slow {
			feed(s, fmt.Sprintf("10.%d.0.1", i), PathSlow, 10, start)
		}
		for i := range fast {
			feed(s, fmt.Sprintf("11.%d.0.1", i), Fast, 10, start)
		}
		return s
	}
	for _, c := range []struct {
		what  string
		r     *Report
		moved int
		stale int
		held  string
	}{
		{"nothing yet", nil, 0, 0, "nothing has been judged yet"},
		{"nothing", networks(0, 0).Report(start), 0, 0, ""},
		{"some", networks(9, 30).Report(start), 9, 0, ""},
		{"all, of few", networks(19, 0).Report(start), 19, 0, ""},
		{"all, of many", networks(20, 0).Report(start), 0, 0, "20 of 20 networks, with 100 % of the transfers, are slow"},
		{"half", networks(15, 15).Report(start), 15, 0, ""},
		{"more than half", networks(16, 15).Report(start), 0, 0, "slowness.most"},
		{"not seen for long", networks(9, 30).Report(start.Add(2 * time.Hour)), 0, 9, ""},
	} {
		m := g.Judge(c.r)
		if len(m.Networks) != c.moved || m.Stale != c.stale || (c.held == "") != (m.Held == "") || !strings.Contains(m.Held, c.held) {
			t.Errorf("%s: %d moved, %d stale, held %q", c.what, len(m.Networks), m.Stale, m.Held)
		}
		n, err := m.Nets()
		if err != nil || (len(n.Locations()) > 0) != (c.moved > 0) {
			t.Errorf("%s: %v, %v", c.what, n.Locations(), err)
		}
	}
}

// TestBookIsBounded: what others tell takes no more room than the own store
// may, and what says most stays. One network is looked up in all of it.
func TestBookIsBounded(t *testing.T) {
	b := NewBook(New(Options{Max: 100}))
	feed(b.own, "192.0.2.1", PathSlow, 4, start)
	for p := range 5 {
		s := New(Options{})
		feed(s, "192.0.2.1", PathSlow, 4, start)
		for i := range 200 {
			feed(s, fmt.Sprintf("10.%d.%d.1", p, i), Fast, 2, start)
		}
		if err := b.Hear(policy.POPID(fmt.Sprint("P", p)), s.Snapshot(start, 0), start); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for i, h := range b.Heard() {
		if total += h.Networks; h.POP != policy.POPID(fmt.Sprint("P", i)) || h.At != start {
			t.Errorf("%+v", h)
		}
	}
	if most := 100 + 50 + 33 + 25 + 20; total != most {
		t.Errorf("%d networks of others, want %d", total, most)
	}
	n, ok := b.Look(addr("192.0.2.200"), start)
	if !ok || n.Samples != 24 || !n.Slow || n.Why() != "24 of 24 transfers were limited by the path" {
		t.Errorf("%+v %v: %s", n, ok, n.Why())
	}
	if n, ok := b.Look(addr("198.51.100.1"), start); ok {
		t.Errorf("of nothing: %+v", n)
	}
}

// TestSetLimits: from then on.
func TestSetLimits(t *testing.T) {
	s := New(Options{})
	feed(s, "192.0.2.1", PathSlow, 1, start)
	s.SetLimits(Limits{Slow: 1000}, 2)
	feed(s, "192.0.2.1", PathSlow, 1, start)
	if st := s.Stats(); st.Samples[PathSlow] != 1 || st.Samples[Fast] != 1 || len(s.Report(start).Networks) != 1 {
		t.Errorf("%+v", st)
	}
}
