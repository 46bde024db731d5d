package purge

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// mark is the newest hard and the newest soft purge of something.
type mark struct{ hard, soft Epoch }

func (m *mark) raise(o mark) {
	m.hard = max(m.hard, o.hard)
	m.soft = max(m.soft, o.soft)
}

func (m mark) newest() Epoch { return max(m.hard, m.soft) }

func (m mark) verdict(stored Epoch) Verdict {
	switch {
	case m.hard > stored:
		return Hard
	case m.soft > stored:
		return Soft
	}
	return OK
}

// group is a host or a site, which what is finer folds into.
type group struct {
	mark
	last Epoch // newest purge of it or of a part of it
	lens []int // of a host: the distinct lengths of purged prefixes, ascending
}

// fine is the mark of a URL, a prefix or a tag.
type fine struct {
	mark
	up     *group // where it folds into; nil: into everything
	kind   uint8  // a scope of tags, fineURL or finePrefix
	length int    // of a prefix
}

const (
	fineURL    = 4
	finePrefix = 5
)

// index finds the marks of an object. URLs, prefixes and tags go by a 64-bit
// hash under a secret seed: two that fall together purge more, never less.
type index struct {
	seed  maphash.Seed
	all   mark
	sites map[string]*group
	hosts map[string]*group
	fine  map[uint64]*fine
	// scopes counts the tags by what they are limited to, so that lookups skip
	// scopes nobody uses.
	scopes [4]int
	urls   int
	max    int // entries in fine, and in sites and hosts together
	folds  uint64
}

func newIndex(limit int) *index {
	return &index{
		seed: maphash.MakeSeed(), max: limit,
		sites: map[string]*group{}, hosts: map[string]*group{}, fine: map[uint64]*fine{},
	}
}

func (g *group) raise(m mark) {
	g.mark.raise(m)
	g.last = max(g.last, m.newest())
}

func groupOf(in map[string]*group, name string) *group {
	g := in[name]
	if g == nil {
		g = &group{}
		in[strings.Clone(name)] = g
	}
	return g
}

// markOf is the mark that a purge sets.
func markOf(e *Entry) mark {
	if e.Soft {
		return mark{soft: e.ID}
	}
	return mark{hard: e.ID}
}

// apply takes in one purge.
func (x *index) apply(e *Entry) {
	m := markOf(e)
	switch e.Kind {
	case All:
		x.all.raise(m)
	case Site:
		groupOf(x.sites, e.Site).raise(m)
	case Host:
		groupOf(x.hosts, e.Host).raise(m)
	case URL:
		f := fine{mark: m, up: groupOf(x.hosts, hostOf(e.URL)), kind: fineURL}
		x.urls += x.put(x.hashURL(e.Site, []byte(e.URL)), f)
	case Prefix:
		host := groupOf(x.hosts, e.Host)
		if at, found := slices.BinarySearch(host.lens, len(e.Path)); !found {
			host.lens = slices.Insert(host.lens, at, len(e.Path))
		}
		f := fine{mark: m, up: host, kind: finePrefix, length: len(e.Path)}
		x.put(x.hashPrefix(e.Host, e.Path), f)
	case Tag:
		var up *group
		if e.Host != "" {
			up = groupOf(x.hosts, e.Host)
		} else if e.Site != "" {
			up = groupOf(x.sites, e.Site)
		}
		scope := scopeOf(e.Site != "", e.Host != "")
		f := fine{mark: m, up: up, kind: uint8(scope)}
		x.scopes[scope] += x.put(x.hashTag(scope, e.Site, []byte(e.Host), e.Tag), f)
	}
	x.bound()
}

// put raises a fine mark and returns 1 if it is new.
func (x *index) put(key uint64, f fine) int {
	if f.up != nil {
		f.up.last = max(f.up.last, f.newest())
	}
	if have := x.fine[key]; have != nil {
		have.raise(f.mark)
		return 0
	}
	x.fine[key] = &f
	return 1
}

// lookup is the newest mark of all that names the object.
func (x *index) lookup(o *Object) mark {
	m := x.all
	if g := x.sites[o.Site]; g != nil {
		m.raise(g.mark)
	}
	if g := x.hosts[string(o.Host)]; g != nil {
		m.raise(g.mark)
		if len(g.lens) > 0 {
			x.lookupPrefixes(&m, g, o)
		}
	}
	if x.urls > 0 {
		if f := x.fine[x.hashURL(o.Site, o.URL)]; f != nil {
			m.raise(f.mark)
		}
	}
	for scope, n := range x.scopes {
		if n == 0 {
			continue
		}
		for _, tag := range o.Tags {
			if f := x.fine[x.hashTag(scope, o.Site, o.Host, tag)]; f != nil {
				m.raise(f.mark)
			}
		}
	}
	return m
}

// lookupPrefixes hashes the path once, stopping at each length that was purged.
func (x *index) lookupPrefixes(m *mark, g *group, o *Object) {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteByte('p')
	h.Write(o.Host)
	h.WriteByte(0)
	done := 0
	for _, n := range g.lens {
		if n > len(o.Path) {
			return
		}
		h.Write(o.Path[done:n])
		done = n
		if f := x.fine[h.Sum64()]; f != nil {
			m.raise(f.mark)
		}
	}
}

func (x *index) hashPrefix(host, path string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteByte('p')
	h.WriteString(host)
	h.WriteByte(0)
	h.WriteString(path)
	return h.Sum64()
}

func (x *index) hashURL(site string, url []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteByte('u')
	h.WriteString(site)
	h.WriteByte(0)
	h.Write(url)
	return h.Sum64()
}

func scopeOf(site, host bool) int {
	scope := 0
	if site {
		scope |= 1
	}
	if host {
		scope |= 2
	}
	return scope
}

func (x *index) hashTag(scope int, site string, host []byte, tag string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteByte('t')
	h.WriteByte(byte(scope))
	if scope&1 != 0 {
		h.WriteString(site)
		h.WriteByte(0)
	}
	if scope&2 != 0 {
		h.Write(host)
		h.WriteByte(0)
	}
	h.WriteString(tag)
	return h.Sum64()
}

// hostOf is the host of a URL as site.Key writes it.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// bound folds the older half where there is too much of something.
func (x *index) bound() {
	if len(x.fine) > x.max {
		x.foldFine(x.median(func(yield func(Epoch)) {
			for _, f := range x.fine {
				yield(f.newest())
			}
		}))
	}
	if len(x.sites)+len(x.hosts) > x.max {
		x.foldGroups(x.median(func(yield func(Epoch)) {
			for _, in := range []map[string]*group{x.sites, x.hosts} {
				for _, g := range in {
					yield(g.last)
				}
			}
		}))
	}
}

func (x *index) median(each func(func(Epoch))) Epoch {
	var ids []Epoch
	each(func(e Epoch) { ids = append(ids, e) })
	slices.Sort(ids)
	return ids[len(ids)/2]
}

// foldFine turns fine marks up to an epoch into those of their host or site.
func (x *index) foldFine(until Epoch) {
	x.folds++
	for key, f := range x.fine {
		if f.newest() > until {
			continue
		}
		if f.up != nil {
			f.up.raise(f.mark)
		} else {
			x.all.raise(f.mark)
		}
		delete(x.fine, key)
	}
	x.recount()
}

// foldGroups turns the marks of hosts and sites up to an epoch, and what is
// finer in them, into one of everything.
func (x *index) foldGroups(until Epoch) {
	x.folds++
	gone := map[*group]bool{}
	for _, in := range []map[string]*group{x.sites, x.hosts} {
		maps.DeleteFunc(in, func(_ string, g *group) bool {
			if g.last > until {
				return false
			}
			x.all.raise(g.mark)
			gone[g] = true
			return true
		})
	}
	maps.DeleteFunc(x.fine, func(_ uint64, f *fine) bool {
		if f.up == nil || !gone[f.up] {
			return false
		}
		x.all.raise(f.mark)
		return true
	})
	x.recount()
}

// forget drops what names only objects that do not exist any more.
func (x *index) forget(oldest Epoch) {
	used := map[*group]bool{}
	maps.DeleteFunc(x.fine, func(_ uint64, f *fine) bool {
		if f.newest() <= oldest {
			return true
		}
		used[f.up] = true
		return false
	})
	for _, in := range []map[string]*group{x.sites, x.hosts} {
		maps.DeleteFunc(in, func(_ string, g *group) bool { return g.newest() <= oldest && !used[g] })
	}
	x.recount()
}

// recount sets up anew what is counted of the fine marks.
func (x *index) recount() {
	x.urls, x.scopes = 0, [4]int{}
	for _, g := range x.hosts {
		g.lens = nil
	}
	for _, f := range x.fine {
		switch f.kind {
		case fineURL:
			x.urls++
		case finePrefix:
			f.up.lens = append(f.up.lens, f.length)
		default:
			x.scopes[f.kind]++
		}
	}
	for _, g := range x.hosts {
		slices.Sort(g.lens)
		g.lens = slices.Clip(slices.Compact(g.lens))
	}
}
