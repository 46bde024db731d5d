package config

import (
	"net/url"
	"strconv"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

func (b *builder) positive(path string, d time.Duration) {
	if d <= 0 {
		b.refuse(path, "%s: want more than zero", d)
	}
}

func (b *builder) fleet() {
	r := &b.raw.Fleet
	b.listen("fleet.listen", r.Listen)
	switch {
	case r.SecretFile != "":
		b.absolute("fleet.secret-file", r.SecretFile)
	case r.Listen != "":
		b.refuse("fleet.secret-file", "not set: fleet.listen needs the key that all POPs share")
	case len(r.Peers) > 0:
		b.refuse("fleet.secret-file", "not set: fleet.peers need the key that all POPs share")
	}
	if r.Poll < 100*time.Millisecond {
		b.refuse("fleet.poll", "%s: want at least 100ms", r.Poll)
	}
	b.out.Fleet = Fleet{Listen: r.Listen, SecretFile: r.SecretFile, Poll: r.Poll, Site: r.Site}
	b.statusPeers(r.Peers)
	b.ribPeers(r.RIB)
}

func (b *builder) statusPeers(list []rawPeer) {
	seen := map[string]bool{}
	for i, r := range list {
		path := "fleet.peers[" + strconv.Itoa(i) + "]"
		b.otherPOP(path, r.POP, r.Capacity, seen)
		u, err := url.Parse(r.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			b.refuse(path+".url", "%q: want a URL such as http://10.9.0.2:9799/", r.URL)
		}
		b.out.Fleet.Peers = append(b.out.Fleet.Peers, StatusPeer{
			POP: policy.POPID(r.POP), URL: r.URL, Capacity: r.Capacity, Location: b.location(path+".location", r.Location),
		})
	}
}

func (b *builder) ribPeers(list []rawRIBPeer) {
	seen, sites := map[string]bool{}, map[bgp.LargeCommunity]bool{}
	for i, r := range list {
		path := "fleet.rib[" + strconv.Itoa(i) + "]"
		b.otherPOP(path, r.POP, r.Capacity, seen)
		if r.Site == nil {
			b.refuse(path+".site", `not set: the large community that POP puts on its announcements, such as "64500:1:2"`)
			continue
		}
		switch {
		case b.raw.Fleet.Site != nil && *r.Site == *b.raw.Fleet.Site:
			b.refuse(path+".site", "%s is our own fleet.site: our own paths would count as another POP's", r.Site)
		case sites[*r.Site]:
			b.refuse(path+".site", "%s is another POP's already", r.Site)
		}
		sites[*r.Site] = true
		b.out.Fleet.RIB = append(b.out.Fleet.RIB, RIBPeer{
			POP: policy.POPID(r.POP), Site: *r.Site, Capacity: r.Capacity, Location: b.location(path+".location", r.Location),
		})
	}
}

func (b *builder) otherPOP(path, pop string, capacity float64, seen map[string]bool) {
	if b.name(path+".pop", "the name of the other POP", pop) {
		switch {
		case pop == b.raw.POP:
			b.refuse(path+".pop", "%s is this POP: it cannot vouch for itself", pop)
		case seen[pop]:
			b.refuse(path+".pop", "%s is in the list already", pop)
		}
	}
	seen[pop] = true
	if capacity <= 0 {
		b.refuse(path+".capacity", "%v: want more than zero", capacity)
	}
}
