package pop

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/matrix"
)

// percent is the unit where only parts of what this POP carries can be told.
const percent = "percent"

// becomes are the slices that this POP would announce otherwise in the end, as
// routers hear it.
func (s *situation) becomes(p api.Plan) []shift {
	var out []shift
	now := s.announced()
	for _, sl := range p.Slices {
		if sl.Cover {
			continue
		}
		then := sl.After.Stance
		if len(sl.After.HeardBy) == 0 && len(sl.Before.HeardBy) > 0 {
			then = policy.Stance{} // no session is left that carries it
		}
		if then != now[sl.Slice] {
			out = append(out, shift{pop: s.cfg.POP, service: sl.Service, slice: sl.Slice, to: then})
		}
	}
	return out
}

// loads is who would carry how much after shifts; nil where nothing moves.
func (s *situation) loads(shifts []shift) *api.PlanLoads {
	if len(shifts) == 0 && len(s.capacity) == 0 {
		return nil
	}
	f := s.fleetNow()
	t := telling{s: s, f: &f, shifts: shifts, out: &api.PlanLoads{Unit: f.unit.String()}}
	t.tell()
	return t.out
}

// telling is one forecast that is put into words and numbers.
type telling struct {
	s      *situation
	f      *fleetState
	shifts []shift
	out    *api.PlanLoads

	deltas map[policy.POPID]delta
	hidden string // why nothing is said of where load goes
}

func (t *telling) tell() {
	movers := t.movers()
	if t.f.none != "" {
		t.note(t.f.none)
	}
	if t.f.none != "" && len(movers) == 1 && movers[0] == t.s.cfg.POP {
		t.relative()
	}
	for _, id := range movers {
		if c := t.carrier(id); c == nil || !c.known {
			t.hide(fmt.Sprintf("What %s carries is not known: no number can be given of what moves.", id))
		}
	}
	if len(t.shifts) > 0 {
		t.provenance(movers)
		var err error
		if t.deltas, err = t.s.forecast(t.f, t.shifts); err != nil {
			t.hide("Nothing can be said of where the load goes: " + err.Error() + ".")
		}
		t.nobody()
	}
	for i := range t.f.pops {
		t.out.POPs = append(t.out.POPs, t.pop(&t.f.pops[i], slices.Contains(movers, t.f.pops[i].id)))
	}
	t.moved()
	t.quality(movers)
}

func (t *telling) note(text string) {
	if !slices.Contains(t.out.Notes, text) {
		t.out.Notes = append(t.out.Notes, text)
	}
}

// hide keeps numbers back that would say more than is known.
func (t *telling) hide(why string) {
	t.hidden = why
	t.note(why)
}

// movers are the POPs that announce otherwise.
func (t *telling) movers() (out []policy.POPID) {
	for _, sh := range t.shifts {
		if !slices.Contains(out, sh.pop) {
			out = append(out, sh.pop)
		}
	}
	return out
}

func (t *telling) carrier(id policy.POPID) *carrier {
	for i := range t.f.pops {
		if t.f.pops[i].id == id {
			return &t.f.pops[i]
		}
	}
	return nil
}

// relative takes what this POP carries for 100, the same on each slice that it
// announces.
func (t *telling) relative() {
	me := &t.f.pops[0]
	me.slice = map[policy.SliceID]float64{}
	me.split = balance.SplitEqually
	for _, svc := range t.s.view.Input.Services {
		for _, id := range svc.Slices {
			if t.f.stances[me.id][id].Action == policy.Announce {
				me.slice[id] = 0
			}
		}
	}
	for id := range me.slice {
		me.slice[id] = 100 / float64(len(me.slice))
	}
	if me.known = len(me.slice) > 0; me.known {
		me.total, me.capacity, t.out.Unit = 100, 0, percent
	}
	for i := range t.f.pops[1:] {
		p := &t.f.pops[i+1]
		p.known, p.capacity, p.slice = false, 0, nil
	}
}

// provenance says what the numbers are made of, and hides them where they
// would be no more than a guess.
func (t *telling) provenance(movers []policy.POPID) {
	if t.s.matrices == nil {
		return
	}
	type step struct {
		pop   policy.POPID
		svc   policy.ServiceID
		level shed.Level
	}
	seen := map[step]bool{}
	for _, sh := range t.shifts {
		rungs := t.rungs(sh.service)
		level := max(shed.LevelOf(sh.to, rungs), shed.LevelOf(t.f.stances[sh.pop][sh.slice], rungs))
		st := step{sh.pop, sh.service, level}
		if level == 0 || seen[st] {
			continue
		}
		seen[st] = true
		k := t.s.matrices.Known(sh.service, sh.pop, level)
		t.origin(st.pop, k)
		if k.Amount == matrix.BySize {
			name := t.s.matrices.Seeds().Ladders[sh.service].Name(level)
			t.note(fmt.Sprintf("How much leaves %s at rung %s was never seen: the interval holds nearly everything.", sh.pop, name))
		}
	}
}

// origin says where it is known from where a POP's load goes.
func (t *telling) origin(id policy.POPID, k matrix.Knowledge) {
	at := ""
	if !k.At.IsZero() {
		at = " " + ago(t.s.now.Sub(k.At))
	}
	switch k.To {
	case matrix.Observed:
		t.note(fmt.Sprintf("Where the load of %s goes was seen here%s.", id, at))
	case matrix.Measured:
		t.note(fmt.Sprintf("Where the load of %s goes was measured%s (%s).", id, at, t.s.matrices.Seeds().Catchments.Source))
	case matrix.Named:
		t.note(fmt.Sprintf("Where the load of %s goes is what matrix.receivers says; it was never seen.", id))
	default:
		if t.receivers() > 1 {
			t.hide(fmt.Sprintf("Where the load of %s goes is not known: name its receivers or a file of catchments (matrix in the configuration).", id))
		}
	}
}

func ago(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0f days ago", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.0f hours ago", d.Hours())
	}
	return fmt.Sprintf("%.0f minutes ago", d.Minutes())
}

// receivers is how many POPs may get load at all: with one it is no question
// where it goes.
func (t *telling) receivers() (n int) {
	for i := range t.f.pops {
		id := t.f.pops[i].id
		if slices.ContainsFunc(t.shifts, func(sh shift) bool { return sh.pop == id }) {
			continue
		}
		for _, st := range t.f.stances[id] {
			if st.Announced() {
				n++
				break
			}
		}
	}
	return n
}

func (t *telling) rungs(svc policy.ServiceID) int {
	for _, s := range t.s.view.Input.Services {
		if s.ID == svc {
			return s.Rungs
		}
	}
	return 1
}

// nobody says so where no other POP announces what this one lets go of.
func (t *telling) nobody() {
	type at struct {
		pop   policy.POPID
		slice policy.SliceID
	}
	then := make(map[at]policy.Stance, len(t.shifts))
	for _, sh := range t.shifts {
		then[at{sh.pop, sh.slice}] = sh.to
	}
	for _, sh := range t.shifts {
		others := false
		for i := range t.f.pops {
			id := t.f.pops[i].id
			st, ok := then[at{id, sh.slice}]
			if !ok {
				st = t.f.stances[id][sh.slice]
			}
			others = others || id != sh.pop && st.Announced()
		}
		if !others && !sh.to.Announced() {
			t.hide(fmt.Sprintf("No other POP that is heard announces %v: its load has nowhere to go.", sh.slice))
			return // one says it all
		}
	}
}

// pop is what one POP would carry.
func (t *telling) pop(c *carrier, mover bool) api.PlanLoad {
	l := api.PlanLoad{POP: c.id, Capacity: digits(c.capacity / t.s.scale(c.id)), Note: c.why}
	if f, ok := t.s.capacity[c.id]; ok && c.capacity > 0 {
		l.Supposed = digits(l.Capacity * f)
	}
	if c.known {
		before := digits(c.total)
		l.Before, l.At = &before, c.at
	}
	d, moves := t.deltas[c.id]
	if t.hidden != "" || len(t.shifts) > 0 && !moves && t.deltas == nil {
		return l
	}
	if len(t.shifts) > 0 {
		l.Change = rangeOf(d.mean, d.low(), d.high())
	}
	if !c.known {
		return l
	}
	mean := max(0, c.total+d.mean)
	noise := within95 * t.noise(c, mean)
	l.After = rangeOf(mean,
		max(0, mean-math.Hypot(d.mean-d.low(), noise)),
		mean+math.Hypot(d.high()-d.mean, noise))
	if limit := l.Limit(); limit > 0 && l.After.High > limit && c.total <= l.Capacity {
		t.out.Over = append(t.out.Over, c.id)
	}
	return l
}

// noise is the standard deviation of a POP's own load in the minute after the
// change has settled: of the sample, of what changes meanwhile, and of the
// clients that change their POP whenever routes are computed anew, though
// nothing was done about them.
func (t *telling) noise(c *carrier, mean float64) float64 {
	if t.out.Unit == percent {
		return 0
	}
	cfg := shed.Defaults()
	age := max(0, t.s.now.Sub(c.at)) + cfg.Settle
	return math.Hypot(t.drift(c), mean*math.Hypot(cfg.Noise, cfg.Growth*math.Sqrt(age.Minutes())))
}

// drift is the standard deviation of what a POP carries of the slices that
// change, between two times at which they are announced in the same way
// (shed.Model.Drift, as it was measured).
func (t *telling) drift(c *carrier) float64 {
	seen := map[policy.SliceID]bool{}
	own, all := 0.0, 0.0
	for _, sh := range t.shifts { // of what it does not announce any more it carries nothing
		seen[sh.slice] = seen[sh.slice] || sh.pop == c.id && !sh.to.Announced()
	}
	for _, sh := range t.shifts {
		if seen[sh.slice] {
			continue
		}
		seen[sh.slice] = true
		own += c.slice[sh.slice]
		for i := range t.f.pops {
			all += t.f.pops[i].slice[sh.slice]
		}
	}
	return shed.DefaultModel().Drift * math.Sqrt(own*all)
}

func rangeOf(mean, low, high float64) *api.PlanRange {
	return &api.PlanRange{Mean: digits(mean), Low: digits(low), High: digits(high)}
}

// moved adds up what changes its POP.
func (t *telling) moved() {
	if t.hidden != "" || len(t.shifts) == 0 {
		return
	}
	var gain, loss delta
	for _, d := range t.deltas {
		if d.mean > 0 {
			gain = delta{gain.mean + d.mean, gain.variance + d.variance}
		} else {
			loss = delta{loss.mean - d.mean, loss.variance + d.variance}
		}
	}
	if loss.mean > 0 && loss.variance < gain.variance { // what leaves one is what many get
		gain.variance = loss.variance
	}
	t.out.Moved = rangeOf(gain.mean, gain.low(), gain.high())
}

// quality says what the loads themselves are made of.
func (t *telling) quality(movers []policy.POPID) {
	if t.hidden != "" {
		return
	}
	var equal, unknown []string
	for i := range t.f.pops {
		c := &t.f.pops[i]
		if c.known && c.split == balance.SplitEqually && slices.Contains(movers, c.id) && len(c.slice) > 1 {
			equal = append(equal, string(c.id))
		}
		if c.known && c.capacity == 0 && t.out.Unit != percent {
			unknown = append(unknown, string(c.id))
		}
	}
	if len(equal) > 0 {
		t.note("Slices are not measured one by one: each is taken to carry the same part of the load (" + strings.Join(equal, ", ") + ").")
	}
	if len(unknown) > 0 {
		t.note("What " + strings.Join(unknown, ", ") + " can carry is not told (load.capacity): whether it is too much cannot be judged.")
	}
	if t.out.Unit != percent && t.deltas != nil {
		t.note("Loads are those of now: at another hour of the day they are others.")
	}
}
