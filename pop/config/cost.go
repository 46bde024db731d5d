package config

import (
	"slices"
	"strconv"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
	"github.com/catchment/catchment/pop/account"
)

type rawBills struct {
	Currency string        `mapstructure:"currency"`
	Slot     time.Duration `mapstructure:"slot"`
	Day      int           `mapstructure:"month-day"`
	Keep     int           `mapstructure:"keep"`
	POPs     []rawCostPOP  `mapstructure:"pops"`
	Ceiling  struct {
		Stalls  float64       `mapstructure:"stalls"`
		Latency time.Duration `mapstructure:"latency"`
		Least   int           `mapstructure:"least"`
		Window  time.Duration `mapstructure:"window"`
		Calm    time.Duration `mapstructure:"calm"`
	} `mapstructure:"ceiling"`
}

type rawCostPOP struct {
	POP      string `mapstructure:"pop"`
	rawPrice `mapstructure:",squash"`
	Links    []rawCostLink `mapstructure:"links"`
	Distance []struct {
		POP     string        `mapstructure:"pop"`
		Latency time.Duration `mapstructure:"latency"`
	} `mapstructure:"distance"`
}

type rawCostLink struct {
	Link     string `mapstructure:"link"`
	rawPrice `mapstructure:",squash"`
}

type rawPrice struct {
	PerGB      *float64 `mapstructure:"per-gb"`
	PerMbps    *float64 `mapstructure:"per-mbps"`
	Commit     *float64 `mapstructure:"commit"`
	Percentile *float64 `mapstructure:"percentile"`
	Direction  string   `mapstructure:"direction"`
}

// cost checks the section of prices, after load.
func (b *builder) cost() {
	r, c := &b.raw.Cost, &b.out.Cost
	*c = account.Config{
		Currency: r.Currency, Slot: r.Slot, Day: r.Day, Keep: r.Keep,
		Ceiling: account.Ceiling{Stalls: r.Ceiling.Stalls, Latency: r.Ceiling.Latency, Least: r.Ceiling.Least, Window: r.Ceiling.Window, Calm: r.Ceiling.Calm},
	}
	if len(r.POPs) == 0 {
		for _, key := range []string{"slot", "month-day", "keep", "ceiling.latency", "ceiling.least", "ceiling.window", "ceiling.calm"} {
			if !b.defaulted["cost."+key] || r.Currency != "" || r.Ceiling.Stalls != 0 {
				b.refuse("cost.pops", "not set: without the prices of POPs there is nothing to keep books of")
				break
			}
		}
		*c = account.Config{}
		return
	}
	if r.Slot < time.Second || r.Slot > time.Hour || r.Slot%time.Second != 0 {
		b.refuse("cost.slot", "%s: want whole seconds, 1s to 1h; bills by percentile are of 5m", r.Slot)
	}
	if r.Day < 1 || r.Day > 28 {
		b.refuse("cost.month-day", "%d: want the day on which a bill begins, 1 to 28", r.Day)
	}
	b.atLeast("cost.keep", r.Keep, 1)
	b.costCeiling()
	for i := range r.POPs {
		b.costPOP(i)
	}
	for i := range r.POPs {
		b.costDistances(i)
	}
	if !slices.ContainsFunc(c.POPs, func(p account.POP) bool { return string(p.ID) == b.raw.POP }) {
		b.warnf("cost.pops", "this POP, %s, is not among them: what it carries is not billed", b.raw.POP)
	}
}

func (b *builder) costCeiling() {
	r := &b.raw.Cost.Ceiling
	if !(r.Stalls >= 0) {
		b.refuse("cost.ceiling.stalls", "%v: want zero or more, stalls a request of players that were moved above those of others", r.Stalls)
	}
	b.atLeast("cost.ceiling.least", r.Least, 1)
	if r.Window < b.raw.Cost.Slot {
		b.refuse("cost.ceiling.window", "%s: want at least a slot (cost.slot), %s", r.Window, b.raw.Cost.Slot)
	}
}

func (b *builder) costPOP(i int) {
	r, c := &b.raw.Cost.POPs[i], &b.out.Cost
	at := "cost.pops[" + strconv.Itoa(i) + "]"
	if !b.name(at+".pop", "the name of a POP", r.POP) {
		return
	}
	if slices.ContainsFunc(c.POPs, func(p account.POP) bool { return string(p.ID) == r.POP }) {
		b.refuse(at+".pop", "%s is in the list already", r.POP)
		return
	}
	p := account.POP{ID: policy.POPID(r.POP)}
	own := r.POP == b.raw.POP
	switch {
	case len(r.Links) > 0 && r.rawPrice != rawPrice{}:
		b.refuse(at, "a price and links: either all that the POP sends has one price, or each of its links")
	case len(r.Links) == 0:
		if own && !b.measuresTraffic() {
			b.warnf(at, "nothing measures what this POP sends (load.links, load.sources, cache): its bill stays empty")
		}
		p.Links = []account.Link{b.costLink(at, "", &r.rawPrice)}
	}
	for n := range r.Links {
		l := &r.Links[n]
		at := at + ".links[" + strconv.Itoa(n) + "]"
		switch {
		case l.Link == "":
			b.refuse(at+".link", "not set: the link's name, a device of load.links at that POP")
		case slices.ContainsFunc(p.Links, func(x account.Link) bool { return x.Name == l.Link }):
			b.refuse(at+".link", "%s is in the list already", l.Link)
		case own && !slices.ContainsFunc(b.out.Load.Links, func(x load.LinkConfig) bool { return x.Device == l.Link }):
			b.refuse(at+".link", "%s is not measured: want a device of load.links", l.Link)
		}
		p.Links = append(p.Links, b.costLink(at, l.Link, &l.rawPrice))
	}
	c.POPs = append(c.POPs, p)
}

// measuresTraffic reports whether anything tells what this POP sends.
func (b *builder) measuresTraffic() bool {
	return len(b.out.Load.Links) > 0 || len(b.out.Load.Sources) > 0 || b.out.Cache.On()
}

func (b *builder) costLink(at, name string, r *rawPrice) account.Link {
	value := func(x *float64) float64 {
		if x == nil {
			return 0
		}
		return *x
	}
	p := cost.Price{PerGB: value(r.PerGB), PerMbps: value(r.PerMbps), Commit: value(r.Commit), Percentile: value(r.Percentile) / 100}
	switch {
	case r.PerGB == nil && r.PerMbps == nil:
		b.refuse(at, "no price: want per-gb, or per-mbps by percentile, or both; 0 where it costs nothing")
	case r.Commit != nil && r.PerMbps == nil:
		b.refuse(at+".commit", "has no meaning without per-mbps")
	case r.Percentile != nil && (r.PerMbps == nil || !(*r.Percentile >= 50) || *r.Percentile > 100):
		b.refuse(at+".percentile", "%v: want 50 to 100, with per-mbps", *r.Percentile)
	}
	for _, x := range []struct {
		key   string
		value *float64
	}{{"per-gb", r.PerGB}, {"per-mbps", r.PerMbps}, {"commit", r.Commit}} {
		if x.value != nil && !(*x.value >= 0) {
			b.refuse(at+"."+x.key, "%v: want zero or more", *x.value)
		}
	}
	if r.Direction != "" {
		b.oneOf(at+".direction", r.Direction, "out", "in")
	}
	return account.Link{Name: name, In: r.Direction == "in", Price: p}
}

func (b *builder) costDistances(i int) {
	r := &b.raw.Cost.POPs[i]
	c := &b.out.Cost
	of := slices.IndexFunc(c.POPs, func(p account.POP) bool { return string(p.ID) == r.POP })
	if of < 0 {
		return
	}
	c.POPs[of].Distance = map[policy.POPID]time.Duration{}
	for n, d := range r.Distance {
		at := "cost.pops[" + strconv.Itoa(i) + "].distance[" + strconv.Itoa(n) + "]"
		_, twice := c.POPs[of].Distance[policy.POPID(d.POP)]
		switch {
		case d.POP == r.POP || !slices.ContainsFunc(c.POPs, func(p account.POP) bool { return string(p.ID) == d.POP }):
			b.refuse(at+".pop", "%q: want another POP of cost.pops", d.POP)
		case twice:
			b.refuse(at+".pop", "%s is in the list already", d.POP)
		case d.Latency < 0 || d.Latency > 10*time.Second:
			b.refuse(at+".latency", "%s: want 0 to 10s, by how much later clients of %s get answers from %s", d.Latency, r.POP, d.POP)
		}
		c.POPs[of].Distance[policy.POPID(d.POP)] = d.Latency
	}
}
