package config

import (
	"net/netip"
	"strconv"

	"github.com/catchment/catchment/policy"
)

// service checks one service and adds it to the Config.
func (b *builder) service(path string, r *rawService) {
	s := Service{Service: policy.Service{
		ID: policy.ServiceID(r.Name), Always: r.Always,
		HoldDown: r.HoldDown, Dwell: r.Dwell, WithdrawOnDown: r.WithdrawOnDown,
		MinPOPs: r.MinPOPs, MinCapacity: r.MinCapacity,
		DrainWait: r.Drain.Wait, DrainIdle: r.Drain.IdleConnections,
		Damping: policy.Damping{
			Penalty: r.Damping.Penalty, Suppress: r.Damping.Suppress, Reuse: r.Damping.Reuse,
			HalfLife: r.Damping.HalfLife, Max: r.Damping.Max,
		},
	}}
	s.Accept = Accept(r.Drain.Accept)
	if b.name(path+".name", "name the service", r.Name) {
		if at := b.names[r.Name]; at != "" {
			b.refuse(path+".name", "%q is the name of %s", r.Name, at)
		}
		b.names[r.Name] = path
	}
	b.slices(path, r, &s)
	b.cover(path, r, &s)
	b.addresses(path, r, &s)
	b.rungs(path, r, &s)
	b.limits(path, r)
	b.checks(path, r, &s)
	s.Capacity = b.capacity(path+".capacity", r.Capacity)
	b.out.Services = append(b.out.Services, s)
}

func (b *builder) slices(path string, r *rawService, s *Service) {
	if len(r.Prefixes) == 0 {
		b.refuse(path+".prefixes", "not set: a service announces at least one prefix")
	}
	for i, x := range r.Prefixes {
		if b.prefix(path+".prefixes["+strconv.Itoa(i)+"]", x) {
			s.Slices = append(s.Slices, policy.SliceID(x))
		}
	}
}

// prefix checks what may be announced at all; the parser saw to host bits.
func (b *builder) prefix(path string, x netip.Prefix) bool {
	a := x.Addr()
	switch at := b.prefixes[x]; {
	case !x.IsValid():
		b.refuse(path, "not set")
	case x.Bits() == 0:
		b.refuse(path, "%s is the default route: no service is everything", x)
	case a.IsMulticast() || a.IsLoopback() || a.IsLinkLocalUnicast():
		b.refuse(path, "%s is no prefix that routers carry", x)
	case at != "":
		b.refuse(path, "%s is announced already: %s", x, at)
	default:
		b.prefixes[x] = path
		return true
	}
	return false
}

func (b *builder) cover(path string, r *rawService, s *Service) {
	for i, x := range r.Cover {
		q := path + ".cover[" + strconv.Itoa(i) + "]"
		if !b.prefix(q, x) {
			continue
		}
		covers := false
		for _, slice := range s.Slices {
			p := slice.Prefix()
			covers = covers || x.Bits() < p.Bits() && x.Contains(p.Addr())
		}
		if !covers {
			b.refuse(q, "%s covers none of the prefixes: it must be shorter than one of them and contain it", x)
			continue
		}
		s.Cover = append(s.Cover, policy.SliceID(x))
	}
}

func (b *builder) addresses(path string, r *rawService, s *Service) {
	for i, a := range r.VIPs.Addresses {
		q := path + ".vips.addresses[" + strconv.Itoa(i) + "]"
		inside := false
		for _, slice := range s.Slices {
			inside = inside || slice.Prefix().Contains(a)
		}
		switch {
		case !inside:
			b.refuse(q, "%s is in none of the service's prefixes", a)
		case b.vips[a] != "":
			b.refuse(q, "%s is there already: %s", a, b.vips[a])
		}
		b.vips[a] = q
	}
	if len(r.VIPs.Device) == 0 || len(r.VIPs.Device) > 15 {
		b.refuse(path+".vips.device", "%q: want the name of a network device", r.VIPs.Device)
	}
	s.VIPs = VIPs(r.VIPs)
}

// limits checks the numbers of a service that stand for themselves.
func (b *builder) limits(path string, r *rawService) {
	d := path + ".damping."
	if r.Damping.Penalty < 0 {
		b.refuse(d+"penalty", "%v: want zero (no damping) or more", r.Damping.Penalty)
	}
	if r.Damping.Penalty > 0 {
		if r.Damping.Reuse <= 0 {
			b.refuse(d+"reuse", "%v: want more than zero", r.Damping.Reuse)
		}
		if r.Damping.Suppress <= r.Damping.Reuse {
			b.refuse(d+"suppress", "%v: want more than reuse (%v)", r.Damping.Suppress, r.Damping.Reuse)
		}
		b.positive(d+"half-life", r.Damping.HalfLife)
		b.positive(d+"max", r.Damping.Max)
	}
	b.atLeast(path+".min-pops", r.MinPOPs, 1)
	b.share(path+".min-capacity", r.MinCapacity)
	b.oneOf(path+".drain.accept", r.Drain.Accept, string(AcceptAlways), string(AcceptUntilWithdrawn), string(AcceptNever))
	if r.Drain.IdleConnections < 0 {
		b.refuse(path+".drain.idle-connections", "%v: want zero (never idle) or more", r.Drain.IdleConnections)
	}
}
