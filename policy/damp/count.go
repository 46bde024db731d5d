package damp

import "github.com/catchment/catchment/policy"

// Outcome is what one run of a check said. Package health uses the same type.
type Outcome uint8

// Outcomes. CannotTell is the zero value: a check that did not say anything.
const (
	CannotTell Outcome = iota // could not run, panicked, hung: neither a pass nor a fail
	Pass
	Warn // works, but not fully: counts as passed, verdict degraded
	Fail
)

// Count turns the outcomes of a check into a verdict: Rise passes in a row
// make it up, Fall fails in a row make it down, one conclusive fail makes it
// down at once, and Fall outcomes in a row that say nothing make it unknown.
// It is a plain value that can be copied and compared; its zero value is
// unknown and judges by one outcome.
type Count struct {
	Rise int // passes in a row until up; less than 1 is taken as 1
	Fall int // fails in a row until down; less than 1 is taken as 1

	verdict policy.Verdict
	passes  int // Pass in a row
	warns   int // Warn in a row
	goods   int // Pass or Warn in a row
	fails   int // Fail in a row
	silent  int // CannotTell in a row
}

// Verdict returns the verdict as the last Step left it.
func (c Count) Verdict() policy.Verdict { return c.verdict }

// Step counts one outcome. It returns the verdict, whether this outcome
// changed it, and whether the check is in doubt now: the newest outcomes
// speak against the verdict but are too few to change it. A conclusive fail
// needs no company; conclusive means nothing with the other outcomes.
//
// An outcome that cannot tell leaves the rows of passes and fails as they are:
// it is no evidence, not even against a row.
func (c *Count) Step(o Outcome, conclusive bool) (v policy.Verdict, changed, inDoubt bool) {
	c.tally(o)
	was := c.verdict
	c.verdict = c.conclude(o, conclusive)
	return c.verdict, c.verdict != was, c.InDoubt()
}

func (c *Count) tally(o Outcome) {
	if o == CannotTell || o > Fail {
		c.silent++
		return
	}
	c.silent = 0
	if o == Fail {
		c.passes, c.warns, c.goods = 0, 0, 0
		c.fails++
		return
	}
	c.fails = 0
	c.goods++
	if o == Pass {
		c.passes++
		c.warns = 0
	} else {
		c.warns++
		c.passes = 0
	}
}

func (c *Count) conclude(o Outcome, conclusive bool) policy.Verdict {
	rise, fall := max(c.Rise, 1), max(c.Fall, 1)
	switch {
	case c.silent >= fall:
		// What is believed again must be shown again.
		c.passes, c.warns, c.goods, c.fails = 0, 0, 0, 0
		return policy.Unknown
	case c.silent > 0:
		return c.verdict
	case o == Fail && (conclusive || c.fails >= fall):
		c.fails = max(c.fails, fall)
		return policy.Down
	case c.passes >= rise:
		return policy.Up
	case c.warns >= rise:
		return policy.Degraded
	case c.goods >= rise && (c.verdict == policy.Down || c.verdict == policy.Unknown):
		return policy.Degraded // passes and warnings in turn: it works, not fully
	}
	return c.verdict
}

// InDoubt reports whether the newest outcomes speak against the verdict, or
// there is no verdict yet. A check that has been unable to tell for Fall runs
// is not in doubt: asking faster would not help.
func (c Count) InDoubt() bool {
	switch {
	case c.silent > 0:
		return c.silent < max(c.Fall, 1)
	case c.verdict == policy.Up:
		return c.passes == 0
	case c.verdict == policy.Degraded:
		return c.fails > 0 || c.passes > 0
	case c.verdict == policy.Down:
		return c.fails == 0
	}
	return true
}
