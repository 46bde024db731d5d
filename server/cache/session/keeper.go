package session

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/front"
)

// Conn is a client's connection; *front.Conn is one.
type Conn interface {
	ID() uint64
	Out() int64      // bytes taken by the kernel
	Requests() int64 // that it has brought
	Info() (front.TCPInfo, bool)
	Proto() string
	Streams() int            // of HTTP/2 that are open, with that of the request
	Pace(rate float64) error // bytes a second; 0: as fast as it goes
}

// Every is how often answers under way are looked at.
const Every = 250 * time.Millisecond

// idle is after which time without a request a session is over.
const idle = 2 * time.Minute

const shards = 16

// Keeper keeps the sessions. Its methods may be called from anywhere.
type Keeper struct {
	seed   maphash.Seed
	clock  func() time.Time
	most   atomic.Int64
	count  atomic.Int64
	shards [shards]shard
	totals totals
}

type shard struct {
	sync.Mutex
	m      map[key]*Session
	active map[*Transfer]struct{}
}

// key tells clients and streams apart; stream is a digest.
type key struct {
	client netip.Addr
	stream uint64
}

// Session is one client and one stream.
type Session struct {
	key    key
	client netip.Addr
	site   string
	stream string // for people

	mu      sync.Mutex
	s       redirect.Session
	named   bool   // by the client (CMCD sid)
	conn    uint64 // whose it is, if it is not named
	seen    time.Time
	latest  *Transfer
	best    float64       // bytes a second that the path was seen to carry
	window  uint32        // the largest offered
	held    time.Duration // by that window, in all, at the last look
	watched time.Time     // when that was; zero: there was none on this connection
	dry     bool          // the buffer's lower bound has come down to nothing
	flows   bool          // bytes were acknowledged between the last two looks
	full    time.Time     // when the buffer was last
	era     int           // counts seeks
	last    redirect.Verdict
	moved   bool // it was redirected before
}

// New makes a Keeper that keeps nothing yet; clock is time.Now where it is nil.
func New(clock func() time.Time) *Keeper {
	if clock == nil {
		clock = time.Now
	}
	k := &Keeper{seed: maphash.MakeSeed(), clock: clock}
	for i := range k.shards {
		k.shards[i].m, k.shards[i].active = map[key]*Session{}, map[*Transfer]struct{}{}
	}
	return k
}

// Set bounds the sessions.
func (k *Keeper) Set(most int) { k.most.Store(int64(most)) }

// Run looks after answers under way until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	swept := k.clock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		k.look()
		if now := k.clock(); now.Sub(swept) > idle/4 {
			swept = now
			k.sweep(now)
		}
	}
}

// look looks at all answers under way.
func (k *Keeper) look() {
	for i := range k.shards {
		sh := &k.shards[i]
		sh.Lock()
		all := make([]*Transfer, 0, len(sh.active))
		for t := range sh.active {
			all = append(all, t)
		}
		sh.Unlock()
		for _, t := range all {
			if t.look(k.clock()) {
				sh.Lock()
				delete(sh.active, t)
				sh.Unlock()
			}
		}
	}
}

// sweep forgets sessions that are over.
func (k *Keeper) sweep(now time.Time) {
	for i := range k.shards {
		sh := &k.shards[i]
		sh.Lock()
		for id, s := range sh.m {
			if s.over(now) {
				delete(sh.m, id)
				k.count.Add(-1)
			}
		}
		sh.Unlock()
	}
}

func (s *Session) over(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.seen) > idle && (s.latest == nil || s.latest.done)
}

// find gives the session of a request; nil where there is none and may is false.
func (k *Keeper) find(a *Ask, may bool) *Session {
	id := key{a.Client, k.digest(a)}
	sh := &k.shards[id.stream%shards]
	sh.Lock()
	defer sh.Unlock()
	if s := sh.m[id]; s != nil || !may {
		return s
	}
	if k.count.Load() >= k.most.Load() && !k.forget(sh) {
		return nil
	}
	s := &Session{key: id, client: a.Client, site: a.Site, stream: streamOf(a.Request.Name), seen: a.Request.At}
	sh.m[id] = s
	k.count.Add(1)
	return s
}

// forget makes room for one more: of some, the session that was heard of least
// lately goes.
func (k *Keeper) forget(sh *shard) bool {
	var oldest *Session
	var since time.Time
	n := 0
	for _, s := range sh.m {
		s.mu.Lock()
		at := s.seen
		s.mu.Unlock()
		if oldest == nil || at.Before(since) {
			oldest, since = s, at
		}
		if n++; n == 16 {
			break
		}
	}
	if oldest == nil {
		return false
	}
	delete(sh.m, oldest.key)
	k.count.Add(-1)
	k.totals.forgotten.Add(1)
	return true
}

// digest is of what tells the streams of a client apart: the site, the path but
// for its numbers, the program, and the session that it names.
func (k *Keeper) digest(a *Ask) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	for _, s := range [...]string{a.Site, a.Agent, a.Request.CMCD.Session} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	number := false
	for i := range len(a.Request.Name) {
		c := a.Request.Name[i]
		if digit := c >= '0' && c <= '9'; !digit {
			h.WriteByte(c)
		} else if !number {
			h.WriteByte('0')
		}
		number = c >= '0' && c <= '9'
	}
	return h.Sum64()
}

// streamOf is how a stream is shown.
func streamOf(name string) string { return name[:min(len(name), 128)] }

// State is one session, for people.
type State struct {
	Client   netip.Addr
	Site     string
	Object   string        // the first that was asked for
	Need     float64       // bytes a second that the stream takes at most; 0: not known
	Buffer   time.Duration // that the client has at least
	Path     float64       // bytes a second that the path was seen to carry
	Pace     float64       // bytes a second that it is held to; 0: none
	Last     string        // what was done with its last request,
	Why      string        // and why
	Seen     time.Time
	Starving bool
}

// Sessions are those that are running, the one that was heard of last first, at
// most so many.
func (k *Keeper) Sessions(most int) (out []State) {
	for i := range k.shards {
		sh := &k.shards[i]
		sh.Lock()
		for _, s := range sh.m {
			out = append(out, s.state(k.clock()))
		}
		sh.Unlock()
	}
	slices.SortFunc(out, func(a, b State) int { return b.Seen.Compare(a.Seen) })
	return out[:min(len(out), most)]
}

func (s *Session) state(now time.Time) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		Client: s.client, Site: s.site, Object: s.stream, Need: s.s.Media.Need(), Buffer: s.s.BufferAt(now), Path: s.best,
		Last: s.last.Do.String(), Why: s.last.Why, Seen: s.seen, Starving: s.dry,
	}
	if s.latest != nil {
		st.Pace = s.latest.rate
	}
	return st
}
