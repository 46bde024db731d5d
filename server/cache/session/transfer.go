package session

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/front"
)

// Ask is one request for a part of a stream.
type Ask struct {
	Site    string
	Client  netip.Addr
	Agent   string // User-Agent
	Conn    Conn
	Request redirect.Request
	Media   redirect.Media // what is known of the stream
	Options *redirect.Options
	// World is what is known beyond the session; it is called at the request and
	// while its answer is under way.
	World func() redirect.World
	// Floor is the least rate that is paced at, in bytes a second.
	Floor float64
	// Paces: connections are held to a pace; else they only would be.
	Paces bool
}

// Transfer is the answer to a request, under way or just sent.
type Transfer struct {
	k *Keeper
	s *Session
	c Conn
	a Ask // its Request is not the session's any more

	outAt    int64 // Conn.Out at the beginning
	requests int64
	slack    int64 // that may wait in our own buffers
	era      int   // of the session

	// Under Session.mu:
	body  int64     // bytes of the answer, once it has ended
	ended time.Time // zero: not yet
	got   int64     // bytes of the body that the session has been told of
	at    time.Time // when it was
	mixed bool      // the connection has, or had meanwhile, other requests
	rate  float64
	held  time.Time // since when it is paced
	done  bool
}

// known is how much of the path that was seen to this POP is believed of the one
// to another, where nothing is known of it.
const known = 0.25

// Decide says what is to be done with a request. Where it is served, and the
// client plays a stream of a known rate, t is its answer's transfer, of which End
// is to be called. Else t is nil.
func (k *Keeper) Decide(a Ask) (v redirect.Verdict, t *Transfer) {
	s := k.find(&a, a.Media.Need() > 0 || a.Request.CMCD.HasBuffer)
	if s == nil { // it plays nothing that we know the rate of, or there is no room
		w := a.World()
		var nobody redirect.Session
		if v = a.Options.Decide(&nobody, &a.Request, &w); v.Do == redirect.Move {
			k.totals.send(v.To, a.Request.Rest())
			k.totals.count(v)
		}
		return v, nil
	}
	v, t = s.decide(k, a)
	k.totals.count(v)
	if t != nil {
		sh := &k.shards[s.key.stream%shards]
		sh.Lock()
		sh.active[t] = struct{}{}
		sh.Unlock()
	}
	return v, t
}

func (s *Session) decide(k *Keeper, a Ask) (v redirect.Verdict, t *Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, w := a.Request.At, a.World()
	s.own(&a, k)
	if s.latest != nil {
		s.latest.settle(now, s.latest.c.Streams()-same(s.latest.c, a.Conn))
	}
	if a.Media.Need() > 0 {
		s.s.Media = a.Media
	}
	if w.Rate <= 0 {
		w.Rate = known * s.best
	}
	if len(a.Request.Via) == 0 { // else the POP that has sent it counts it
		k.totals.hear(&a.Request.CMCD, s.moved)
	}
	v = a.Options.Decide(&s.s, &a.Request, &w)
	s.seen, s.last, s.dry = now, v, false
	if s.s.Begins() {
		s.era++
	}
	if v.Do == redirect.Redirect || v.Do == redirect.Move {
		s.moved = true
		k.totals.send(v.To, a.Request.Rest())
		return v, nil
	}
	t = &Transfer{era: s.era, at: now, k: k, s: s, c: a.Conn, a: a, outAt: a.Conn.Out(), requests: a.Conn.Requests(), slack: heads}
	if a.Conn.Proto() == "h2" {
		t.slack = slack
	}
	// What goes on the wire for other streams is not the player's, and they are
	// not to wait for its pace.
	if t.mixed = a.Conn.Streams() > 1; !t.mixed {
		t.pace(v.Rate, now)
	} else if v.Do == redirect.Pace {
		v.Why += "; not held: the connection has other streams"
		s.last = v
	}
	s.latest = t
	return v, t
}

// own makes the session the client's of a request: one that comes on another
// connection, and does not go on where it stopped, is somebody else.
func (s *Session) own(a *Ask, k *Keeper) {
	id := a.Conn.ID()
	switch {
	case a.Request.CMCD.Session != "":
		s.named = true
	case s.conn != 0 && s.conn != id && !s.s.Goes(&a.Request):
		s.s, s.latest, s.best, s.moved = redirect.Session{}, nil, 0, false
		k.totals.others.Add(1)
	}
	if s.conn != id {
		s.window, s.watched = 0, time.Time{}
	}
	s.conn = id
}

// End notes that no more than these bytes of the body are sent. What is in the
// kernel's buffer still goes at the pace.
func (t *Transfer) End(body int64) {
	if t == nil {
		return
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.body, t.ended = body, t.k.clock()
}

// linger bounds how long a transfer is looked at after its end.
const linger = 2 * time.Minute

// look takes in how far the client is, and sets the pace anew; true: it is over.
func (t *Transfer) look(now time.Time) (over bool) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	info, ok := t.settle(now, t.c.Streams())
	over = !ok || !t.ended.IsZero() && (info.Unacked == 0 && info.NotSent == 0 || now.Sub(t.ended) > linger)
	if t.mixed || s.latest != t {
		t.rate = 0 // the next request has ended the pace; it is not for this answer to begin it again
		t.done = over
		return over
	}
	w := t.a.World()
	t.pace(t.a.Options.Pacing(&s.s, now, &w), now)
	s.starve(t, now)
	t.done = over
	if over {
		t.note(now, 0)
	}
	return over
}

// starve counts clients whose buffer comes down to nothing, as far as we know,
// after it was full, while bytes flow: the harm that pacing may do. One that takes
// nothing has stopped, or is gone.
func (s *Session) starve(t *Transfer, now time.Time) {
	switch b := s.s.Buffer(); {
	case b >= 5*time.Second:
		s.full, s.dry = now, false
	case b <= 0 && !s.full.IsZero() && !s.dry && t.ended.IsZero() && s.flows:
		s.dry, s.full = true, time.Time{}
		t.k.totals.stalls.Add(1)
	}
}

// settle tells the session what the client has acknowledged since the last look.
// Others is how many streams of the connection are open, but for that of a new
// request.
func (t *Transfer) settle(now time.Time, others int) (info front.TCPInfo, ok bool) {
	if t.done {
		return info, false
	}
	s := t.s
	t.mixed = t.mixed || t.c.Requests() != t.requests
	out := t.c.Out()
	if info, ok = t.c.Info(); !ok {
		return info, false
	}
	if r := float64(info.DeliveryRate); r > s.best {
		s.best = r
	}
	acked := t.carried(out, others) - max(0, out-int64(info.BytesAcked))
	n := max(0, acked-t.got)
	t.got += n
	s.flows = n > 0
	switch {
	case s.latest == t:
		s.s.GotSince(n, t.at, now)
		if t.mixed { // the window is not the player's alone
			s.watched = time.Time{}
		} else {
			s.watch(&info, now)
		}
	case s.era == t.era: // else the client has gone elsewhere in the stream since
		s.s.Had(n, now.Sub(t.at))
	}
	if !t.mixed { // else what is found late may have come early
		t.at = now
	}
	return info, ok
}

// same is 1 where a request has come on the same connection.
func same(a, b Conn) int {
	if a.ID() == b.ID() {
		return 1
	}
	return 0
}

// Bounds of what of the bytes on a connection is not the body's.
const (
	heads  = 4 << 10   // of a response head, at most
	frames = 0.99      // of bytes on the wire, in records of TLS and frames of HTTP/2, at least
	slack  = 512 << 10 // of HTTP/2 may wait in our own buffers
)

// carried is how many bytes of the body the kernel has taken, at least.
func (t *Transfer) carried(out int64, others int) int64 {
	wire := int64(frames*float64(out-t.outAt)) - heads
	switch {
	case t.mixed && t.ended.IsZero():
		return 0 // they may be another answer's
	case t.mixed && others == 0:
		return max(0, min(t.body, wire)) // its stream has ended: nothing of it waits in our buffers
	case t.mixed:
		return t.body - t.slack
	case !t.ended.IsZero():
		return max(0, min(t.body, max(wire, t.body-t.slack)))
	}
	return wire
}

// brief is an interval in which the kernel's clocks, which go by its ticks, say
// too little.
const brief = 50 * time.Millisecond

// watch takes in the client's receive window. It counts as shut where it is shut
// now, and held us up (rwnd_limited) for half of the time since the last look or
// more: between two looks it may have been open.
func (s *Session) watch(info *front.TCPInfo, now time.Time) {
	s.window = max(s.window, info.SndWnd)
	shut := s.window > 0 && info.SndWnd < 2*max(info.MSS, 1)
	since, held := now.Sub(s.watched), info.RwndLimited-s.held
	if shut && since < brief {
		return // as before
	}
	if shut = shut && !s.watched.IsZero() && 2*held >= since; shut {
		s.s.Window(true, int64(s.window/2), now)
	} else {
		s.s.Window(false, 0, now)
	}
	s.watched, s.held = now, info.RwndLimited
}

// pace holds the connection to a rate; 0: to none.
func (t *Transfer) pace(rate float64, now time.Time) {
	if rate > 0 {
		rate = max(rate, t.a.Floor)
	}
	if rate == 0 && t.rate == 0 || rate > 0 && t.rate > 0 && rate < 1.05*t.rate && rate > 0.95*t.rate {
		return
	}
	if !t.a.Paces {
		rate = 0
	} else if err := t.c.Pace(rate); err != nil {
		rate = 0
	}
	t.note(now, rate)
}

// note keeps the rate, and counts how long connections are paced.
func (t *Transfer) note(now time.Time, rate float64) {
	if t.rate > 0 {
		t.k.totals.pacedFor.Add(int64(now.Sub(t.held)))
	}
	if t.rate == 0 && rate > 0 {
		t.k.totals.paced.Add(1)
	}
	t.rate, t.held = rate, now
}

// Rate is what the connection is held to, in bytes a second; 0: nothing.
func (t *Transfer) Rate() float64 {
	if t == nil {
		return 0
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.rate
}
