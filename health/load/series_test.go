package load

import (
	"math"
	"strings"
	"testing"
	"time"
)

// reading is one sample of a counter; rate is what the average must show right
// after it (-1: nothing is known), err what must be complained of.
type reading struct {
	at, total float64
	epoch     uint64
	rate      float64
	err       string
}

func TestCounter(t *testing.T) {
	const unknown = -1
	wrap := math.Ldexp(1, 32) * 8
	for _, c := range []struct {
		name        string
		limit, wrap float64
		readings    []reading
	}{
		{"grows", 0, 0, []reading{{0, 500, 0, unknown, ""}, {1, 600, 0, 100, ""}, {3, 900, 0, 150, ""}, {4, 900, 0, 0, ""}}},
		{"too dense to tell", 0, 0, []reading{{0, 0, 0, unknown, ""}, {0.1, 1000, 0, unknown, ""}, {1, 1000, 0, 1000, ""}}},
		{"began anew", 0, 0, []reading{
			{0, 5000, 0, unknown, ""}, {1, 5100, 0, 100, ""}, {2, 30, 0, 100, ""}, {3, 230, 0, 200, ""}, {4, 530, 0, 300, ""},
		}},
		{"said zero once", 0, 0, []reading{
			{0, 5000, 0, unknown, ""}, {1, 5100, 0, 100, ""}, {2, 0, 0, 100, ""}, {3, 5700, 0, 300, ""}, {4, 5800, 0, 100, ""},
		}},
		{"another device", 0, 0, []reading{
			{0, 5000, 1, unknown, ""}, {1, 5100, 1, 100, ""}, {2, 9000, 2, 100, ""}, {3, 9010, 2, 10, ""},
		}},
		{"ran over at 32 bits", 1e10, wrap, []reading{
			{0, wrap - 2e9, 0, unknown, ""}, {1, wrap - 1e9, 0, 1e9, ""}, {2, 3e9, 0, 4e9, ""}, {3, 4e9, 0, 1e9, ""},
		}},
		{"began anew near the end", 1e10, wrap, []reading{ // 2 Gbit/s would be possible, 20 are not
			{0, wrap - 21e9, 0, unknown, ""}, {1, wrap - 20e9, 0, 1e9, ""}, {2, 1e9, 0, 1e9, ""}, {3, 3e9, 0, 2e9, ""},
		}},
		{"began anew in the last quarter", 1e9, wrap, []reading{ // 9.4 Gbit/s are not possible
			{0, wrap - 5.5e9, 0, unknown, ""}, {1, wrap - 5e9, 0, 5e8, ""}, {2, 4.4e9, 0, 5e8, ""}, {3, 5e9, 0, 6e8, ""},
		}},
		{"began anew in the middle of a fast link", 1e11, wrap, []reading{
			{0, wrap/2 - 1e9, 0, unknown, ""}, {1, wrap / 2, 0, 1e9, ""}, {2, 1e9, 0, 1e9, ""}, {3, 3e9, 0, 2e9, ""},
		}},
		{"began anew in the middle", 1e10, wrap, []reading{
			{0, wrap/2 - 1e9, 0, unknown, ""}, {1, wrap / 2, 0, 1e9, ""}, {2, 0, 0, 1e9, ""}, {3, 2e9, 0, 2e9, ""},
		}},
		{"no capacity known: no guess", 0, wrap, []reading{
			{0, wrap - 2e9, 0, unknown, ""}, {1, wrap - 1e9, 0, 1e9, ""}, {2, 3e9, 0, 1e9, ""}, {3, 4e9, 0, 1e9, ""},
		}},
		{"beyond 64 bits of bytes is exact enough", 0, 0, []reading{
			{0, math.Ldexp(1, 63), 0, unknown, ""}, {1, math.Ldexp(1, 63) + 1e9, 0, 1e9, ""},
		}},
		{"a gap", 0, 0, []reading{{0, 0, 0, unknown, ""}, {1, 100, 0, 100, ""}, {60, 6000, 0, unknown, ""}, {61, 6007, 0, 7, ""}}},
		{"lies", 0, 0, []reading{
			{0, 0, 0, unknown, ""}, {1, 100, 0, 100, ""}, {2, math.NaN(), 0, 100, "no total"}, {3, 300, 0, 100, ""},
			{4, -5, 0, 100, "no total"}, {5, 500, 0, 100, ""}, {6, math.Inf(1), 0, 100, "no total"}, {7, 700, 0, 100, ""},
			{8, 1e17, 0, 100, "beyond reason"}, {9, 900, 0, 100, ""}, {10, 1050, 0, 150, ""},
		}},
		{"more than the link can", 1e9, 0, []reading{
			{0, 0, 0, unknown, ""}, {1, 1e9, 0, 1e9, ""}, {2, 6e9, 0, 1e9, "more than 4 times"}, {3, 6.7e9, 0, 7e8, ""}, {4, 7.2e9, 0, 5e8, ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := series{stale: 15 * time.Second, gap: 250 * time.Millisecond} // no smoothing
			for _, r := range c.readings {
				err := s.add(Point{Unit: Out, Kind: Counter, Value: r.total, Epoch: r.epoch, Limit: c.limit, Most: c.limit, Wrap: c.wrap}, at(r.at))
				if (err != nil) != (r.err != "") || err != nil && !strings.Contains(err.Error(), r.err) {
					t.Errorf("at %v: %v, want %q", r.at, err, r.err)
				}
				v := s.value(at(r.at))
				if v.Known != (r.rate >= 0) {
					t.Fatalf("at %v: %+v", r.at, v)
				}
				if v.Known {
					near(t, "rate", v.Value, r.rate)
				}
			}
		})
	}
}

// TestAboveWhatIsPaidFor: a link carries more than its capacity is said to be;
// what its driver says it can is another matter.
func TestAboveWhatIsPaidFor(t *testing.T) {
	for most, known := range map[float64]bool{0: true, 1e10: true, 1e9: false} {
		s := series{stale: 15 * time.Second}
		for i := range 2 {
			_ = s.add(Point{Unit: In, Kind: Counter, Value: 8e9 * float64(i), Limit: 1e9, Most: most}, at(float64(i)))
		}
		if v := s.value(at(1)); v.Known != known || known && v.Value != 8e9 {
			t.Errorf("8 Gbit/s on a link of %g, paid for 1: %+v", most, v)
		}
	}
}

func TestGauge(t *testing.T) {
	s := series{stale: 15 * time.Second}
	for _, x := range []float64{-1, math.NaN(), math.Inf(1), math.Inf(-1), 1e13} {
		if s.add(Point{Unit: Connections, Value: x}, at(0)) == nil || s.value(at(0)).Known {
			t.Errorf("%v is believed", x)
		}
	}
	if err := s.add(Point{Unit: Connections, Value: 7}, at(1)); err != nil || s.value(at(1)) != (Value{7, true, at(1)}) {
		t.Errorf("%+v, %v", s.value(at(1)), err)
	}
	if s.add(Point{Unit: Connections, Value: -1}, at(5)) == nil || s.value(at(5)) != (Value{7, true, at(1)}) {
		t.Errorf("a lie must not age or change what is known: %+v", s.value(at(5)))
	}
	if v := s.value(at(17)); v.Known || v.Value != 0 || !v.At.Equal(at(1)) {
		t.Errorf("too old: %+v", v)
	}
	if err := s.add(Point{Unit: CPU, Value: 1.05}, at(18)); err != nil || s.value(at(18)).Value != 1 {
		t.Errorf("a share of 1.05 is 1 by clocks that differ: %+v", s.value(at(18)))
	}
}

// What is long ago does not hold back what is now.
func TestAfterGapBeginsAnew(t *testing.T) {
	s := series{stale: 15 * time.Second, avg: Average{Constant: time.Hour}}
	for i := range 10 {
		s.add(Point{Unit: Connections, Value: 1000}, at(float64(i)))
	}
	s.add(Point{Unit: Connections, Value: 3}, at(100))
	if v := s.value(at(100)); v.Value != 3 || s.avg.Constant != time.Hour {
		t.Errorf("%+v", v)
	}
}
