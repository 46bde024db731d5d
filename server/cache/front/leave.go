package front

import (
	"maps"
	"net/netip"
)

// Leave names the local addresses whose route is on its way elsewhere, all of them at a time. Connections to those end with
// the response they have at work, or the next one, by Connection: close (RFC 9112 §9.6) or GOAWAY (RFC 9113 §6.8); those of
// HTTP/1.1 that wait for another request are closed now. Who still connects is served, unless Refuse says otherwise, and let go in the same way. nil: all
// is as usual again. It may be called at any time; after Drain it means nothing.
func (f *Front) Leave(addrs []netip.Addr) {
	set := setOf(addrs)
	old := f.leaving.Swap(&set)
	if len(set) == 0 || old != nil && maps.Equal(*old, set) {
		return
	}
	for c := range f.Conns() {
		if f.leaves(c) && c.requests.Load() > 0 { // others have just come, and have a request on its way
			c.interrupt()
		}
	}
}

// leaves says whether the address that c is connected to is being left.
func (f *Front) leaves(c *Conn) bool {
	set := f.leaving.Load()
	return set != nil && len(*set) > 0 && (*set)[c.local.Addr().Unmap().WithZone("")]
}

// letsGo says whether c is to end with the response it has at work.
func (f *Front) letsGo(c *Conn) bool { return f.draining.Load() || f.leaves(c) }

// woken says whether c is not to wait for another request.
func (f *Front) woken(c *Conn) bool {
	return f.draining.Load() || c.requests.Load() > 0 && f.leaves(c)
}
