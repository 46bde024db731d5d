package config

import "strconv"

// Relay says where this POP is in the tree by which POPs follow the core POP
// to POP, and tell each other how they are.
type Relay struct {
	Listen, Advertise string        // where other POPs follow this one; Listen empty: nowhere
	Parents           []RelayParent // to follow, best first; of a member: the other members
}

// RelayParent is a POP to follow.
type RelayParent struct{ POP, Address string }

// On reports whether there is anything to do.
func (r *Relay) On() bool { return r.Listen != "" || len(r.Parents) > 0 }

// set: the tree is asked for.
func (r *rawRelay) set() bool { return r.Listen != "" || len(r.Parents) > 0 }

type rawRelay struct {
	Listen    string           `mapstructure:"listen"`
	Advertise string           `mapstructure:"advertise"`
	Parents   []rawRelayParent `mapstructure:"parents"`
}

type rawRelayParent struct {
	POP     string `mapstructure:"pop"`
	Address string `mapstructure:"address"`
}

// relay checks the section of the relay tree, after that of the core.
func (b *builder) relay() {
	r, c := &b.raw.Relay, &b.raw.Core
	if !r.set() {
		if r.Advertise != "" {
			b.refuse("relay.advertise", "has no meaning without relay.listen")
		}
		return
	}
	switch {
	case c.Mode == CoreEmbedded && c.Joins.Listen == "" && c.TokenFile == "" && c.TLS.Certificate == "":
		b.refuse("relay", "POPs are met by mutual TLS only: it needs core.joins.listen (this POP keeps the fleet's authority), "+
			"core.token-file (it joins with a token) or core.tls")
	case c.Mode != CoreEmbedded && c.Mode != CoreFollow:
		b.refuse("relay", "needs core.mode embedded (others follow this POP) or follow")
	case c.Name != b.raw.POP:
		b.refuse("core.name", "%q: with relay it must be the POP's name, by which the others know it", c.Name)
	}
	b.out.Core.Alone = false
	b.listen("relay.listen", r.Listen)
	r.Advertise = b.advertise("relay", r.Listen, r.Advertise)
	b.out.Relay = Relay{Listen: r.Listen, Advertise: r.Advertise}
	seen := map[string]bool{}
	for i, p := range r.Parents {
		path := "relay.parents[" + strconv.Itoa(i) + "]"
		b.name(path+".pop", "the name of a POP", p.POP)
		b.hostPort(path+".address", p.Address)
		if p.POP == b.raw.POP || seen[p.Address] {
			b.refuse(path, "%s, %s: this POP itself, or in the list already", p.POP, p.Address)
		}
		seen[p.Address] = true
		b.out.Relay.Parents = append(b.out.Relay.Parents, RelayParent(p))
	}
}
