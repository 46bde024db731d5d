package front

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// streams are the transfers of one HTTP/2 connection.
type streams struct {
	sync.Mutex
	last uint32
	list []streamed
}

// streamed is a transfer and who will say that it is over.
type streamed struct {
	key any
	t   *Transfer
}

// NoteAnswer notes what is about to be sent to w: of HTTP/2 beside what its other streams send, else in the place of what was
// noted before.
func (c *Conn) NoteAnswer(w http.ResponseWriter, t *Transfer) {
	for u := w; ; {
		if x, ok := u.(interface{ Progress() *atomic.Int64 }); ok {
			t.body = x.Progress()
			c.begins(u, t)
			return
		}
		next, ok := u.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			c.Note(t)
			return
		}
		u = next.Unwrap()
	}
}

// begins notes the transfer of a stream until ends is called with the same key.
func (c *Conn) begins(key any, t *Transfer) {
	s := &c.streams
	s.Lock()
	s.last++
	t.Stream = s.last
	if i := s.of(key); i >= 0 {
		s.list[i].t = t
	} else {
		s.list = append(s.list, streamed{key, t})
	}
	s.Unlock()
	c.Note(t)
}

// ends forgets the transfer of a stream, if one was noted.
func (c *Conn) ends(key any) {
	s := &c.streams
	s.Lock()
	defer s.Unlock()
	if i := s.of(key); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

func (s *streams) of(key any) int {
	return slices.IndexFunc(s.list, func(x streamed) bool { return x.key == key })
}

// Transfers are those under way: of HTTP/2 each stream's that is worth naming, else the one at work.
func (c *Conn) Transfers() []*Transfer {
	if c.Proto() != protoH2 {
		if t := c.Transfer(); t != nil {
			return []*Transfer{t}
		}
		return nil
	}
	s := &c.streams
	s.Lock()
	defer s.Unlock()
	out := make([]*Transfer, len(s.list))
	for i := range s.list {
		out[i] = s.list[i].t
	}
	return out
}

// Body is how many bytes of the body went out so far, of a transfer that has a Stream; else 0.
func (t *Transfer) Body() int64 {
	if t.body == nil {
		return 0
	}
	return t.body.Load()
}

// Held is how many bytes that Body counts wait as records of TLS for room in the socket, at most.
func (c *Conn) Held() int {
	c.streams.Lock()
	begun := c.streams.last > 0 // and so what the spill is has long been set
	c.streams.Unlock()
	if !begun || c.sock == nil || c.sock.spill == nil {
		return 0
	}
	if !c.sock.spill.mu.TryLock() { // it is being written, which may take long
		return spillMost
	}
	defer c.sock.spill.mu.Unlock()
	return len(c.sock.spill.buf)
}
