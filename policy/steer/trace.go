package steer

import (
	"fmt"
	"net/netip"
	"strings"
)

// Trace tells how an answer came about, step by step: what `catchment explain
// dns` prints.
type Trace struct {
	Steps []Step `json:"steps"`
}

// Step is one line of a Trace.
type Step struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// String writes a line a step, the names in a column.
func (t *Trace) String() string {
	var b strings.Builder
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "%-13s %s\n", s.Name, s.Text)
	}
	return b.String()
}

func (t *Trace) add(name, format string, a ...any) {
	t.Steps = append(t.Steps, Step{name, fmt.Sprintf(format, a...)})
}

// Explain is Choose with every step told. Nets are those that the Chooser was
// made of, for the names of locations; nil: they are not told.
func (l *Live) Explain(q *Question, nets *Nets) (Answer, *Trace) {
	a, t := l.Choose(q), &Trace{}
	l.sayAsked(t, q)
	loc := l.sayLocation(t, q, nets)
	l.sayDestination(t, q, loc)
	l.saySpeed(t, q, a.Place)
	l.sayPOPs(t, a.Place)
	l.sayAnswer(t, q, &a)
	return a, t
}

func (l *Live) sayAsked(t *Trace, q *Question) {
	r := &l.c.rule[q.Rule]
	name := r.Name
	if q.SlowName {
		name = l.c.cfg.SlowLabel + "." + name
	}
	if r.Customer != "" {
		name += ", of customer " + r.Customer
	}
	if q.Unicast {
		name += ", asked on a unicast address"
	}
	t.add("name", "%s", name)
	switch {
	case q.ecs():
		t.add("client", "%v by client subnet, of resolver %v", q.Client, q.Resolver)
	case q.Client.IsValid():
		t.add("client", "not told (the client subnet is %v), of resolver %v", q.Client, q.Resolver)
	default:
		t.add("client", "not told, of resolver %v", q.Resolver)
	}
}

// sayLocation tells step 1 and gives the location that counts.
func (l *Live) sayLocation(t *Trace, q *Question, nets *Nets) string {
	view := &l.c.views[l.c.rule[q.Rule].view]
	try := func(who string, a netip.Addr) (string, bool) {
		p, scope := l.c.get(view, a)
		loc := "not told"
		if nets != nil {
			if loc, _ = nets.Find(a); loc == "" {
				loc = "none"
			}
		}
		at := netip.PrefixFrom(a, scope).Masked()
		if p == Nowhere && nets != nil && loc != "none" {
			t.add("1 location", "%s %v: %s, which has no destination", who, a, loc)
		} else {
			t.add("1 location", "%s %v: %s (all of %v)", who, a, loc, at)
		}
		return loc, p != Nowhere
	}
	if q.ecs() {
		if loc, ok := try("client", q.Client.Addr()); ok {
			return loc
		}
	}
	if q.Resolver.IsValid() {
		if loc, ok := try("resolver", q.Resolver); ok {
			return loc
		}
	}
	self := l.c.cfg.POPs[l.c.self]
	if self.Location == "" {
		t.add("1 location", "not known: the POP that was asked, %s", self.ID)
	} else {
		t.add("1 location", "not known: that of the POP that was asked, %s: %s", self.ID, self.Location)
	}
	return ""
}

func (l *Live) sayDestination(t *Trace, q *Question, loc string) {
	v := &l.c.views[l.c.rule[q.Rule].view]
	tg, name := v.asked, v.asked.name
	for i, n := range l.c.base.names {
		if loc != "" && n == loc && v.known[i].place != Nowhere {
			tg, name = v.known[i], v.known[i].name
		}
	}
	switch {
	case tg.why != "" && tg.plain != "":
		t.add("2 destination", "%s, by an override of %s (without it %s)", name, tg.why, tg.plain)
	case tg.why != "":
		t.add("2 destination", "%s, by an override of %s", name, tg.why)
	default:
		t.add("2 destination", "%s", name)
	}
}

// saySpeed tells why the cheap POPs are meant, or not.
func (l *Live) saySpeed(t *Trace, q *Question, p Place) {
	by := q.Resolver
	if q.ecs() {
		by = q.Client.Addr()
	}
	list := "3 POPs"
	reason := ""
	if l.slow != nil {
		if is, scope := l.slow.Has(by); is {
			why, _ := l.slow.why.Find(by)
			reason = fmt.Sprintf("%v is slow (%s)", netip.PrefixFrom(by, scope).Masked(), why)
		}
	}
	d := &l.c.dests[p.dest()]
	switch {
	case p.Cheap() && q.SlowName:
		reason = "the name is for slow clients"
	case p.Cheap() && reason == "":
		reason = "the location is slow"
	}
	switch {
	case reason == "":
		t.add(list, "normal: %s", l.words(d.normal[0]))
	case d.hasCheap:
		t.add(list, "cheap, since %s: %s", reason, l.words(d.cheap[0]))
	default:
		t.add(list, "normal, there is no cheap list though %s: %s", reason, l.words(d.normal[0]))
	}
}

func (l *Live) words(list []weighted) string {
	var out []string
	for _, w := range list {
		out = append(out, fmt.Sprintf("%s %.4g", l.c.cfg.POPs[w.pop].ID, w.weight))
	}
	return strings.Join(out, ", ")
}

func (l *Live) sayPOPs(t *Trace, p Place) {
	d := &l.c.dests[p.dest()]
	tiers := d.normal
	if p.Cheap() {
		tiers = d.cheap
	}
	var said []string
	for i := range min(l.tier[p]+1, len(tiers)) {
		for _, w := range tiers[i] {
			said = append(said, fmt.Sprintf("%s %s%s", l.c.cfg.POPs[w.pop].ID, l.why[w.pop], left(l.state[w.pop].Caches)))
		}
	}
	t.add("4 state", "%s", strings.Join(said, "; "))
	if l.tier[p] > 0 {
		t.add("4 failover", "to list %d: %s", l.tier[p]+1, l.words(tiers[l.tier[p]]))
	}
	var parts []string
	for _, s := range l.shares[p] {
		part := fmt.Sprintf("%s %s %%", l.c.cfg.POPs[s.POP].ID, percent(s.Share))
		if s.From >= 0 {
			part += fmt.Sprintf(" (room reserved for %s)", l.c.cfg.POPs[s.From].ID)
		}
		parts = append(parts, part)
	}
	t.add("4 shares", "%s", strings.Join(parts, ", "))
}

// left says how many caches are left out of answers; empty: none.
func left(caches []Cache) string {
	n := 0
	for i := range caches {
		if caches[i].Down {
			n++
		}
	}
	if n == 0 || n == len(caches) { // then the POP's state says it
		return ""
	}
	return fmt.Sprintf(" (%d of %d caches down)", n, len(caches))
}

func (l *Live) sayAnswer(t *Trace, q *Question, a *Answer) {
	switch {
	case a.Target != "":
		t.add("answer", "%s: CNAME %s", a.POP, a.Target)
	case a.n == 0:
		t.add("answer", "%s: no address of this family", a.POP)
	default:
		var out []string
		for _, x := range a.Addresses() {
			out = append(out, x.String())
		}
		t.add("answer", "%s: %s", a.POP, strings.Join(out, " "))
	}
	if q.ecs() {
		t.add("scope", "/%d: %v gets the same", a.Scope, netip.PrefixFrom(q.Client.Addr(), a.Scope).Masked())
	}
}
