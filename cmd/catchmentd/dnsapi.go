package main

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/server/dns/zone"
)

// dnsOf answers for the control API; nil where there is no DNS server.
func (d *parts) dnsOf() api.DNS {
	if d.dns == nil {
		return nil
	}
	return d.dns
}

// DNSStatus implements api.DNS.
func (r *rendezvous) DNSStatus(context.Context) (api.DNSStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := r.choice
	out := api.DNSStatus{POP: r.d.cfg.POP, Now: time.Now(), Networks: int64(ch.nets.Ranges()), Error: r.bad}
	for _, a := range r.srv.Addresses() {
		out.Listen = append(out.Listen, a.String())
	}
	for _, z := range r.srv.Zones() {
		out.Zones = append(out.Zones, api.DNSZone{Name: z.Apex, Serial: z.Serial, Names: int64(z.Len()), Signed: z.Signed()})
	}
	slices.SortFunc(out.Zones, func(a, b api.DNSZone) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range r.cfg.Steer.Rules {
		out.Names = append(out.Names, n.Name)
	}
	for i, p := range r.cfg.Steer.POPs {
		s := &ch.state.POPs[i]
		x := api.DNSPOP{POP: p.ID, Name: p.Name, Health: s.Health, Stance: s.Stance, Caches: int64(len(s.Caches)), Down: downCaches(s.Caches)}
		if s.Room {
			x.Headroom = &s.Headroom
		}
		for _, o := range s.Offers {
			x.Lends = append(x.Lends, api.DNSLoan{To: o.To, Share: o.Share})
		}
		out.POPs = append(out.POPs, x)
	}
	return out, nil
}

// DNSExplain implements api.DNS.
func (r *rendezvous) DNSExplain(_ context.Context, ask api.DNSQuestion) (api.DNSExplanation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := r.choice
	_, name, err := zone.Wire(ask.Name)
	if err != nil {
		return api.DNSExplanation{}, api.Errorf(api.Invalid, "name %q: %v", ask.Name, err)
	}
	rule, under, ok := ch.chooser.Rule(strings.TrimSuffix(name, "."))
	if !ok {
		return api.DNSExplanation{}, api.Errorf(api.NotFound, "%s is none of dns.steer.names: it is answered from its zone, or not at all", name)
	}
	client, err := ask.Subnet()
	if err != nil {
		return api.DNSExplanation{}, err
	}
	q := steer.Question{Rule: rule, SlowName: under, Client: client, V6: ask.V6, Seed: rand.Uint64(), Resolver: netip.IPv4Unspecified()}
	if client.IsValid() {
		q.Resolver = client.Addr()
	}
	if a, err := netip.ParseAddr(ask.Resolver); err == nil {
		q.Resolver = a.Unmap()
	}
	if a, err := netip.ParseAddr(ask.Local); err == nil {
		q.Unicast = r.unicast(a.Unmap())
	}
	a, trace := ch.live.Explain(&q, ch.nets)
	r.d.slow.explain(trace, &q, ch.slow)
	out := api.DNSExplanation{Name: name, POP: a.POP, Target: a.Target, Scope: int32(a.Scope)}
	for _, x := range a.Addresses() {
		out.Addresses = append(out.Addresses, x.String())
	}
	for _, s := range trace.Steps {
		out.Steps = append(out.Steps, api.DNSStep(s))
	}
	return out, nil
}

// downCaches counts those that no client is sent to.
func downCaches(all []steer.Cache) (n int64) {
	for i := range all {
		if all[i].Down {
			n++
		}
	}
	return n
}
