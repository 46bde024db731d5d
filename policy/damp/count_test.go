package damp

import (
	"math/rand/v2"
	"testing"

	"github.com/catchment/catchment/policy"
)

// script: p pass, w warn, f fail, F conclusive fail, ? cannot tell.
// want: verdict after each step: u unknown, U up, G degraded, D down; a "!"
// behind it means in doubt.
func TestCount(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		rise, fall   int
		want         string
	}{
		{"first pass, rise 1", "p", 1, 3, "U"},
		{"first passes, rise 2", "ppp", 2, 3, "u! U U"},
		{"first fails", "fff", 2, 3, "u! u! D"},
		{"one fail among passes", "pppfpp", 2, 3, "u! U U U! U U"},
		{"fall broken by a pass", "ppffpff", 2, 3, "u! U U! U! U U! U!"},
		{"down and up again", "ppfffpfpp", 2, 3, "u! U U! U! D D! D D! U"},
		{"conclusive", "ppFp", 2, 3, "u! U D D!"},
		{"conclusive first", "F", 2, 3, "D"},
		{"conclusive counts as the whole row", "ppFfpp", 2, 3, "u! U D D D! U"},
		{"cannot tell keeps the verdict, then unknown", "pp???p?p", 2, 3, "u! U U! U! u u! u! U"},
		{"cannot tell does not break a row of fails", "ppf?f?f", 2, 3, "u! U U! U! U! U! D"},
		{"cannot tell from the start", "????", 2, 3, "u! u! u u"},
		{"unknown is shown again", "pp???pp", 2, 3, "u! U U! U! u u! U"},
		{"warn", "ppwwpp", 2, 3, "u! U U! G G! U"},
		{"one warn", "ppwp", 2, 3, "u! U U! U"},
		{"warn from the start", "ww", 2, 3, "u! G"},
		{"mixed from down", "fwpwp", 2, 1, "D D! G! G G!"},
		{"mixed, then well", "fwppp", 2, 1, "D D! G! U U"},
		{"degraded fails", "wwff", 2, 2, "u! G G! D"},
		{"zero value judges by one", "pf?", 0, 0, "U D u"},
		{"an outcome that does not exist cannot tell", "px", 1, 2, "U U!"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Count{Rise: tc.rise, Fall: tc.fall}
			got := ""
			for i, r := range tc.script {
				before := c.Verdict()
				o, conclusive := outcome(r)
				v, changed, doubt := c.Step(o, conclusive)
				if changed != (v != before) || v != c.Verdict() || doubt != c.InDoubt() {
					t.Errorf("step %d: changed %v, verdict %v then %v, doubt %v", i, changed, before, v, doubt)
				}
				if i > 0 {
					got += " "
				}
				got += string("uUGD"[v])
				if doubt {
					got += "!"
				}
			}
			if got != tc.want {
				t.Errorf("%s, rise %d fall %d:\n got %s\nwant %s", tc.script, tc.rise, tc.fall, got, tc.want)
			}
		})
	}
}

func outcome(r rune) (Outcome, bool) {
	switch r {
	case 'p':
		return Pass, false
	case 'w':
		return Warn, false
	case 'f':
		return Fail, false
	case 'F':
		return Fail, true
	case 'x':
		return Fail + 1, false
	}
	return CannotTell, true // conclusive means nothing here
}

// Whatever came before: fall fails end down, rise passes end up, fall silent
// runs end unknown, and none of them is left in doubt.
func TestCountAlwaysConverges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		c := Count{Rise: 1 + rng.IntN(4), Fall: 1 + rng.IntN(4)}
		for range rng.IntN(12) {
			c.Step(Outcome(rng.IntN(4)), rng.IntN(4) == 0)
		}
		for _, end := range []struct {
			o    Outcome
			n    int
			want policy.Verdict
		}{{Pass, c.Rise, policy.Up}, {Fail, c.Fall, policy.Down}, {Warn, c.Rise, policy.Degraded}, {CannotTell, c.Fall, policy.Unknown}} {
			d := c
			for range end.n {
				d.Step(end.o, false)
			}
			if d.Verdict() != end.want || d.InDoubt() {
				t.Fatalf("%+v after %d of %d: %v, in doubt %v", c, end.n, end.o, d.Verdict(), d.InDoubt())
			}
		}
	}
}

// The verdict never becomes down on fewer than fall fails since the last pass
// unless one was conclusive, and never up on a fail.
func TestCountNeverTooSoon(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2_000 {
		c := Count{Rise: 1 + rng.IntN(3), Fall: 1 + rng.IntN(3)}
		fails, goods := 0, 0
		for range 60 {
			o, conclusive := Outcome(rng.IntN(4)), rng.IntN(10) == 0
			switch o {
			case Fail:
				fails, goods = fails+1, 0
			case Pass, Warn:
				fails, goods = 0, goods+1
			}
			v, changed, _ := c.Step(o, conclusive)
			switch {
			case !changed:
			case v == policy.Down && !(o == Fail && (conclusive || fails >= c.Fall)):
				t.Fatalf("%+v: down on %d of %d fails", c, fails, c.Fall)
			case (v == policy.Up || v == policy.Degraded) && goods < c.Rise:
				t.Fatalf("%+v: %v on %d of %d passes", c, v, goods, c.Rise)
			}
		}
	}
}
