package config

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/maintenance"
)

type rawWindow struct {
	Name    string        `mapstructure:"name"`
	At      string        `mapstructure:"at"`
	For     time.Duration `mapstructure:"for"`
	Lead    time.Duration `mapstructure:"lead"`
	Service string        `mapstructure:"service"`
	Slice   netip.Prefix  `mapstructure:"slice"`
	Why     string        `mapstructure:"why"`
}

// maintenance checks the windows; services come first.
func (b *builder) maintenance() {
	seen := map[string]bool{}
	for i, r := range b.raw.Maintenance {
		path := "maintenance[" + strconv.Itoa(i) + "]"
		w := maintenance.Window{
			Name: r.Name, At: r.At, For: r.For, Lead: r.Lead, Service: policy.ServiceID(r.Service), By: "configuration", Why: r.Why,
		}
		if r.Slice.IsValid() {
			w.Slice = policy.SliceID(r.Slice)
		}
		if err := w.Check(); err != nil {
			b.refuse(path, "%v", err)
		}
		if seen[r.Name] {
			b.refuse(path+".name", "%q is the name of another window", r.Name)
		}
		seen[r.Name] = true
		if r.Service != "" && b.names[r.Service] == "" {
			b.refuse(path+".service", "there is no service %q", r.Service)
		}
		if r.Slice.IsValid() && !b.announces(w.Slice) {
			b.refuse(path+".slice", "%v is no prefix of a service", r.Slice)
		}
		b.out.Maintenance = append(b.out.Maintenance, w)
	}
}

func (b *builder) announces(id policy.SliceID) bool {
	return slices.ContainsFunc(b.out.Services, func(s Service) bool {
		return slices.Contains(s.Slices, id) || slices.Contains(s.Cover, id)
	})
}
