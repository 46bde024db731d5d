package cache

import (
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/site"
)

// Resuming is a request that goes on in the middle of a representation, as a client does whose download broke at another
// POP.
type Resuming struct {
	Conn   *front.Conn // its client's; its socket can be given options
	Digest [32]byte    // of the key
	URL    string      // as in the key; empty where the object depends on more of a request than its URL
	ETag   string      // strong, or empty
	First  int64       // position of the answer's first byte in the representation
	Length int64       // of the answer
	Size   int64       // of the representation
	// Field gives the value of a field of the request, by its name in any case; empty: it is not there. It must not be kept.
	Field func(name string) string
}

// startsAbove is how long an answer from byte 0 on is of which Resume hears where Options.Starts is set.
const startsAbove = 64 << 10

// resumable says whether Resume is to hear of an answer.
func (s *Server) resumable(first, length int64) bool {
	return s.resume != nil && (first > 0 || s.starts && length >= startsAbove)
}

// resumes tells of a plain request that a hit answers, before anything is sent.
func (h *shortHit) resumes(r *front.Request, a *front.Answer, e *entry, first, length int64) {
	if !h.s.resumable(first, length) || a.Status == 304 || a.Status == 416 || r.Head || r.Conn == nil {
		return
	}
	x := Resuming{Conn: r.Conn, Digest: h.id, First: first, Length: length, Size: e.Size(), Field: func(name string) string {
		v, _ := r.Get(strings.ToLower(name))
		return string(v)
	}}
	x.name(h.site, &h.key, e)
	h.s.resume(x)
}

// resumes tells of a request of the general path, before anything is sent.
func (a *answer) resumes(first, length int64) {
	x := a.x
	if !x.s.resumable(first, length) || x.conn == nil || x.r.Method != http.MethodGet {
		return
	}
	r := Resuming{Conn: x.conn, Digest: x.id, First: first, Length: length, Size: a.size, Field: x.r.Header.Get}
	r.name(x.site, &x.key, &a.e)
	x.s.resume(r)
}

// name puts in what the object is called.
func (r *Resuming) name(st *site.Site, k *site.Key, e *entry) {
	if !st.NeedsHeaders() {
		r.URL = string(k.URL)
	}
	if e.valid.ETag.Strong() {
		r.ETag = string(e.valid.ETag)
	}
}

// Reset ends all connections to local addresses at once, by RST (RFC 9293 §3.10.7.4) and not in order: nothing that is in
// their buffers is sent any more, and the client knows that it has to go on elsewhere. It returns how many had a request at
// work.
func (s *Server) Reset(addrs []netip.Addr) (cut int) {
	if s.front == nil {
		return 0
	}
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a.Unmap().WithZone("")] = true
	}
	for c := range s.front.Conns() {
		if !set[c.Local().Addr().Unmap().WithZone("")] {
			continue
		}
		if c.Busy() {
			cut++
		}
		_ = c.Control(func(fd uintptr) { // of one that is closed already nothing is left to reset
			_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
		c.Close()
	}
	return cut
}

// ClientConnections walks the connections of clients: their addresses, ours that they came to, and whether a request is at
// work.
func (s *Server) ClientConnections(yield func(client, local netip.AddrPort, busy bool) bool) {
	if s.front == nil {
		return
	}
	for c := range s.front.Conns() {
		if !yield(c.Remote(), c.Local(), c.Busy()) {
			return
		}
	}
}
