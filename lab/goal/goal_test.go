package goal

import (
	"math"
	"testing"
)

func TestString(t *testing.T) {
	for g, want := range map[Goal]string{
		AtLeast("x", 150, 150):    "goal x 150 150 met",
		AtLeast("x", 149, 150):    "goal x 149 150 missed",
		AtMost("x", 0.9, 0.85):    "goal x 0.9 0.85 missed",
		AtMost("x", 0.8, 0.85):    "goal x 0.8 0.85 met",
		AtMost("x", 1.10012, 1.1): "goal x 1.1 1.1 missed",
	} {
		if got := g.String(); got != want {
			t.Errorf("%+v: %q, want %q", g, got, want)
		}
	}
	for _, g := range []Goal{AtMost("x", math.NaN(), 1), AtLeast("x", math.NaN(), 1)} {
		if got := g.String(); got != "goal x - 1 not-measured" || g.Met() {
			t.Errorf("%+v: %q, met %v", g, got, g.Met())
		}
	}
}
