package site

import (
	"crypto/subtle"
	"net/http"
	"net/netip"
	"slices"
)

// edits are HeaderEdits with canonical names.
type edits struct {
	remove   []string
	set, add []Header
}

func newEdits(e *HeaderEdits) edits {
	var out edits
	for _, name := range e.Remove {
		out.remove = append(out.remove, http.CanonicalHeaderKey(name))
	}
	for _, h := range e.Set {
		out.set = append(out.set, Header{http.CanonicalHeaderKey(h.Name), h.Value})
	}
	for _, h := range e.Add {
		out.add = append(out.add, Header{http.CanonicalHeaderKey(h.Name), h.Value})
	}
	return out
}

func (e *edits) any() bool { return len(e.remove)+len(e.set)+len(e.add) > 0 }

func (e *edits) apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	for i := range e.set {
		h[e.set[i].Name] = []string{e.set[i].Value}
	}
	for i := range e.add {
		h[e.add[i].Name] = append(h[e.add[i].Name], e.add[i].Value)
	}
}

// EditRequest changes the header of a request to the origin as the site says.
// It is done after the key was made.
func (s *Site) EditRequest(h http.Header) { s.request.apply(h) }

// EditResponse changes the header of a response to the client: targeted fields
// go first where the policy keeps them from clients. What is stored is not
// changed by it.
func (s *Site) EditResponse(h http.Header) {
	s.policy.Strip(h)
	s.answer.apply(h)
}

// EditsResponse reports whether EditResponse does anything.
func (s *Site) EditsResponse() bool { return s.policy.StripTargeted || s.answer.any() }

// access is Access with its token read.
type access struct {
	networks []netip.Prefix
	token    []byte
}

func (a *access) allows(client netip.Addr, token string) bool {
	if len(a.token) > 0 && subtle.ConstantTimeCompare(a.token, []byte(token)) == 1 {
		return true
	}
	return inside(a.networks, client)
}

func inside(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}
