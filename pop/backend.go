package pop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
)

var _ api.Backend = (*Controller)(nil)

// Intent takes up a wish of the operator and decides at once.
func (c *Controller) Intent(ctx context.Context, in policy.Intent) (api.Result, error) {
	var res api.Result
	var fail error
	err := c.call(ctx, func() {
		if fail = c.known(in.Service, in.Slice); fail != nil {
			return
		}
		if in.At.IsZero() {
			in.At = time.Now()
		}
		over := c.overloading(in, in.At)
		if over != "" && !in.Force {
			fail = refuseOverload(over)
			return
		}
		c.intents = slices.DeleteFunc(c.intents, func(o policy.Intent) bool {
			return o.Kind == in.Kind && o.Service == in.Service && o.Slice == in.Slice
		})
		c.intents = append(c.intents, in)
		entry := entryIntent(in, "asked for", in.By)
		if over != "" {
			entry.Text += ", over headroom: it " + over
		}
		c.note(entry)
		c.log.Info("intent", "kind", in.Kind, "of", scope(in.Service, in.Slice), "by", in.By, "why", in.Why, "force", in.Force)
		c.round(ctx)
		c.opt.Store.Save(c.saved())
		res = c.result(fmt.Sprintf("%s of %s is in force", in.Kind, scope(in.Service, in.Slice)), in.Service, in.Slice)
	})
	if err = firstError(err, fail); err == nil && in.Kind != policy.IntentStop {
		res.Text += c.forgotten(ctx)
	}
	return res, err
}

// Rung implements api.Ladders.
func (c *Controller) Rung(ctx context.Context, name string, service policy.ServiceID, slice policy.SliceID) (int, error) {
	place, of := -1, policy.ServiceID("")
	var fail error
	err := c.call(ctx, func() {
		if fail = c.known(service, slice); fail != nil {
			return
		}
		for i := range c.cfg.Services {
			svc := &c.cfg.Services[i]
			if service != "" && svc.ID != service || slice != (policy.SliceID{}) && !slices.Contains(svc.Slices, slice) {
				continue
			}
			n, err := rungOf(svc, api.Supposition{Kind: api.SupposePin, Rung: name})
			switch {
			case err != nil:
				fail = err
			case place >= 0 && n != place:
				fail = api.Errorf(api.Invalid, "rung %q is number %d of %s and number %d of %s: name a service", name, place, of, n, svc.ID)
			}
			place, of = n, svc.ID
		}
	})
	if err = firstError(err, fail); err == nil && place < 0 {
		err = api.Errorf(api.NotFound, "no slice %v of a service here", slice)
	}
	return place, err
}

// Release ends the intents named.
func (c *Controller) Release(ctx context.Context, r api.Released) (api.Result, error) {
	return c.release(ctx, r, func(in policy.Intent) bool { return released(in, r) })
}

// release ends those of all intents that r is about.
func (c *Controller) release(ctx context.Context, r api.Released, those func(policy.Intent) bool) (api.Result, error) {
	var res api.Result
	var fail error
	err := c.call(ctx, func() {
		var ended []policy.Intent
		c.intents = slices.DeleteFunc(c.intents, func(in policy.Intent) bool {
			if !those(in) {
				return false
			}
			ended = append(ended, in)
			return true
		})
		ended = append(ended, c.endEarly(those, time.Now())...)
		if len(ended) == 0 {
			if fail = c.known(r.Service, r.Slice); fail == nil {
				fail = api.Errorf(api.NotFound, "there is nothing to release for %s%s", scope(r.Service, r.Slice), c.elsewhere(r))
			}
			return
		}
		for _, in := range ended {
			in.Why = r.Why
			c.note(entryIntent(in, "released", r.By))
		}
		c.log.Info("released", "intents", len(ended), "of", scope(r.Service, r.Slice), "by", r.By, "why", r.Why)
		c.round(ctx)
		c.opt.Store.Save(c.saved())
		res = c.result(fmt.Sprintf("%d released", len(ended)), r.Service, r.Slice)
	})
	if err = firstError(err, fail); err == nil {
		res.Text += c.forgotten(ctx)
	}
	return res, err
}

// settleTime is how long an answer waits for the disk.
const settleTime = 2 * time.Second

// forgotten waits for the state to be on disk, and says so if it is not.
func (c *Controller) forgotten(ctx context.Context) string {
	if c.opt.DryRun {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := c.opt.Store.Settled(ctx); err != nil {
		return fmt.Sprintf(", but a restart would forget it: %v", err)
	}
	return ""
}

// released reports whether r ends the intent. What the intent is of need not
// be configured any more.
func released(in policy.Intent, r api.Released) bool {
	if in.Kind == policy.IntentStop || len(r.Kinds) > 0 && !slices.Contains(r.Kinds, in.Kind) {
		return false
	}
	if r.Slice != (policy.SliceID{}) { // a slice is of one service only
		return in.Slice == r.Slice && (r.Service == "" || in.Service == "" || in.Service == r.Service)
	}
	return r.Service == "" || in.Service == r.Service && in.Slice == policy.SliceID{}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// known refuses what is not configured, naming what is.
func (c *Controller) known(svc policy.ServiceID, slice policy.SliceID) error {
	if svc != "" && c.services[svc] == nil {
		var names []string
		for _, s := range c.cfg.Services {
			names = append(names, string(s.ID))
		}
		return api.Errorf(api.NotFound, "no service %q here; there are: %s", svc, strings.Join(names, ", "))
	}
	if slice == (policy.SliceID{}) {
		return nil
	}
	for _, d := range c.last.Slices {
		if d.Slice == slice && (svc == "" || d.Service == svc) {
			return nil
		}
	}
	return api.Errorf(api.NotFound, "no slice %v here", slice)
}

// result describes the slices that a change concerns, as they are now.
func (c *Controller) result(text string, svc policy.ServiceID, slice policy.SliceID) api.Result {
	v := c.view.Load()
	res := api.Result{Text: text}
	for _, d := range v.Decision.Slices {
		if (svc == "" || d.Service == svc) && (slice == policy.SliceID{} || d.Slice == slice) {
			res.Slices = append(res.Slices, v.slice(d))
		}
	}
	return res
}

// reloadTime bounds how long the parts may take over a new configuration.
const reloadTime = 30 * time.Second

// Reload reads the configuration again. An error means that nothing changed.
func (c *Controller) Reload(ctx context.Context, by string) ([]string, error) {
	var changes []string
	var fail error
	err := c.call(ctx, func() {
		if c.opt.Reload == nil {
			fail = api.Errorf(api.Refused, "this daemon cannot reload")
			return
		}
		// Half a reload is worse than one that nobody waits for any more.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime)
		defer cancel()
		var cfg *config.Config
		if cfg, changes, fail = c.opt.Reload(whole, c.cfg); fail != nil {
			c.log.Error("reload refused, nothing has changed", "err", fail)
			c.note(journal.Entry{Kind: journal.Config, By: by, Text: "reload refused: " + fail.Error()})
			c.metricReload(false)
			return
		}
		c.adopt(cfg)
		if n := len(c.shed); n > 0 && !cfg.Balance.Acts() {
			changes = append(changes, fmt.Sprintf("balance.mode %s: slices that load has moved (%d) come back one at a time, one in %v (balance.settle)", cfg.Balance.Mode, n, cfg.Balance.Shed.Settle))
		}
		c.moved = true
		c.metricReload(true)
		c.note(journal.Entry{Kind: journal.Config, By: by, Text: "reloaded: " + strings.Join(changes, "; ")})
		c.log.Info("reloaded", "changes", changes, "by", by)
		c.round(ctx)
		c.opt.Store.Save(c.saved())
	})
	return changes, firstError(err, fail)
}

func (c *Controller) metricReload(ok bool) {
	if c.opt.Metrics != nil {
		c.opt.Metrics.SetReload(ok, time.Now())
	}
}

// Claims is what this POP says of itself to the others, of a decision that is
// no older than the call.
func (c *Controller) Claims(ctx context.Context) ([]fleet.Claim, error) {
	var claims []fleet.Claim
	err := c.call(ctx, func() {
		c.round(ctx)
		v := c.view.Load()
		for _, d := range v.Decision.Slices {
			h := v.Input.Health[d.Service]
			claim := fleet.Claim{Slice: d.Slice, Stance: d.Stance, Verdict: h.Verdict, Leaving: !d.Leaving.IsZero(), Reason: d.Reason.String()}
			if !v.heard[d.Slice] {
				claim.Stance = policy.Stance{} // decided, but no router hears it
				claim.Reason = cmp.Or(v.unheard(d), claim.Reason)
			}
			if d.Reason.Code == policy.Always {
				claim.Verdict = policy.Up
			}
			for _, f := range slices.Concat(h.Failing, h.Shared) {
				claim.Failing = append(claim.Failing, f.Check)
			}
			claims = append(claims, claim)
		}
	})
	return claims, err
}

// Journal gives the entries that match, oldest first. Who follows gets every
// one that is written from then on, whatever the clock does.
func (c *Controller) Journal(ctx context.Context, f api.JournalFilter, yield func(api.JournalEntry) error) error {
	filter := journal.Filter{Service: f.Service, Slice: f.Slice, Since: f.Since, Limit: f.Limit}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		seen := filter.After
		for _, e := range c.opt.Journal.Recent(journal.Filter{Limit: 1}) {
			seen = max(seen, e.Seq)
		}
		if err := c.opt.Journal.Each(filter, func(e journal.Entry) error {
			seen = max(seen, e.Seq)
			return yield(journalEntry(e))
		}); err != nil {
			return err
		}
		if !f.Follow {
			return nil
		}
		if filter.Limit = 0; seen > 0 { // otherwise nothing has been written in this life
			filter = journal.Filter{Service: f.Service, Slice: f.Slice, After: seen}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return nil
		case <-ticker.C:
		}
	}
}

// followEvery is how often a follower of the journal is shown what is new.
const followEvery = 200 * time.Millisecond

func journalEntry(e journal.Entry) api.JournalEntry {
	data, err := json.Marshal(e)
	if err != nil {
		data = nil
	}
	return api.JournalEntry{Seq: e.Seq, Time: e.Time, Kind: string(e.Kind), Service: e.Service, Slice: e.Slice, Text: e.Text, Data: data}
}
