package ingress

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/assign"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// amissFor is how long something may be unknown before it is an alarm: longer
// than a daemon takes to hear of all others.
const amissFor = 10 * time.Second

type alarmKey struct {
	name  string
	slice policy.SliceID
}

// alarm raises or clears one and reports whether it was raised anew.
func (c *Controller) alarm(name string, id policy.SliceID, on bool, detail string, now time.Time) bool {
	k := alarmKey{name, id}
	old, had := c.alarms[k]
	if !on {
		delete(c.alarms, k)
		return false
	}
	al := api.Alarm{Name: name, Detail: detail, Since: now, Slice: id}
	if had {
		al.Since = old.Since
	}
	c.alarms[k] = al
	if !had {
		c.log.Warn("alarm", "name", name, "detail", detail)
		c.opt.Journal.Append(journal.Entry{POP: c.cfg.POP, Kind: journal.Alarm, Slice: id, Text: name + ": " + detail})
	}
	return !had
}

// show tells the metrics which alarms are on.
func (c *Controller) show() {
	on := map[string]bool{}
	for k := range c.alarms {
		on[k.name] = true
	}
	for name := range c.shown {
		if !on[name] {
			on[name] = false
		}
	}
	for name, is := range on {
		if c.opt.OnAlarm != nil && is != c.shown[name] {
			c.opt.OnAlarm(name, is)
		}
		c.shown[name] = is
	}
}

// amiss raises an alarm when something has been so for a while.
func (c *Controller) amiss(name string, on bool, detail string, now time.Time) {
	since, was := c.seen[name]
	switch {
	case !on:
		delete(c.seen, name)
	case !was:
		c.seen[name], since = now, now
	}
	c.alarm(name, policy.SliceID{}, on && now.Sub(since) >= amissFor, detail, now)
}

// watch raises the alarms of a decision.
func (c *Controller) watch(in *input, r *assign.Result, now time.Time) {
	last := map[policy.SliceID]bool{}
	unknown, blind := map[string]bool{}, map[string]bool{}
	for i, why := range r.Why {
		switch at := in.places[i]; {
		case why == assign.LastTarget && r.Next[i] != assign.None:
			last[at.slice] = true
		case why == assign.TargetUnknown && r.Next[i] == assign.None:
		case why == assign.TargetUnknown:
			unknown[string(in.targets[r.Next[i]])] = true
		case why == assign.DemandUnknown:
			blind[at.router] = true
		}
	}
	for _, id := range in.slices {
		c.alarm("ingress-last-target", id, last[id], "no POP takes it: the routers keep the one that they have", now)
	}
	c.alarm("ingress-correlated", policy.SliceID{}, r.Suspect, "so many POPs are down at once that our checks are suspect: nothing leaves them", now)
	c.alarm("ingress-overload", policy.SliceID{}, r.Overload > 1e-6*sum(r.Load),
		fmt.Sprintf("%s more than the POPs are to carry, and none has room", quantity(r.Overload)), now)
	c.amiss("ingress-target-unknown", len(unknown) > 0, "nothing is known of "+names(unknown)+": what is assigned there stays, and nothing is added", now)
	c.amiss("ingress-demand-unknown", len(blind) > 0, "the demand of "+names(blind)+" is not known: load and cost do not move it", now)
}

func names(set map[string]bool) string {
	var out []string
	for n := range set {
		out = append(out, n)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func sum(list []float64) float64 {
	total := 0.0
	for _, x := range list {
		total += x
	}
	return total
}

// quantity is a number for people, of three digits.
func quantity(x float64) string {
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T"} {
		if x < 999.5 {
			break
		}
		x, prefix = x/1000, p
	}
	return strconv.FormatFloat(x, 'g', 3, 64) + prefix
}

// detail says for people why a place is where it is, or moved.
func (in *input) detail(r *assign.Result, i int, code assign.Code) string {
	p, it := &in.problem, &in.problem.Items[i]
	carries := func(t int, load []float64) string {
		if p.Capacity[t] <= 0 {
			return fmt.Sprintf("%s carries %s", in.targets[t], quantity(load[t]))
		}
		return fmt.Sprintf("%s carries %s of %s", in.targets[t], quantity(load[t]), quantity(p.Capacity[t]))
	}
	best := assign.None
	for t, w := range in.words[it.Slice] {
		if w.state == assign.Open && !p.Down[t] && (best == assign.None || p.Cost[it.Router][t] < p.Cost[it.Router][best]) {
			best = t
		}
	}
	switch code {
	case assign.Overload:
		return carries(it.Now, r.Load)
	case assign.Full, assign.NoRoom:
		if best != assign.None {
			return carries(best, r.After) + fmt.Sprintf(", filled to %s at most", quantity(r.Limit[best]))
		}
		return in.nobody(it)
	case assign.TargetGone, assign.TargetDrained, assign.TargetUnknown, assign.LastTarget:
		if it.Now == assign.None {
			return in.nobody(it)
		}
		return string(in.targets[it.Now]) + ": " + in.say(it.Slice, it.Now)
	case assign.Correlated:
		return "too many POPs are down at once: our checks are suspect"
	case assign.Waiting:
		if r.Plan[i] != assign.None {
			return "goes to " + string(in.targets[r.Plan[i]]) + " in a later round"
		}
	case assign.Kept:
		return fmt.Sprintf("%s would save less than the move costs", in.targets[best])
	case assign.Cheapest:
		if at := r.Next[i]; at != assign.None && !math.IsInf(p.Cost[it.Router][at], 0) {
			return fmt.Sprintf("costs %g", p.Cost[it.Router][at])
		}
	}
	return ""
}

// nobody says why a router is told nothing.
func (in *input) nobody(it *assign.Item) string {
	var words []string
	for t, pop := range in.targets {
		if !math.IsInf(in.problem.Cost[it.Router][t], 0) && in.words[it.Slice][t].state != assign.Open {
			words = append(words, string(pop)+": "+in.say(it.Slice, t))
		}
	}
	return strings.Join(words, "; ")
}

// say is what is known of a target and a slice.
func (in *input) say(slice, target int) string {
	if in.problem.Down[target] {
		return in.checks[target].text
	}
	return in.words[slice][target].text
}

// record writes a move down.
func (c *Controller) record(in *input, r *assign.Result, m assign.Move) {
	at, from := in.places[m.Item], "plain anycast"
	if m.From != assign.None {
		from = string(in.targets[m.From])
	}
	text := fmt.Sprintf("%s %v: %s -> %s because %s", at.router, at.slice, from, in.targets[m.To], m.Code)
	if d := in.detail(r, m.Item, m.Code); d != "" {
		text += ": " + d
	}
	type target struct {
		POP      policy.POPID `json:"pop"`
		State    assign.State `json:"state"`
		Check    string       `json:"check,omitempty"`
		Load     float64      `json:"load"`
		After    float64      `json:"after"`
		Capacity float64      `json:"capacity,omitempty"`
	}
	it := &in.problem.Items[m.Item]
	saw := struct {
		Demand  float64  `json:"demand"`
		Known   bool     `json:"known"`
		Targets []target `json:"targets"`
	}{Demand: it.Demand, Known: it.Known}
	for t, pop := range in.targets {
		saw.Targets = append(saw.Targets, target{pop, in.words[it.Slice][t].state, in.checks[t].text, r.Load[t], r.After[t], in.problem.Capacity[t]})
	}
	inputs, err := json.Marshal(saw)
	if err != nil {
		inputs = nil
	}
	c.log.Info("ingress", "router", at.router, "slice", at.slice, "from", from, "to", in.targets[m.To], "reason", m.Code)
	c.opt.Journal.Append(journal.Entry{
		POP: c.cfg.POP, Kind: journal.Ingress, Service: in.service[at.slice], Slice: at.slice, Text: text, Inputs: inputs,
	})
}
