package amount

import "testing"

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		unit        string
		x           float64
		short, long string
	}{
		{"out", 0, "0", "0 bit/s"},
		{"out", 4.2e9, "4.2G", "4.2 Gbit/s"},
		{"in", 999.6, "1k", "1 kbit/s"},
		{"in", 1234567, "1.23M", "1.23 Mbit/s"},
		{"out", 4.2e15, "4200T", "4200 Tbit/s"},
		{"out", 0.00001, "0", "0 bit/s"},
		{"requests", 12345, "12.3k", "12.3k/s"},
		{"requests", 0.25, "0.25", "0.25/s"},
		{"connections", 12.4, "12", "12"},
		{"connections", 1234, "1234", "1.23 k"},
		{"connections", 12400, "12.4k", "12.4 k"},
		{"out", 999.7, "1k", "1 kbit/s"},
		{"in", 999, "999", "999 bit/s"},
		{"connections", 4.01, "4", "4"},
		{"pressure-io", 0.0001, "0%", "0.01 %"},
		{"cpu", 0.374, "37%", "37.4 %"},
		{"pressure", 1.5, "150%", "150 %"},
	} {
		if got := Short(c.unit, c.x); got != c.short {
			t.Errorf("Short(%s, %v) = %q, want %q", c.unit, c.x, got, c.short)
		}
		if got := Of(c.unit, c.x); got != c.long {
			t.Errorf("Of(%s, %v) = %q, want %q", c.unit, c.x, got, c.long)
		}
	}
}
