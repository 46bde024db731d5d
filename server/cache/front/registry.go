package front

import (
	"iter"
	"net/netip"
	"sync"
	"sync/atomic"
)

const shards = 16

// registry holds the live connections and counts them by client.
type registry struct {
	all              atomic.Int64
	most, mostClient atomic.Int64 // connections there may be, of all and of one client; 0: any number
	last             atomic.Uint64
	conns            [shards]connShard
	clients          [shards]clientShard
	here             tally
}

type connShard struct {
	sync.Mutex
	m map[uint64]*Conn
}

type clientShard struct {
	sync.Mutex
	m map[netip.Addr]int
}

func newRegistry() *registry {
	r := new(registry)
	for i := range shards {
		r.conns[i].m = make(map[uint64]*Conn)
		r.clients[i].m = make(map[netip.Addr]int)
	}
	return r
}

func (r *registry) len() int { return int(max(r.all.Load(), 0)) }

// client is what connections are counted by: an IPv4 address, or the /64 of an IPv6 one.
func client(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.Addr()
	}
	return a
}

func clientShardOf(a netip.Addr) int {
	b := a.As16()
	return int(b[15]^b[14]^b[7]^b[6]^b[5]) % shards
}

// admit counts one more connection of a: over says which limit it would exceed, and then it is not counted.
type over uint8

const (
	overNone over = iota
	overAll
	overClient
)

func (r *registry) admit(a netip.Addr) over {
	r.here.enter()
	if n, most := r.all.Add(1), r.most.Load(); most > 0 && n > most {
		r.leave()
		return overAll
	}
	a = client(a)
	s := &r.clients[clientShardOf(a)]
	s.Lock()
	defer s.Unlock()
	if most := r.mostClient.Load(); most > 0 && s.m[a] >= int(most) {
		r.leave()
		return overClient
	}
	s.m[a]++
	return overNone
}

// add notes an admitted connection and gives it its id.
func (r *registry) add(c *Conn) {
	c.id = r.last.Add(1)
	s := &r.conns[c.id%shards]
	s.Lock()
	s.m[c.id] = c
	s.Unlock()
}

// remove takes c out.
func (r *registry) remove(c *Conn) {
	s := &r.conns[c.id%shards]
	s.Lock()
	_, ok := s.m[c.id]
	delete(s.m, c.id)
	s.Unlock()
	if ok {
		r.release(c.remote.Addr())
	}
}

// release gives back what admit counted.
func (r *registry) release(a netip.Addr) {
	a = client(a)
	s := &r.clients[clientShardOf(a)]
	s.Lock()
	if s.m[a]--; s.m[a] <= 0 {
		delete(s.m, a)
	}
	s.Unlock()
	r.leave()
}

func (r *registry) leave() {
	r.all.Add(-1)
	r.here.leave()
}

// none gives a channel that is closed when no connection is left.
func (r *registry) none() <-chan struct{} { return r.here.none() }

// each walks all connections; those that come or go meanwhile may be seen or not.
func (r *registry) each() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for i := range r.conns {
			s := &r.conns[i]
			s.Lock()
			list := make([]*Conn, 0, len(s.m))
			for _, c := range s.m {
				list = append(list, c)
			}
			s.Unlock()
			for _, c := range list {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// Conns walks the live connections.
func (f *Front) Conns() iter.Seq[*Conn] { return f.reg.each() }

// tally counts what runs and tells when nothing does.
type tally struct {
	mu    sync.Mutex
	n     int
	empty chan struct{}
}

func (t *tally) enter() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tally) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// none gives a channel that is closed when nothing runs.
func (t *tally) none() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	done := t.empty
	if t.n == 0 {
		close(t.empty)
		t.empty = nil
	}
	return done
}
