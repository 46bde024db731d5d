package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// rollout is how far a change of the configuration has come: the object
// rollout/config. It alone says which POP takes which configuration, so
// nothing is lost with the member that moved it on.
type rollout struct {
	From   int64         `json:"from"` // number of the configuration before
	To     int64         `json:"to"`
	Stages [][]string    `json:"stages"` // POPs; those of none come last
	Stage  int           `json:"stage"`  // that it has come to; len(Stages): all
	Wait   time.Duration `json:"wait"`   // how long a stage has to be well
	State  string        `json:"state"`
	Why    string        `json:"because,omitempty"` // of State
	By     core.Write    `json:"by"`
}

// States of a rollout.
const (
	going      = "going"
	done       = "done"
	rolledBack = "rolled-back"
)

var rolloutKey = core.Key{Kind: core.KindRollout, Name: "config"}

// reached reports whether the rollout has come to a POP.
func (r rollout) reached(pop string) bool {
	if r.Stage >= len(r.Stages) {
		return true
	}
	for _, s := range r.Stages[:r.Stage+1] {
		if slices.Contains(s, pop) {
			return true
		}
	}
	return false
}

// before reports whether a POP has the configuration of before, while number
// is the newest.
func (r rollout) before(pop string, number int64) bool {
	if number <= r.From || number > r.To {
		return false
	}
	return r.State == rolledBack || r.State == going && !r.reached(pop)
}

// look says whether what a rollout has come to is well with it: bad is why it
// goes back, waits what it waits for.
func (r rollout) look(reports []api.CoreApplied) (bad, waits string) {
	seen := map[string]bool{}
	for _, p := range reports {
		if seen[p.POP] = true; !r.reached(p.POP) {
			continue
		}
		switch {
		case p.Newest >= r.To && p.Refused != "" && !p.Restart:
			return fmt.Sprintf("%s refuses it: %s", p.POP, p.Refused), ""
		case p.Number >= r.To && len(p.Worse) > 0:
			return fmt.Sprintf("%s is worse with it: %s", p.POP, strings.Join(p.Worse, "; ")), ""
		case p.Restart:
			waits = p.POP + ", which needs a restart for it"
		case p.Number < r.To && r.Stage < len(r.Stages):
			waits = p.POP + ", which does not have it yet"
		}
	}
	for _, s := range r.Stages[:min(r.Stage+1, len(r.Stages))] {
		for _, pop := range s {
			if !seen[pop] {
				waits = pop + ", which has said nothing"
			}
		}
	}
	return "", waits
}

// rolloutNow reads the rollout; nil: there is none.
func (h *Host) rolloutNow(ctx context.Context, reads ...core.Read) (*core.Item[rollout], error) {
	it, err := core.NewTable[rollout](h.core, core.KindRollout, nil).Get(ctx, rolloutKey.Name, reads...)
	if errors.Is(err, core.NotFound) {
		return nil, nil
	}
	return &it, err
}

// move writes a rollout on the condition that nobody else has moved it.
func (h *Host) move(ctx context.Context, w core.Write, it *core.Item[rollout], next rollout) error {
	_, err := core.NewTable[rollout](h.core, core.KindRollout, nil).Put(ctx, w, rolloutKey.Name, next, core.If(it.Revision))
	return err
}

// lookEvery is how often a rollout is looked at.
const lookEvery = time.Second

// runRollouts moves rollouts on, until ctx ends. Every member does it: which
// of them is first makes no difference.
func (h *Host) runRollouts(ctx context.Context) {
	var revision int64 // of the rollout that was looked at
	var since time.Time
	trouble := false // said once, not each second
	for lapse.Of(ctx, lookEvery) {
		it, err := h.rolloutNow(ctx, core.Stale())
		if err != nil || it == nil || it.V.State == done {
			continue
		}
		if it.Revision != revision {
			revision, since = it.Revision, time.Time{}
		}
		err = h.moveOn(ctx, it, &since)
		stuck := err != nil && !errors.Is(err, core.Conflict)
		if stuck && !trouble && ctx.Err() == nil {
			h.log.Warn("a rollout of the configuration is not moved on, it is tried again", "err", err)
		}
		trouble = stuck
	}
}

// moveOn looks at a rollout and does the next step. since is when all was well
// at this stage first.
func (h *Host) moveOn(ctx context.Context, it *core.Item[rollout], since *time.Time) error {
	r := it.V
	configs := core.NewConfigs(h.core, 0)
	m, err := configs.Manifest(ctx)
	if err != nil {
		return err
	}
	if r.State == rolledBack {
		if m.Number == r.To {
			_, err = configs.RollbackTo(ctx, h.Write("rollout: "+short(r.Why, 900)), r.From)
		}
		return err
	}
	reports, err := Admin{Host: h}.reports(ctx)
	if err != nil {
		return err
	}
	bad, waits := r.look(reports)
	if m.Number < r.To {
		waits = "the change, which has not come"
	}
	next := r
	switch {
	case bad != "":
		next.State, next.Why = rolledBack, bad
	case waits != "":
		*since = time.Time{}
		return nil
	case since.IsZero():
		*since = time.Now()
		return nil
	case time.Since(*since) < r.Wait:
		return nil
	case r.Stage < len(r.Stages):
		next.Stage++
	default:
		next.State, next.Why = done, "all is well"
	}
	h.log.Info("rollout of the configuration", "to", next.To, "state", next.State, "stage", next.Stage+1, "of", len(next.Stages)+1, "because", next.Why)
	return h.move(ctx, h.Write("rollout: "+short(next.State+" "+next.Why, 900)), it, next)
}

// begin starts a rollout, before the change it is of is written.
func (a Admin) begin(ctx context.Context, w core.Write, from int64, stages []string, wait time.Duration) (*core.Item[rollout], error) {
	if from == 0 {
		return nil, api.Errorf(api.Invalid, "there is no configuration to go back to: the first one goes to all")
	}
	if wait < 0 {
		return nil, api.Errorf(api.Invalid, "wait is not negative")
	}
	reports, err := a.reports(ctx)
	if err != nil {
		return nil, err
	}
	r := rollout{From: from, To: from + 1, Wait: wait, State: going, By: w}
	if r.Stages, err = stagesOf(stages, reports); err != nil {
		return nil, err
	}
	was, err := a.Host.rolloutNow(ctx)
	if err != nil {
		return nil, err
	}
	when := core.Absent
	if was != nil {
		when = core.If(was.Revision)
	}
	it, err := core.NewTable[rollout](a.Host.core, core.KindRollout, nil).Put(ctx, w, rolloutKey.Name, r, when)
	return &it, err
}

// stagesOf resolves names with commas and shares of all POPs so far.
func stagesOf(stages []string, reports []api.CoreApplied) ([][]string, error) {
	var all []string
	for _, r := range reports {
		all = append(all, r.POP)
	}
	slices.Sort(all)
	taken := map[string]bool{}
	var out [][]string
	for _, s := range stages {
		var pops []string
		if share, ok := strings.CutSuffix(s, "%"); ok {
			var p float64
			if _, err := fmt.Sscanf(share, "%g", &p); err != nil || p <= 0 || p > 100 {
				return nil, api.Errorf(api.Invalid, "stage %q: want a share above 0 %% and at most 100 %%", s)
			}
			want := int(p*float64(len(all))/100+0.999999) - len(taken)
			for _, pop := range all {
				if len(pops) < want && !taken[pop] {
					pops = append(pops, pop)
				}
			}
		} else {
			for pop := range strings.SplitSeq(s, ",") {
				pop = strings.TrimSpace(pop)
				if !slices.Contains(all, pop) {
					return nil, api.Errorf(api.NotFound, "stage %q: no POP %q takes its configuration from the core; there are %s", s, pop, strings.Join(all, ", "))
				}
				if !taken[pop] {
					pops = append(pops, pop)
				}
			}
		}
		for _, pop := range pops {
			taken[pop] = true
		}
		if len(pops) > 0 {
			out = append(out, pops)
		}
	}
	return out, nil
}

// unhindered refuses a change while another is on its way.
func (a Admin) unhindered(ctx context.Context) error {
	it, err := a.Host.rolloutNow(ctx)
	if err != nil {
		return err
	}
	if it != nil && it.V.State == rolledBack {
		m, err := core.NewConfigs(a.Host.core, 0).Manifest(ctx)
		if err == nil && m.Number == it.V.To {
			err = api.Errorf(api.Refused, "configuration %d is being rolled back", it.V.To)
		}
		return err
	}
	if it != nil && it.V.State == going {
		return api.Errorf(api.Refused, "configuration %d is on its way to the POPs: finish or abort that first (catchment core rollout)", it.V.To)
	}
	return nil
}

// end aborts or finishes what is on its way.
func (a Admin) end(ctx context.Context, w core.Write, verb string) (api.CoreResult, error) {
	it, err := a.Host.rolloutNow(ctx)
	if err != nil {
		return api.CoreResult{}, err
	}
	if it == nil || it.V.State != going {
		return api.CoreResult{}, api.Errorf(api.NotFound, "nothing is on its way")
	}
	next := it.V
	next.State, next.Why = rolledBack, "aborted by "+w.Who+": "+w.Why
	text := fmt.Sprintf("configuration %d is rolled back to what %d was", next.To, next.From)
	if verb == "finish" {
		next.State, next.Stage, next.Why = done, len(next.Stages), "finished by "+w.Who+": "+w.Why
		text = fmt.Sprintf("configuration %d goes to all POPs", next.To)
	}
	return api.CoreResult{Text: text, Number: next.To}, a.Host.move(ctx, w, it, next)
}

// CoreRollout implements api.Core.
func (a Admin) CoreRollout(ctx context.Context) (api.CoreRollout, error) {
	it, err := a.Host.rolloutNow(ctx)
	if err != nil {
		return api.CoreRollout{}, said(err)
	}
	if it == nil {
		return api.CoreRollout{}, api.Errorf(api.NotFound, "no change has gone to the POPs in stages")
	}
	r := it.V
	out := api.CoreRollout{From: r.From, To: r.To, State: r.State, Because: r.Why, Wait: api.Duration(r.Wait), Who: r.By.Who, Why: r.By.Why}
	for i, s := range append(slices.Clone(r.Stages), nil) {
		st := api.CoreRolloutStage{POPs: s, State: "later"}
		if i < r.Stage || r.State == done {
			st.State = done
		} else if i == r.Stage {
			st.State = "now"
		}
		out.Stages = append(out.Stages, st)
	}
	if r.State == going {
		reports, err := a.reports(ctx)
		if err != nil {
			return out, said(err)
		}
		bad, waits := r.look(reports)
		switch {
		case bad != "":
			out.Because = bad
		case waits != "":
			out.Because = "waits for " + waits
		default:
			out.Because = fmt.Sprintf("well, for %v before it goes on", r.Wait)
		}
	}
	return out, nil
}
