package site

import (
	"bytes"
	"slices"
	"strings"
)

// ViaParameter is the last parameter of the query of a URL that a client was
// redirected to: who sent it, and a mark of the redirect. It is in no key and
// goes to no origin, at sites with steer.targets.
const ViaParameter = "catchment-via"

// maxVia bounds its value.
const maxVia = 128

// Via reads it: the POP that has sent the client, and the redirect's mark. Empty:
// nobody has.
func Via(query []byte) (pop, mark string) {
	for len(query) > 0 {
		var text []byte
		text, query, _ = bytes.Cut(query, []byte("&"))
		value, ok := bytes.CutPrefix(text, []byte(ViaParameter+"="))
		if !ok || len(value) > maxVia {
			continue
		}
		at := bytes.LastIndexByte(value, '.')
		if at <= 0 || !tokenText(string(value[:at])) || !tokenText(string(value[at+1:])) {
			continue
		}
		return string(value[:at]), string(value[at+1:])
	}
	return "", ""
}

// WithVia is a query with it; what another POP has put there goes.
func WithVia(query, pop, mark string) string {
	var keep []string
	for text := range strings.SplitSeq(query, "&") {
		if text != "" && !strings.HasPrefix(text, ViaParameter+"=") {
			keep = append(keep, text)
		}
	}
	return strings.Join(append(keep, ViaParameter+"="+pop+"."+mark), "&")
}

// steer judges the section.
func (p *problems) steer(c *Config) {
	s := &c.Steer
	switch {
	case s.Redirect && !s.Pace:
		p.add("steer.redirect", "without steer.pace: a client is paced before it is redirected, which is often enough")
	case (s.Redirect || s.MoveSlow) && len(s.Targets) == 0:
		p.add("steer.targets", "not set: to which POPs?")
	}
	if s.Above < 0 || s.Above >= 1 {
		p.add("steer.above", "%v: want a share of the POP's capacity, 0 or more and below 1", s.Above)
	}
	if s.Reattach < 0 || s.Buffer < 0 || s.PacedFor < 0 || s.Least < 0 {
		p.add("steer", "a time or a size below zero")
	}
	if len(s.Targets) > 0 && c.Key.Host == "" {
		p.add("key.host", "not set: with steer.targets the hosts of this site have to share their objects, or the POP that a client is sent to would ask the origin for another host")
	}
	var pops []string
	for i, t := range s.Targets {
		q := at("steer.targets", i)
		if t.POP == "" || !tokenText(t.POP) {
			p.add(q+".pop", "%q: want the name of a POP", t.POP)
		} else if slices.Contains(pops, t.POP) {
			p.add(q+".pop", "%q is there twice", t.POP)
		}
		pops = append(pops, t.POP)
		p.steerHost(c, q+".host", t)
	}
}

// steerHost refuses a host that the POP would not serve: it has the same sites.
func (p *problems) steerHost(c *Config, path string, t SteerTarget) {
	name, port, ok := splitHost(nil, []byte(t.Host))
	if !ok {
		p.add(path, "%q: want the host that leads to %s alone", t.Host, t.POP)
		return
	}
	fits := slices.ContainsFunc(c.Hosts, func(h string) bool {
		want, ok := parsePattern(h)
		return ok && want.fits(string(name)) && (want.port == 0 || want.port == port)
	})
	if !fits {
		p.add(path, "%q is none of this site's hosts: %s would refuse whom we send there", t.Host, t.POP)
	}
	other := slices.ContainsFunc(c.Steer.Targets, func(x SteerTarget) bool { return x.POP != t.POP && strings.EqualFold(x.Host, t.Host) })
	if other {
		p.add(path, "%q is the host of two POPs", t.Host)
	}
}

// fits reports whether a name is one that the pattern means.
func (p pattern) fits(name string) bool {
	if !p.wild {
		return p.before == name
	}
	return len(name) > len(p.before)+len(p.after) && strings.HasPrefix(name, p.before) && strings.HasSuffix(name, p.after)
}
