package resync

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/jump"
)

// Socket is a connection's, such as a syscall.RawConn or a connection of the
// cache server. Control fails once it is closed.
type Socket interface {
	Control(func(fd uintptr)) error
}

// Jumper gives sockets their window (jump.Jumper).
type Jumper interface {
	Apply(fd int, h jump.Hint) error
}

// Reasons not to jump beside those of package careful.
const (
	Off     careful.Reason = "off"      // for this address
	NoMeans careful.Reason = "no-means" // of this kernel, or with our rights
	Shared  careful.Reason = "shared"   // another stream of its connection went on before, and that has jumped as far as all may
)

// Resume is called by a server that is about to answer a request, before the
// first byte of the body. Where the request goes on with a flow of another
// POP, its checkpoint is used up, and the connection may jump; that is
// followed to its end in the background. says is what the client states of its
// own connection. It returns what was known, and false where nothing was.
func (r *Resync) Resume(conn Socket, a checkpoint.Ask, says careful.Stated) (checkpoint.Known, bool) {
	now := time.Now()
	known, ok := r.opt.Book.Take(a, now)
	j := Jump{At: now, From: careful.FromClient, Client: a.Client}
	switch {
	case ok && known.POP != r.opt.POP:
		r.count(func(c *Counts) { c.Resumed++ })
		j.From = known.POP
		j.Ticket = careful.Ticket{Rate: known.Rate, RTT: known.RTT, At: known.At, ClientLimited: known.ClientLimited}
	case !r.opt.Hear || says.Rate == 0:
		return checkpoint.Known{}, false
	default:
		known, ok = checkpoint.Known{}, false
	}
	switch {
	case known.Spent:
		j.Refused = Shared
	case r.opt.Jumps != nil && !r.opt.Jumps(a.VIP):
		j.Refused = Off
	case r.opt.Jumper == nil || conn == nil:
		j.Refused = NoMeans
	}
	switch {
	case j.Refused == careful.Allowed:
		r.begin(conn, j, says)
	case ok && j.Refused == NoMeans && conn != nil && r.opt.Initial != nil && r.opt.Initial(j.Client) > 0:
		r.beginByRoute(conn, j)
	case ok: // of what a client says alone there is nothing to tell then
		r.tell(j, nil)
	}
	return known, ok
}

// begin lets a flow jump as far as it may.
func (r *Resync) begin(conn Socket, j Jump, says careful.Stated) {
	between := careful.Between{From: j.From, To: r.opt.POP, Net: careful.NetOf(j.Client)}
	before, err := look(conn)
	if err != nil {
		r.tell(j, err)
		return
	}
	j.Path = before.path()
	j.Path.Measures = measures(conn)
	if r.opt.Hear {
		j.Ticket = r.opt.Limits.Hear(j.Ticket, says, j.Path, j.At)
	}
	r.mu.Lock()
	j.Part, j.Path.Least = r.earned.Part(between, j.At), r.earned.Least(between, j.Path.RTT, j.At)
	j.Jump, j.Refused = r.opt.Limits.Plan(j.Ticket, j.Path, j.Part, j.At)
	ctx := r.ctx
	goes := j.Refused == careful.Allowed && ctx != nil && r.watched < maxWatched
	if goes {
		r.watched++
		r.earned.Begin(between, j.At)
		r.life.Add(1)
	}
	r.mu.Unlock()
	switch {
	case j.Refused != careful.Allowed:
		r.tell(j, nil)
	case !goes:
		r.tell(j, ErrNotRunning)
	default:
		r.jump(ctx, conn, j, between, before)
	}
}

// usual is the window that a flow begins with, in segments (RFC 6928).
const usual = 10

// beginByRoute looks after a flow that begins with the window of a route, so that
// it is known how that ended. Nothing is done to it and nothing is learned: the
// route is for all flows of the network. A connection that is older than the
// route begins as usual.
func (r *Resync) beginByRoute(conn Socket, j Jump) {
	before, err := look(conn)
	if err != nil || before.Snd_cwnd <= usual {
		r.tell(j, err)
		return
	}
	j.Path, j.Refused, j.Route = before.path(), careful.Allowed, true
	j.Jump = careful.Jump{Window: j.Path.Window}
	r.mu.Lock()
	ctx := r.ctx
	goes := ctx != nil && r.watched < maxWatched
	if goes {
		r.watched++
		r.life.Add(1)
	}
	r.mu.Unlock()
	if !goes {
		r.tell(j, ErrNotRunning)
		return
	}
	go func() {
		defer r.life.Done()
		phase, err := r.follow(ctx, conn, careful.NewWatch(j.Jump, before.info(), j.At), nil)
		r.mu.Lock()
		r.watched--
		r.mu.Unlock()
		j.Ended, j.Took = phase, time.Since(j.At)
		r.tell(j, err)
	}()
}

func (r *Resync) tell(j Jump, err error) {
	j.Err = err
	r.count(func(c *Counts) { c.jump(&j) })
	if r.opt.OnJump != nil {
		r.opt.OnJump(j)
	}
}

// jump makes a flow jump and follows it.
func (r *Resync) jump(ctx context.Context, conn Socket, j Jump, between careful.Between, before sample) {
	err := r.apply(conn, jump.Hint{Window: j.Jump.Window, Rate: j.Jump.Rate})
	if err != nil {
		r.done(j, between, careful.End{Phase: careful.Ended}, err)
		r.life.Done()
		return
	}
	go func() {
		defer r.life.Done()
		w := careful.NewWatch(j.Jump, before.info(), j.At)
		phase, err := r.follow(ctx, conn, w, r.act)
		r.done(j, between, careful.End{Phase: phase, Part: j.Jump.Part, Proved: w.Proved()}, err)
	}()
}

// done keeps what was learned of a jump and tells of it.
func (r *Resync) done(j Jump, between careful.Between, how careful.End, err error) {
	now := time.Now()
	r.mu.Lock()
	r.watched--
	r.earned.End(between, how, now)
	r.mu.Unlock()
	j.Ended, j.Took = how.Phase, now.Sub(j.At)
	r.tell(j, err)
}

func (r *Resync) apply(conn Socket, h jump.Hint) (err error) {
	if e := conn.Control(func(fd uintptr) { err = r.opt.Jumper.Apply(int(fd), h) }); e != nil {
		return e
	}
	return err
}

// follow looks at a flow that has jumped until it is known how that ended, a
// few times a round trip; one that was closed meanwhile has ended. act does what
// a look says; nil: nothing is done.
func (r *Resync) follow(ctx context.Context, conn Socket, w *careful.Watch, act func(Socket, careful.Action, uint64) error) (careful.Phase, error) {
	measures := measures(conn)
	for {
		s, err := look(conn)
		if err != nil {
			return phaseAtEnd(w), nil
		}
		now, i := time.Now(), s.info()
		i.Measures = measures
		a, done := w.Look(i, now)
		if act != nil {
			err = act(conn, a, uint64(s.Snd_mss))
		}
		if err != nil || done {
			return phaseAtEnd(w), err
		}
		select {
		case <-ctx.Done():
			return phaseAtEnd(w), nil
		case <-time.After(w.Next(s.rtt(), now)):
		}
	}
}

// measures reports whether a flow's congestion control knows no threshold of
// slow start: it sets its window by what it measures.
func measures(conn Socket) bool {
	var name string
	_ = conn.Control(func(fd uintptr) { name, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
	return strings.HasPrefix(name, "bbr")
}

// act does to a flow what a look at it has said. The pace goes first: a
// congestion control that is selected again begins within its bound.
func (r *Resync) act(conn Socket, a careful.Action, mss uint64) error {
	if err := r.pace(conn, a); err != nil {
		return err
	}
	if a.Window > 0 || a.Threshold > 0 {
		h := jump.Hint{Threshold: max(a.Window, a.Threshold, 2*mss)}
		if a.Window > 0 {
			h.Window = max(a.Window, mss)
		}
		return r.apply(conn, h)
	}
	if a.Only > 0 {
		return r.apply(conn, jump.Hint{Window: a.Only})
	}
	return nil
}

// pace bounds the pace of a flow, or lifts the bound.
func (r *Resync) pace(conn Socket, a careful.Action) error {
	rate := a.Rate
	switch {
	case a.Lift:
		rate = 0
	case rate == 0:
		return nil
	}
	var err error
	if e := conn.Control(func(fd uintptr) { err = jump.Pace(int(fd), rate) }); e != nil {
		return nil // it was closed
	}
	return err
}

// phaseAtEnd is what is learned when nothing more can be seen.
func phaseAtEnd(w *careful.Watch) careful.Phase {
	if p := w.Phase(); p != careful.Unvalidated {
		return p
	}
	return careful.Ended
}

// sample is a look at a socket.
type sample struct{ *unix.TCPInfo }

func look(conn Socket) (s sample, err error) {
	if e := conn.Control(func(fd uintptr) { s.TCPInfo, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil {
		return s, e
	}
	return s, err
}

func (s sample) rtt() time.Duration { return time.Duration(s.Rtt) * time.Microsecond }

func (s sample) path() careful.Path {
	mss := uint64(s.Snd_mss)
	return careful.Path{RTT: s.rtt(), Window: uint64(s.Snd_cwnd) * mss, MSS: mss, Retrans: s.Total_retrans}
}

func (s sample) info() careful.Info {
	mss := uint64(s.Snd_mss)
	return careful.Info{Acked: s.Bytes_acked, Delivered: uint64(s.Delivered) * mss, Window: uint64(s.Snd_cwnd) * mss, Out: uint64(s.Unacked) * mss, Retrans: s.Total_retrans, Lost: s.Lost, RTT: s.rtt(), Rate: s.Delivery_rate}
}
