package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
)

// Loads says what is measured of what the POP carries, and what it can carry.
type Loads struct {
	Timing      load.Timing
	System      bool   // CPU and pressure of this host
	Cgroup      string // the same of a control group, by its directory; empty: of none
	Connections bool   // established TCP connections of the vips on this host
	Hosts       int    // how many the POP has; 0: as many as are measured
	// Capacity is that of the whole POP, HostCapacity that of each host.
	Capacity, HostCapacity load.Capacity
	Links                  []load.LinkConfig
	Sources                []LoadSource
}

// LoadSource is a page of a server that says what it carries.
type LoadSource struct {
	Name  string
	Scope load.Scope
	Page  load.PageConfig
}

// bitRate is in bit/s, written as 10Gbit or 400Mbit/s.
type bitRate float64

// linkRate is a bitRate, or auto: zero.
type linkRate float64

var bitUnits = []struct {
	name string
	bits float64
}{{"bit", 1}, {"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {"Tbit", 1e12}}

func parseBitRate(s string) (bitRate, error) {
	text := strings.TrimSuffix(strings.TrimSpace(s), "/s")
	number := strings.TrimRight(text, "bitkMGT ")
	unit := strings.TrimSpace(text[len(number):])
	n, err := strconv.ParseFloat(number, 64)
	for _, u := range bitUnits {
		if u.name == unit && err == nil && n >= 0 && n*u.bits <= 1e15 {
			return bitRate(n * u.bits), nil
		}
	}
	return 0, fmt.Errorf("want a rate such as 10Gbit or 400Mbit, got %q", s)
}

func parseLinkRate(s string) (linkRate, error) {
	if s == "auto" {
		return 0, nil
	}
	r, err := parseBitRate(s)
	if err == nil && r == 0 {
		err = fmt.Errorf("want a rate such as 10Gbit, or auto, got %q", s)
	}
	return linkRate(r), err
}

type rawCapacity struct {
	In          bitRate `mapstructure:"in"`
	Out         bitRate `mapstructure:"out"`
	Requests    float64 `mapstructure:"requests"`
	Connections float64 `mapstructure:"connections"`
}

type rawHostCapacity struct {
	rawCapacity `mapstructure:",squash"`
	CPU         float64 `mapstructure:"cpu"`
}

type rawLoad struct {
	Interval     time.Duration   `mapstructure:"interval"`
	Timeout      time.Duration   `mapstructure:"timeout"`
	Average      time.Duration   `mapstructure:"average"`
	Stale        time.Duration   `mapstructure:"stale"`
	System       bool            `mapstructure:"system"`
	Cgroup       string          `mapstructure:"cgroup"`
	Connections  bool            `mapstructure:"connections"`
	Hosts        int             `mapstructure:"hosts"`
	Capacity     rawCapacity     `mapstructure:"capacity"`
	HostCapacity rawHostCapacity `mapstructure:"host-capacity"`
	Links        []rawLink       `mapstructure:"links"`
	Sources      []rawSource     `mapstructure:"sources"`
}

type rawLink struct {
	Device   string   `mapstructure:"device"`
	Capacity linkRate `mapstructure:"capacity"`
}

type rawSource struct {
	Name    string  `mapstructure:"name"`
	URL     string  `mapstructure:"url"`
	Format  string  `mapstructure:"format"`
	Metric  string  `mapstructure:"metric"`
	Path    string  `mapstructure:"path"`
	Unit    string  `mapstructure:"unit"`
	Kind    string  `mapstructure:"kind"`
	Scale   float64 `mapstructure:"scale"`
	Of      string  `mapstructure:"of"`
	Host    string  `mapstructure:"host"`
	Service string  `mapstructure:"service"`
	Slice   string  `mapstructure:"slice"`
}

// load checks what is measured. The services are there already.
func (b *builder) load() {
	r, c := &b.raw.Load, &b.out.Load
	if r.Interval < 100*time.Millisecond {
		b.refuse("load.interval", "%s: want at least 100ms", r.Interval)
	}
	b.positive("load.timeout", r.Timeout)
	b.positive("load.average", r.Average)
	if r.Stale < 2*r.Interval {
		b.refuse("load.stale", "%s: want at least twice the interval (%s): a rate needs two samples", r.Stale, r.Interval)
	}
	c.Timing = load.Timing{Interval: r.Interval, Timeout: r.Timeout, Average: r.Average, Stale: r.Stale}
	if r.Cgroup != "" && !filepath.IsAbs(r.Cgroup) {
		b.refuse("load.cgroup", "%q: want an absolute path such as /sys/fs/cgroup/system.slice/nginx.service", r.Cgroup)
	}
	b.atLeast("load.hosts", r.Hosts, 0)
	c.System, c.Cgroup, c.Connections, c.Hosts = r.System, r.Cgroup, r.Connections, r.Hosts
	c.Capacity = b.capacity("load.capacity", r.Capacity)
	c.HostCapacity = b.capacity("load.host-capacity", r.HostCapacity.rawCapacity)
	c.HostCapacity[load.CPU] = r.HostCapacity.CPU
	b.share("load.host-capacity.cpu", r.HostCapacity.CPU)
	b.links()
	b.sources()
	b.partly()
	b.unmeasured()
}

// capacity checks the limits of a POP, a host or a service.
func (b *builder) capacity(path string, r rawCapacity) (c load.Capacity) {
	c[load.In], c[load.Out] = float64(r.In), float64(r.Out)
	c[load.Requests], c[load.Connections] = r.Requests, r.Connections
	for u := range load.Units {
		if c[u] < 0 || math.IsNaN(c[u]) {
			b.refuse(path+"."+u.String(), "%v: want zero (not set) or more", c[u])
		}
	}
	return c
}

func (b *builder) links() {
	seen := map[string]bool{}
	for i, l := range b.raw.Load.Links {
		path := "load.links[" + strconv.Itoa(i) + "]"
		switch {
		case l.Device == "" || len(l.Device) > 15:
			b.refuse(path+".device", "%q: want the name of a network device", l.Device)
		case seen[l.Device]:
			b.refuse(path+".device", "%s is in the list already", l.Device)
		}
		if l.Capacity < 0 {
			b.refuse(path+".capacity", "%v: want a rate such as 10Gbit, or auto", float64(l.Capacity))
		}
		seen[l.Device] = true
		b.out.Load.Links = append(b.out.Load.Links, load.LinkConfig{Device: l.Device, Capacity: float64(l.Capacity)})
	}
}

func (b *builder) sources() {
	seen := map[string]bool{}
	for i := range b.raw.Load.Sources {
		path, r := "load.sources["+strconv.Itoa(i)+"]", &b.raw.Load.Sources[i]
		if b.name(path+".name", "name the source", r.Name) && seen[r.Name] {
			b.refuse(path+".name", "%q is the name of another source", r.Name)
		}
		seen[r.Name] = true
		s := LoadSource{Name: r.Name, Scope: b.scope(path, r)}
		s.Page = load.PageConfig{URL: r.URL, Format: r.Format, Metric: r.Metric, Path: r.Path, Kind: r.Kind, Scale: r.Scale}
		b.notWith(path, r)
		if r.Format != load.StubStatus {
			u, err := load.ParseUnit(r.Unit)
			if err != nil {
				b.refuse(path+".unit", "%v", err)
			}
			s.Page.Unit = u
		}
		if s.Scope == (load.Scope{}) && len(b.raw.Load.Links) > 0 && r.Format != load.StubStatus && (s.Page.Unit == load.In || s.Page.Unit == load.Out) {
			b.warnf(path+".unit", "load.links measure the same of this host: the two are added; with of: service it counts for a service instead")
		}
		if _, _, err := load.NewPage(s.Page); err != nil {
			key, msg, _ := strings.Cut(err.Error(), ": ")
			b.refuse(path+"."+key, "%s", msg)
		}
		b.out.Load.Sources = append(b.out.Load.Sources, s)
	}
}

// scope is whose load a source tells.
func (b *builder) scope(path string, r *rawSource) (s load.Scope) {
	b.oneOf(path+".of", r.Of, "host", "service", "slice", "pop")
	switch {
	case r.Host != "" && r.Of != "host":
		b.refuse(path+".host", "has no meaning with of: %s", r.Of)
	case r.Service != "" && r.Of != "service":
		b.refuse(path+".service", "has no meaning with of: %s", r.Of)
	case r.Slice != "" && r.Of != "slice":
		b.refuse(path+".slice", "has no meaning with of: %s", r.Of)
	case r.Of == "slice":
		return b.sliceScope(path, r)
	case r.Of == "service" && b.names[r.Service] == "":
		b.refuse(path+".service", "%q: want the name of a service", r.Service)
	case r.Host != "":
		b.name(path+".host", "the name of the host", r.Host)
	}
	return load.Scope{POP: r.Of == "pop", Host: r.Host, Service: policy.ServiceID(r.Service)}
}

// sliceScope is the slice a source tells of, and its service.
func (b *builder) sliceScope(path string, r *rawSource) (s load.Scope) {
	p, err := netip.ParsePrefix(r.Slice)
	if err != nil || p != p.Masked() {
		b.refuse(path+".slice", "%q: want the prefix of a service", r.Slice)
		return s
	}
	id := policy.SliceID(p)
	for i := range b.out.Services {
		if svc := &b.out.Services[i]; slices.Contains(svc.Slices, id) {
			return load.Scope{Service: svc.ID, Slice: id}
		}
	}
	b.refuse(path+".slice", "%s is no prefix of any service", r.Slice)
	return s
}

// partly refuses sources of some slices of a service and not of the others:
// the sum would pass for the whole.
func (b *builder) partly() {
	type measure struct {
		service policy.ServiceID
		unit    load.Unit
	}
	has := map[measure][]policy.SliceID{}
	for i := range b.out.Load.Sources {
		s := &b.out.Load.Sources[i]
		if !s.Scope.Slice.Prefix().IsValid() {
			continue
		}
		units := []load.Unit{s.Page.Unit}
		if s.Page.Format == load.StubStatus {
			units = []load.Unit{load.Requests, load.Connections}
		}
		for _, u := range units {
			m := measure{s.Scope.Service, u}
			has[m] = append(has[m], s.Scope.Slice)
		}
	}
	for i := range b.out.Services {
		svc := &b.out.Services[i]
		for u := range load.Units {
			measured := has[measure{svc.ID, u}]
			for _, id := range svc.Slices {
				if len(measured) > 0 && !slices.Contains(measured, id) {
					b.refuse("load.sources", "%s of %v is measured by slice: want a source of slice %v too", u, svc.ID, id)
				}
			}
		}
	}
}

// notWith refuses keys that a format does not use.
func (b *builder) notWith(path string, r *rawSource) {
	uses := map[string][]string{
		load.Prometheus: {"metric", "unit", "kind", "scale"},
		load.JSON:       {"path", "unit", "kind", "scale"},
		load.StubStatus: {},
	}[r.Format]
	if uses == nil {
		return // the format itself is refused
	}
	for _, k := range []struct {
		key string
		set bool
	}{{"metric", r.Metric != ""}, {"path", r.Path != ""}, {"unit", r.Unit != ""}, {"kind", r.Kind != ""}, {"scale", r.Scale != 0}} {
		used := false
		for _, u := range uses {
			used = used || u == k.key
		}
		if k.set && !used {
			b.refuse(path+"."+k.key, "has no meaning with format: %s", r.Format)
		}
	}
}

// unmeasured warns of capacities that nothing is compared with.
func (b *builder) unmeasured() {
	c := &b.out.Load
	var host [load.Units]bool
	service := map[policy.ServiceID]*[load.Units]bool{}
	for i := range b.out.Services {
		s := &b.out.Services[i]
		service[s.ID] = new([load.Units]bool)
		if c.Connections && len(s.VIPs.Addresses) > 0 {
			host[load.Connections], service[s.ID][load.Connections] = true, c.Hosts <= 1
		}
	}
	if len(c.Links) > 0 {
		host[load.In], host[load.Out] = true, true
	}
	if b.out.Cache.On() {
		host[load.Requests], host[load.Out], host[load.Connections] = true, true, true
		if has := service[b.out.CachedService()]; has != nil {
			has[load.Requests], has[load.Out], has[load.Connections] = true, true, true
		}
	}
	host[load.CPU] = c.System || c.Cgroup != ""
	for i := range c.Sources {
		s := &c.Sources[i]
		to := &host
		if s.Scope.Service != "" && service[s.Scope.Service] != nil {
			to = service[s.Scope.Service]
		}
		if to[s.Page.Unit] = true; s.Page.Format == load.StubStatus {
			to[load.Requests], to[load.Connections] = true, true
		}
	}
	pop := host
	for _, has := range service {
		for u := range has {
			pop[u] = pop[u] || has[u]
		}
	}
	warn := func(path string, c *load.Capacity, has *[load.Units]bool) {
		for u := range load.Units {
			if c[u] > 0 && !has[u] {
				b.warnf(path+"."+u.String(), "nothing measures it: there is no such link or source")
			}
		}
	}
	warn("load.capacity", &c.Capacity, &pop)
	warn("load.host-capacity", &c.HostCapacity, &host)
	for i := range b.out.Services {
		s := &b.out.Services[i]
		warn("services["+strconv.Itoa(i)+"].capacity", &s.Capacity, service[s.ID])
	}
}
