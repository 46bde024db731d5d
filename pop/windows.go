package pop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/maintenance"
)

// leadMargin is added to the longest drain of what a window is of, so that
// it is drained when the window starts.
const leadMargin = 10 * time.Second

// windows are the maintenance windows of the POP.
type windows struct {
	all     []window
	ended   map[string]time.Time // by name: the start of the occurrence that an operator ended early
	running map[string]time.Time // by name: the start of the occurrence under way, as journaled
}

// window is one, and whether it is of the configuration.
type window struct {
	maintenance.Planned
	config bool
}

// takeWindows takes up the windows of a configuration beside those that were
// added by command. One of the configuration wins over one of the same name.
func (c *Controller) takeWindows(added []maintenance.Window) {
	w := &c.windows
	w.all = nil
	take := func(list []maintenance.Window, config bool) {
		for _, m := range list {
			p, err := maintenance.Plan(m)
			if err == nil && !slices.ContainsFunc(w.all, func(o window) bool { return o.Name == m.Name }) {
				w.all = append(w.all, window{p, config})
			}
		}
	}
	take(c.cfg.Maintenance, true)
	take(added, false)
	if w.ended == nil {
		w.ended, w.running = map[string]time.Time{}, map[string]time.Time{}
	}
}

// added are the windows that were added by command: what is kept on disk.
func (w *windows) added() (out []maintenance.Window) {
	for _, p := range w.all {
		if !p.config {
			out = append(out, p.Window)
		}
	}
	return out
}

// lead is how long before its start what a window is of begins to drain.
func (c *Controller) lead(w maintenance.Window) time.Duration {
	longest := time.Duration(0)
	for _, s := range c.plain {
		if w.Service == "" && w.Slice == (policy.SliceID{}) || w.Service == s.ID || slices.Contains(s.Slices, w.Slice) {
			longest = max(longest, s.DrainWait)
		}
	}
	return longest + leadMargin
}

// inForce are the drains that windows ask for at now. What begins and ends is
// journaled; a window that will not come again is forgotten.
func (c *Controller) inForce(now time.Time) (out []policy.Intent) {
	w := &c.windows
	running := map[string]time.Time{}
	over := false
	for _, p := range w.all {
		o, ok := p.Around(now, c.lead(p.Window))
		over = over || !ok && !p.config
		if !ok || !o.Under(now) || w.ended[p.Name].Equal(o.Start) {
			continue
		}
		in := p.Intent(o)
		out = append(out, in)
		running[p.Name] = o.Start
		if !w.running[p.Name].Equal(o.Start) {
			c.note(entryIntent(in, fmt.Sprintf("begins for the window %s, which starts %s and ends %s", p.Name, clock(o.Start), clock(o.End)), in.By))
			c.log.Info("maintenance", "window", p.Name, "of", scope(p.Service, p.Slice), "start", o.Start, "end", o.End)
		}
	}
	for name, start := range w.running {
		if _, still := running[name]; !still && !w.ended[name].Equal(start) {
			c.note(journal.Entry{Kind: journal.Intent, By: "maintenance " + name, Text: fmt.Sprintf("window %s is over: what it drained comes back after its hold-down", name)})
		}
	}
	w.running = running
	if over {
		w.all = slices.DeleteFunc(slices.Clone(w.all), func(p window) bool {
			_, again := p.Around(now, 0)
			return !again && !p.config
		})
		c.opt.Store.Save(c.saved())
	}
	return out
}

// windowsAhead are the windows that begin while a plan looks ahead.
func (c *Controller) windowsAhead(now time.Time) (out []happening) {
	for _, p := range c.windows.all {
		o, ok := p.Around(now, c.lead(p.Window))
		if !ok || !o.Begin.After(now) || o.Begin.Sub(now) > api.PlanLimit {
			continue
		}
		in := p.Intent(o)
		out = append(out, happening{at: o.Begin, when: "when the window " + p.Name + " begins", do: func(s *situation) { s.in.Intents = append(s.in.Intents, in) }})
	}
	return out
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// overdue raises an alarm for what a window has not drained when it starts.
func (c *Controller) overdue(d policy.Decision, now time.Time) {
	var words []string
	for _, s := range d.Slices {
		if s.Intent == nil || s.Intent.Window == "" || !s.Stance.Announced() || now.Before(c.windows.running[s.Intent.Window]) {
			continue
		}
		words = append(words, fmt.Sprintf("window %s has begun and %v is still announced: %v", s.Intent.Window, s.Slice, s.Reason))
	}
	if c.alarms.set("maintenance", len(words) > 0, strings.Join(words, "; "), now) {
		c.log.Warn("alarm", "name", "maintenance", "detail", strings.Join(words, "; "))
		c.note(journal.Entry{Kind: journal.Alarm, Text: "maintenance: " + strings.Join(words, "; ")})
	}
}

// endEarly ends the occurrences under way whose drains r releases. Those to
// come stay.
func (c *Controller) endEarly(those func(policy.Intent) bool, now time.Time) (ended []policy.Intent) {
	for _, p := range c.windows.all {
		o, ok := p.Around(now, c.lead(p.Window))
		if in := p.Intent(o); ok && o.Under(now) && !c.windows.ended[p.Name].Equal(o.Start) && those(in) {
			c.windows.ended[p.Name] = o.Start
			ended = append(ended, in)
		}
	}
	return ended
}

// shown is a window in the API's words.
func (c *Controller) shown(p window, now time.Time) api.MaintenanceWindow {
	out := api.MaintenanceWindow{
		Name: p.Name, At: p.At, For: api.Duration(p.For), Lead: api.Duration(p.Lead), Service: p.Service, Slice: p.Slice, By: p.By, Why: p.Why, Config: p.config,
	}
	o, ok := p.Around(now, c.lead(p.Window))
	if !ok {
		return out
	}
	out.Drains, out.Start, out.End = o.Begin, o.Start, o.End
	switch {
	case c.windows.ended[p.Name].Equal(o.Start):
		out.State = api.WindowEnded
	case !now.Before(o.Start):
		out.State = api.WindowUnder
	case o.Under(now):
		out.State = api.WindowDrains
	}
	return out
}

// Maintenance lists the windows, the next first.
func (c *Controller) Maintenance(ctx context.Context) ([]api.MaintenanceWindow, error) {
	v, err := c.seen(ctx)
	if err != nil {
		return nil, err
	}
	return v.windows, nil
}

// AddMaintenance adds a window.
func (c *Controller) AddMaintenance(ctx context.Context, w maintenance.Window) (api.Result, error) {
	var res api.Result
	var fail error
	err := c.call(ctx, func() {
		now := time.Now()
		if fail = c.acceptable(w, now); fail != nil {
			return
		}
		p, _ := maintenance.Plan(w)
		c.windows.all = append(slices.Clone(c.windows.all), window{Planned: p})
		delete(c.windows.ended, w.Name)
		o, _ := p.Around(now, c.lead(w))
		text := fmt.Sprintf("window %s: drains from %s, starts %s, ends %s", w.Name, clock(o.Begin), clock(o.Start), clock(o.End))
		if over := c.overloading(p.Intent(o), now); over != "" {
			text += "; by the loads of now it " + over + ", and would wait"
		}
		c.note(journal.Entry{Kind: journal.Intent, Service: w.Service, Slice: w.Slice, By: w.By, Text: fmt.Sprintf("%s of %s added: %s", text, scope(w.Service, w.Slice), w.Why), Inputs: encode(w)})
		c.round(ctx)
		c.opt.Store.Save(c.saved())
		res = c.result(text, w.Service, w.Slice)
	})
	if err = firstError(err, fail); err == nil {
		res.Text += c.forgotten(ctx)
	}
	return res, err
}

// acceptable refuses a window that makes no sense here.
func (c *Controller) acceptable(w maintenance.Window, now time.Time) error {
	if err := w.Check(); err != nil {
		return api.Errorf(api.Invalid, "maintenance: %v", err)
	}
	if err := c.known(w.Service, w.Slice); err != nil {
		return err
	}
	if slices.ContainsFunc(c.windows.all, func(p window) bool { return p.Name == w.Name }) {
		return api.Errorf(api.Invalid, "maintenance: there is a window %s: remove it first, or take another name", w.Name)
	}
	if p, err := maintenance.Plan(w); err == nil {
		if _, ok := p.Around(now, 0); !ok {
			return api.Errorf(api.Invalid, "maintenance: %s is over already", w.At)
		}
	}
	return nil
}

// RemoveMaintenance removes a window; what it has drained comes back.
func (c *Controller) RemoveMaintenance(ctx context.Context, name, by, why string) (api.Result, error) {
	var res api.Result
	var fail error
	err := c.call(ctx, func() {
		i := slices.IndexFunc(c.windows.all, func(p window) bool { return p.Name == name })
		switch {
		case i < 0:
			fail = api.Errorf(api.NotFound, "there is no window %q", name)
			return
		case c.windows.all[i].config:
			fail = api.Errorf(api.Refused, "window %s is of the configuration: take it out there, or end what it drains with undrain", name)
			return
		}
		w := c.windows.all[i].Window
		c.windows.all = slices.Delete(slices.Clone(c.windows.all), i, i+1)
		text := fmt.Sprintf("window %s of %s removed", name, scope(w.Service, w.Slice))
		c.note(journal.Entry{Kind: journal.Intent, Service: w.Service, Slice: w.Slice, By: by, Text: text + ": " + why, Inputs: encode(w)})
		c.round(ctx)
		c.opt.Store.Save(c.saved())
		res = c.result(text, w.Service, w.Slice)
	})
	if err = firstError(err, fail); err == nil {
		res.Text += c.forgotten(ctx)
	}
	return res, err
}
