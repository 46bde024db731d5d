package config

import (
	"slices"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/policy/steer"
)

// lend checks what DNS may move for load, after balance and dns.
func (b *builder) lend() {
	r, c := &b.raw.Balance.DNS, &b.out.Balance
	for _, x := range []struct {
		key   string
		value float64
	}{{"most", r.Most}, {"step", r.Step}, {"part", r.Part}} {
		if !(x.value >= 0 && x.value <= 1) {
			b.refuse("balance.dns."+x.key, "%v: want a share, 0 to 1", x.value)
		}
	}
	if r.Most == 0 {
		return
	}
	switch {
	case r.Step < 0.01 || r.Part < 0.01:
		b.refuse("balance.dns", "step %v, part %v: want at least 0.01", r.Step, r.Part)
	case !b.out.DNS.On() || len(b.out.DNS.Steer.Rules) == 0:
		b.refuse("balance.dns.most", "there is no DNS server here that chooses POPs (dns.steer.names)")
	case r.Settle < b.out.DNS.Steer.TTL || r.Settle+c.Shed.Settle >= c.Shed.Hold:
		b.refuse("balance.dns.settle", "%s: want at least dns.steer.ttl, %s, and with balance.settle less than balance.hold, %s", r.Settle, b.out.DNS.Steer.TTL, c.Shed.Hold)
	}
	c.Lend = shed.Lending{Most: r.Most, Step: r.Step, Part: r.Part, Settle: r.Settle, To: b.lendTo()}
	if len(c.Lend.To) == 0 {
		b.warnf("balance.dns.most", "no destination of dns.steer has this POP and another one: DNS lends to nobody")
	}
}

// lendTo are the POPs beside and behind this one in its destinations.
func (b *builder) lendTo() (out []policy.POPID) {
	add := func(list []steer.Weighted) {
		for _, w := range list {
			if string(w.POP) != b.raw.POP && !slices.Contains(out, w.POP) {
				out = append(out, w.POP)
			}
		}
	}
	s := &b.out.DNS.Steer
	var behind []steer.Weighted
	for _, d := range s.Destinations {
		if slices.ContainsFunc(d.POPs, func(w steer.Weighted) bool { return string(w.POP) == b.raw.POP }) {
			add(d.POPs)
			behind = append(behind, d.Failover...)
		}
	}
	behind = append(behind, s.Asked.Failover...)
	slices.SortStableFunc(behind, func(a, b steer.Weighted) int { return a.Tier - b.Tier })
	add(behind)
	return out
}
