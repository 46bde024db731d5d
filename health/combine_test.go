package health

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// checks makes states from a word: u up, g degraded, d down, ? unknown, each
// changed a second after the one before.
func checks(word string) []State {
	var states []State
	for i, r := range word {
		v := map[rune]policy.Verdict{'u': policy.Up, 'g': policy.Degraded, 'd': policy.Down, '?': policy.Unknown}[r]
		states = append(states, State{
			Spec:    &Spec{ID: policy.CheckID(rune('a' + i)), Weight: 1},
			Verdict: v, Since: day.Add(time.Duration(i) * time.Second), Last: Result{Detail: "refused"},
		})
	}
	return states
}

func TestCombine(t *testing.T) {
	all, any := Rule{Mode: ModeAll, DegradedBelow: 1}, Rule{Mode: ModeAny, DegradedBelow: 1}
	two := Rule{Mode: ModeQuorum, Quorum: 2, DegradedBelow: 1}
	half := Rule{Mode: ModeWeights, DegradedBelow: 0.9, DownBelow: 0.5}
	for _, tc := range []struct {
		rule     Rule
		checks   string
		want     policy.Verdict
		fraction float64
		since    int // index of the check that decided
	}{
		{all, "uuu", policy.Up, 1, 2},
		{all, "udu", policy.Down, 2. / 3, 1},
		{all, "dd?", policy.Down, 0, 0},
		{all, "uu?", policy.Unknown, 2. / 3, 2},
		{all, "ugu", policy.Degraded, 1, 2},
		{Rule{}, "ud", policy.Down, .5, 1},
		{any, "ddd", policy.Down, 0, 2},
		{any, "dud", policy.Degraded, 1. / 3, 1},
		{any, "dd?", policy.Unknown, 0, 2},
		{any, "uuu", policy.Up, 1, 2},
		{Rule{Mode: ModeAny}, "du?", policy.Up, 1. / 3, 1},
		{two, "uud", policy.Degraded, 2. / 3, 2},
		{two, "udd", policy.Down, 1. / 3, 2},
		{two, "ud?", policy.Unknown, 1. / 3, 2},
		{two, "dd?", policy.Down, 0, 1},
		{Rule{Mode: ModeQuorum, Quorum: 9}, "uu", policy.Up, 1, 1},
		{half, "uuuuuuuuuu", policy.Up, 1, 8},
		{half, "uuuuuuuuud", policy.Up, .9, 8},
		{half, "uuuuuuuudd", policy.Degraded, .8, 9},
		{half, "uuuuuddddd", policy.Degraded, .5, 6},
		{half, "uuuudddddd", policy.Down, .4, 9},
		{Rule{Mode: ModeWeights}, "dd", policy.Down, 0, 1},
		{Rule{Mode: ModeWeights}, "ddu", policy.Up, 1. / 3, 2},
	} {
		h := Combine(tc.rule, checks(tc.checks))
		if h.Verdict != tc.want || math.Abs(h.Fraction-tc.fraction) > 1e-9 || h.Empty {
			t.Errorf("%+v %s: %v, fraction %v, empty %v; want %v, %v", tc.rule, tc.checks, h.Verdict, h.Fraction, h.Empty, tc.want, tc.fraction)
		}
		if got := int(h.Since.Sub(day) / time.Second); got != tc.since {
			t.Errorf("%+v %s: decided by check %d, want %d", tc.rule, tc.checks, got, tc.since)
		}
	}
}

func TestCombineKinds(t *testing.T) {
	states := checks("uddd")
	states[1].Spec.Shared = true
	states[2].Spec.Maintenance = true
	states[3].Spec.Maintenance, states[3].Spec.Shared = true, true
	h := Combine(Rule{DegradedBelow: 1}, states)
	if h.Verdict != policy.Up || h.Fraction != 1 || !h.Maintenance || h.Failing != nil ||
		!slices.Equal(h.Shared, []policy.Failure{{Check: "b", Detail: "refused"}}) {
		t.Errorf("%+v", h)
	}
	if h := Combine(Rule{}, states[1:2]); !h.Empty || h.Verdict != policy.Unknown || len(h.Shared) != 1 {
		t.Errorf("only shared: %+v", h)
	}
	if h := Combine(Rule{}, nil); !h.Empty {
		t.Errorf("nothing: %+v", h)
	}
	if h := Combine(Rule{}, checks("d")); !slices.Equal(h.Failing, []policy.Failure{{Check: "a", Detail: "refused"}}) {
		t.Errorf("failing: %+v", h.Failing)
	}
}

func TestCombineWeights(t *testing.T) {
	states := checks("uud")
	for i, w := range []float64{0.1, 0.2, 0.7} {
		states[i].Spec.Weight = w
	}
	if h := Combine(Rule{Mode: ModeWeights, DownBelow: 0.3}, states); h.Verdict != policy.Up {
		t.Errorf("0.1+0.2 is below 0.3: %+v", h)
	}
	for i := range states {
		states[i].Spec.Weight = 0
	}
	if h := Combine(Rule{Mode: ModeWeights, DownBelow: 0.3}, states); math.Abs(h.Fraction-2./3) > 1e-9 {
		t.Errorf("no weights: %+v", h)
	}
}

// oracle judges by trying every completion of the unknown checks.
func oracle(r Rule, states []State) policy.Verdict {
	var verdicts []policy.Verdict
	var unknown []int
	var local []State
	for _, s := range states {
		if !s.Spec.Shared && !s.Spec.Maintenance {
			local = append(local, s)
		}
	}
	for i, s := range local {
		if s.Verdict == policy.Unknown {
			unknown = append(unknown, i)
		}
	}
	if len(local) == 0 {
		return policy.Unknown
	}
	for mask := range 1 << len(unknown) {
		try := slices.Clone(local)
		for j, i := range unknown {
			try[i].Verdict = policy.Down
			if mask>>j&1 == 1 {
				try[i].Verdict = policy.Up
			}
		}
		verdicts = append(verdicts, known(r, try))
	}
	if slices.ContainsFunc(verdicts, func(v policy.Verdict) bool { return v != verdicts[0] }) {
		return policy.Unknown
	}
	return verdicts[0]
}

func known(r Rule, states []State) policy.Verdict {
	up, down, degraded := 0, 0, false
	var weight, total float64
	for _, s := range states {
		total += s.Spec.Weight
		switch s.Verdict {
		case policy.Down:
			down++
			continue
		case policy.Degraded:
			degraded = true
		}
		up++
		weight += s.Spec.Weight
	}
	isDown := false
	switch r.Mode {
	case ModeAll:
		isDown = down > 0
	case ModeAny:
		isDown = up == 0
	case ModeQuorum:
		isDown = up < r.Quorum
	case ModeWeights:
		isDown = weight == 0 || weight < r.DownBelow*total
	}
	if isDown {
		return policy.Down
	}
	if degraded || weight < r.DegradedBelow*total {
		return policy.Degraded
	}
	return policy.Up
}

func TestCombineAgainstOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	seen := map[policy.Verdict]int{}
	for range 30_000 {
		n := 1 + rng.IntN(6)
		word := make([]byte, n)
		for i := range word {
			word[i] = "uuugdd??"[rng.IntN(8)]
		}
		states := checks(string(word))
		local := 0
		for i := range states {
			states[i].Spec.Weight = float64(1 + rng.IntN(4)) // whole numbers: sums are exact
			states[i].Spec.Shared = rng.IntN(8) == 0
			states[i].Spec.Maintenance = rng.IntN(8) == 0
			states[i].Since = day.Add(time.Duration(rng.IntN(5)) * time.Second)
			if !states[i].Spec.Shared && !states[i].Spec.Maintenance {
				local++
			}
		}
		r := Rule{Mode: []Mode{ModeAll, ModeAny, ModeQuorum, ModeWeights}[rng.IntN(4)], DegradedBelow: float64(rng.IntN(9)) / 8, DownBelow: float64(rng.IntN(9)) / 8}
		if r.Mode == ModeQuorum {
			if local == 0 {
				continue
			}
			r.Quorum = 1 + rng.IntN(local)
		}
		h := Combine(r, states)
		if want := oracle(r, states); h.Verdict != want {
			t.Fatalf("%+v %s: %v, want %v", r, word, h.Verdict, want)
		}
		seen[h.Verdict]++
		// Since: with everything newer unknown the verdict stands, and without
		// what changed then it did not.
		if h.Verdict != policy.Unknown && local > 0 {
			if got := oracle(r, asOf(states, h.Since)); got != h.Verdict {
				t.Fatalf("%+v %s: as of Since %v, want %v", r, word, got, h.Verdict)
			}
			if got := oracle(r, asOf(states, h.Since.Add(-1))); got == h.Verdict {
				t.Fatalf("%+v %s: %v before Since", r, word, got)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("verdicts seen: %v", seen)
	}
}

// TestRising: down, but not if what passes were up already.
func TestRising(t *testing.T) {
	for _, tc := range []struct {
		rule   Rule
		checks string
		passed []int
		want   bool
	}{
		{Rule{}, "ud", nil, false},
		{Rule{}, "ud", []int{1}, true},
		{Rule{}, "dd", []int{1}, false},
		{Rule{}, "dd", []int{0, 1}, true},
		{Rule{}, "uu", []int{0, 1}, false}, // not down
		{Rule{Mode: ModeAny}, "dd", []int{1}, true},
		{Rule{Mode: ModeQuorum, Quorum: 2}, "udd", []int{2}, true},
		{Rule{Mode: ModeWeights, DownBelow: 0.9}, "udd", []int{2}, false},
	} {
		states := checks(tc.checks)
		for i := range states {
			states[i].Last.Outcome = Fail
		}
		for _, i := range tc.passed {
			states[i].Last.Outcome = Pass
		}
		if h := Combine(tc.rule, states); h.Rising != tc.want {
			t.Errorf("%+v %s, passed %v: rising %v", tc.rule, tc.checks, tc.passed, h.Rising)
		}
		if states[0].Verdict != checks(tc.checks)[0].Verdict {
			t.Errorf("%s: Combine changed its argument", tc.checks)
		}
	}
}

func asOf(states []State, at time.Time) []State {
	s := slices.Clone(states)
	for i := range s {
		if s[i].Since.After(at) {
			s[i].Verdict = policy.Unknown
		}
	}
	return s
}

func TestRuleValidate(t *testing.T) {
	for _, tc := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, ""},
		{Rule{Mode: ModeQuorum, Quorum: 2}, ""},
		{Rule{Mode: ModeQuorum}, "quorum 0: must be from 1 to the number of checks that count, 2"},
		{Rule{Mode: ModeQuorum, Quorum: 3}, "quorum 3: must be from 1 to the number of checks that count, 2"},
		{Rule{Mode: ModeAny, Quorum: 1}, "quorum 1: only with mode quorum"},
		{Rule{Mode: "most"}, `mode "most": want all, any, quorum or weights`},
		{Rule{DegradedBelow: 2}, "degraded-below 2: must be from 0 to 1"},
		{Rule{DownBelow: math.NaN()}, "down-below NaN: must be from 0 to 1"},
	} {
		got := ""
		if err := tc.rule.Validate(2); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.rule, got, tc.want)
		}
	}
}
