package resync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/jump"
	"github.com/catchment/catchment/server/resync/probe"
)

var (
	vip    = netip.MustParseAddrPort("192.0.2.1:443")
	client = netip.MustParseAddr("203.0.113.9")
	object = checkpoint.Object{URL: [16]byte{1}, ETag: `"v1"`, Size: 100 << 20}
)

// said makes a book in which a POP has said that it has n flows, 10 MB/s each
// and 10 MiB far; the POP talks on until hang is called.
func said(t *testing.T, pop string, n int) (b *checkpoint.Book, hang func()) {
	t.Helper()
	b = checkpoint.NewBook(checkpoint.Options{VIP: func(a netip.Addr) bool { return a == vip.Addr() }})
	return b, talk(b, pop, n)
}

func talk(b *checkpoint.Book, pop string, n int) (hang func()) {
	var flows []checkpoint.Flow
	for i := range n {
		flows = append(flows, checkpoint.Flow{Client: netip.AddrPortFrom(client, uint16(i+1)), VIP: vip, Object: object, Offset: 10 << 20, Rate: 10e6, RTT: 20 * time.Millisecond})
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); b.Read(pop, r, time.Now) }()
	e := checkpoint.NewEncoder()
	w.Write(e.Append(nil, flows))
	w.Write(e.Beat(nil)) // taken after all before it was
	return sync.OnceFunc(func() { w.Close(); <-done })
}

// waker counts whom it would wake.
type waker struct {
	mu      sync.Mutex
	woken   []int
	doubted []int
}

func (w *waker) Wake(f []probe.Flow, _ time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = append(w.woken, len(f))
	return len(f)
}

func (w *waker) Doubt(f []probe.Flow, _ time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doubted = append(w.doubted, len(f))
	return len(f)
}

var quiet = slog.New(slog.DiscardHandler)

// TestTakeover: clients are woken when their POP is silent and the fleet says
// that it is gone, and neither before nor by one of the two alone; then again
// and again until what is known of them is old.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hang := said(t, "LON", 3)
		var gone atomic.Bool
		w := &waker{}
		told := map[int][]Takeover{} // by round
		r := New(Options{
			POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return gone.Load() }, Waker: w, Silent: time.Minute,
			OnTakeover: func(x Takeover) { told[x.Round] = append(told[x.Round], x) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		step := func(what string, change func(), want ...int) {
			t.Helper()
			change()
			time.Sleep(400 * time.Millisecond) // less than the second round
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.Equal(w.woken, want) {
				t.Errorf("%s: woken %v, want %v", what, w.woken, want)
			}
		}
		step("it talks", func() {})
		step("it talks, though others say that it is gone", func() { gone.Store(true) })
		step("its connection is gone, others hear it", func() { gone.Store(false); hang() })
		step("it is gone", func() { gone.Store(true) }, 3)
		step("it is still gone", func() {}, 3, 3)
		step("our route is here, and a client has come, maybe another than its checkpoint is of", func() {
			if _, ok := r.Resume(nil, ask, careful.Stated{}); !ok {
				t.Error("nothing is known of it")
			}
			r.Again()
		}, 3, 3, 3)
		step("it is back", func() { gone.Store(false); hang = talk(b, "LON", 5) }, 3, 3, 3)
		step("and gone again, its connection is there", func() { gone.Store(true) }, 3, 3, 3)
		step("and silent", func() { time.Sleep(time.Minute - time.Second) }, 3, 3, 3)
		cancel()
		if err := <-done; err != nil || len(told[1]) != 1 || told[1][0].POP != "LON" || told[1][0].Woken != 3 || told[1][0].Silent < 1200*time.Millisecond || told[1][0].Silent > 1300*time.Millisecond {
			t.Errorf("%v, told %+v", err, told)
		}
		if c := r.Counts(); c.Takeovers != 1 || c.Woken != 9 {
			t.Errorf("counts %+v", c)
		}
		hang()
	})
}

// TestDoubt: the clients of a POP that is silent and not known to be gone are
// asked once for each silence; those of one that has hung up are not.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hang := said(t, "LON", 3)
		w := &waker{}
		r := New(Options{POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return false }, Waker: w})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		step := func(what string, change func(), want ...int) {
			t.Helper()
			change()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.Equal(w.doubted, want) || len(w.woken) != 0 {
				t.Errorf("%s: asked %v, want %v; woken %v", what, w.doubted, want, w.woken)
			}
		}
		step("it is silent", func() {}, 3)
		step("it is still silent", func() {}, 3)
		hang()
		step("it has spoken again", func() { hang = talk(b, "LON", 2) }, 3, 2)
		step("it has spoken and hung up", func() { hang(); talk(b, "LON", 1)() }, 3, 2)
		cancel()
		if err := <-done; err != nil || r.Counts().Doubts != 2 {
			t.Errorf("%v, %+v", err, r.Counts())
		}
	})
}

// TestLook: what shows that a POP is gone has it looked at now.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hang := said(t, "LON", 1)
		defer hang()
		var gone atomic.Bool
		w := &waker{}
		r := New(Options{POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return gone.Load() }, Waker: w, Every: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(time.Second)
		gone.Store(true)
		r.Look()
		synctest.Wait()
		if !slices.Equal(w.woken, []int{1}) {
			t.Errorf("woken %v", w.woken)
		}
		cancel()
		<-done
	})
}

// TestSilence: a connection that is there and silent is no sign of life, and
// wakening goes on, ever more seldom, until what is known has expired.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hang := said(t, "LON", 5)
		defer hang()
		w := &waker{}
		r := New(Options{POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return true }, Waker: w})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for _, at := range []struct {
			after  time.Duration
			rounds int
		}{{300 * time.Millisecond, 0}, {200 * time.Millisecond, 1}, {500 * time.Millisecond, 2}, {time.Second, 3}, {time.Minute, 11}, {time.Hour, 11}} {
			time.Sleep(at.after)
			synctest.Wait()
			w.mu.Lock()
			if n := len(w.woken); n != at.rounds {
				t.Errorf("%v later: %d rounds, want %d", at.after, n, at.rounds)
			}
			w.mu.Unlock()
		}
		cancel()
		<-done
	})
}

// jumper notes what sockets would get.
type jumper struct {
	mu    sync.Mutex
	hints []jump.Hint
	err   error
}

func (j *jumper) Apply(fd int, h jump.Hint) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hints = append(j.hints, h)
	return j.err
}

// connect is a connection to ourselves: its server's socket, and its client.
func connect(t *testing.T) (server *net.TCPConn, raw syscall.RawConn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	server = c.(*net.TCPConn)
	if raw, err = server.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return server, raw, peer
}

var ask = checkpoint.Ask{Client: client, VIP: vip.Addr(), Object: object, Offset: 11 << 20}

// TestResume: a request that fits a checkpoint jumps by what its connection
// and the checkpoint say, once, and how it ended is told.
func TestResume(t *testing.T) {
	b, hang := said(t, "LON", 1)
	defer hang()
	j, told := &jumper{}, make(chan Jump, 10)
	// On loopback the round trip is microseconds: a rate that gives a window
	// worth a jump would be absurd, so the limit of the rate is lifted, and
	// what is asked for is a part of it.
	r := New(Options{POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return false }, Jumper: j, OnJump: func(x Jump) { told <- x }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	server, raw, peer := connect(t)
	known, ok := r.Resume(raw, ask, careful.Stated{})
	if !ok || known.POP != "LON" || known.Offset != 10<<20 {
		t.Fatalf("%+v %v", known, ok)
	}
	if got := <-told; got.Refused != careful.NoGain || got.From != "LON" || got.Part != 0.5 || got.Ticket.Rate < 9e6 || got.Path.RTT <= 0 || got.Path.MSS == 0 {
		t.Errorf("told %+v", got)
	}
	if _, ok := r.Resume(raw, ask, careful.Stated{}); ok {
		t.Error("a checkpoint is used twice")
	}

	// The same with a longer path, by the numbers.
	var w *careful.Watch
	go io.Copy(io.Discard, peer)
	server.Write(bytes.Repeat([]byte("x"), 2<<20))
	for stop := time.Now().Add(20 * time.Second); ; {
		s, err := look(raw)
		if err != nil || time.Now().After(stop) {
			t.Fatal(err, s)
		}
		if s.info().Acked >= 2<<20 {
			w = careful.NewWatch(careful.Jump{Window: 1 << 20, Rate: 5e6}, careful.Info{Retrans: s.info().Retrans}, time.Now())
			break
		}
		time.Sleep(time.Millisecond)
	}
	if phase, err := r.follow(ctx, raw, w, r.act); phase != careful.Validated || err != nil {
		t.Errorf("%v, %v", phase, err)
	}
	if paced, err := pace(raw); err != nil || paced != ^uint64(0) {
		t.Errorf("the pace is %d, %v", paced, err)
	}
	server.Close()
	if phase, err := r.follow(ctx, raw, careful.NewWatch(careful.Jump{Window: 1 << 40}, careful.Info{}, time.Now()), r.act); phase != careful.Ended || err != nil {
		t.Errorf("of a closed socket: %v, %v", phase, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestByRoute: where a route gives flows their window, it is told how each that
// had it has ended, and nothing is done to it; one that began as usual is told
// of as such.
func TestByRoute(t *testing.T) {
	b, hang := said(t, "LON", 2)
	defer hang()
	told := make(chan Jump, 10)
	r := New(Options{POP: "FRA", Log: quiet, Book: b, Initial: func(netip.Addr) int { return 60 }, OnJump: func(x Jump) { told <- x }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	server, raw, peer := connect(t)
	go io.Copy(io.Discard, peer)
	if _, ok := r.Resume(raw, ask, careful.Stated{}); !ok {
		t.Fatal("nothing is known of it")
	}
	if got := <-told; got.Refused != NoMeans || got.Route {
		t.Errorf("with a window of ten: told %+v", got)
	}
	chunk := bytes.Repeat([]byte("x"), 2<<20)
	for stop := time.Now().Add(20 * time.Second); ; { // until it has the window that a route would give
		server.Write(chunk)
		s, err := look(raw)
		if err != nil || time.Now().After(stop) {
			t.Fatal(err, s)
		}
		if s.Snd_cwnd > usual {
			break
		}
	}
	before, err := look(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Resume(raw, ask, careful.Stated{}); !ok {
		t.Fatal("nothing is known of it")
	}
	for got := (Jump{}); ; {
		select {
		case got = <-told:
		default:
			server.Write(chunk)
			continue
		}
		if got.Refused != careful.Allowed || !got.Route || got.Ended != careful.Validated && got.Ended != careful.Retreated || got.Jump.Window <= usual*uint64(before.Snd_mss) || got.Err != nil {
			t.Errorf("with a larger one: told %+v", got)
		}
		break
	}
	if c := r.Counts(); c.Validated+c.Retreated != 1 || c.Refused[NoMeans] != 1 || len(r.Learned(10)) != 0 {
		t.Errorf("%+v, learned %+v", c, r.Learned(10))
	}
	if paced, err := pace(raw); err != nil || paced != ^uint64(0) {
		t.Errorf("the pace is %d, %v", paced, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func pace(raw syscall.RawConn) (v uint64, err error) {
	raw.Control(func(fd uintptr) { v, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE) })
	return v, err
}

// TestJump: what is learned and told of jumps that do not end well.
func TestJump(t *testing.T) {
	between := careful.Between{From: "LON", To: "FRA", Net: careful.NetOf(client)}
	one := careful.Jump{Window: 1 << 20, Rate: 5e6}
	begin := func(err error) (*Resync, *jumper, chan Jump) {
		j, told := &jumper{err: err}, make(chan Jump, 10)
		r := New(Options{POP: "FRA", Log: quiet, Jumper: j, OnJump: func(x Jump) { told <- x }})
		r.watched++
		r.earned.Begin(between, time.Now())
		return r, j, told
	}
	_, raw, _ := connect(t)
	before, err := look(raw)
	if err != nil {
		t.Fatal(err)
	}

	r, j, told := begin(unix.EPERM)
	r.life.Add(1)
	r.jump(t.Context(), raw, Jump{At: time.Now(), Jump: one}, between, before)
	if got := <-told; got.Ended != careful.Ended || !errors.Is(got.Err, unix.EPERM) || len(j.hints) != 1 || r.watched != 0 || r.earned.Part(between, time.Now()) != 0.5 {
		t.Errorf("the socket refuses: told %+v, hints %+v", got, j.hints)
	}
	r.life.Wait()

	// A segment more was sent again than when it began, of which nothing is
	// acknowledged: down to the least, and the part is halved.
	r, j, told = begin(nil)
	w := careful.NewWatch(one, careful.Info{}, time.Now())
	w.Look(careful.Info{Acked: 1 << 19, Lost: 1, RTT: time.Millisecond}, time.Now())
	phase, err := r.follow(t.Context(), raw, w, r.act)
	r.done(Jump{At: time.Now(), Jump: one}, between, careful.End{Phase: phase}, err)
	if got := <-told; got.Ended != careful.Retreated || got.Err != nil || r.watched != 0 || r.earned.Part(between, time.Now()) != 0.25 {
		t.Errorf("there was loss: told %+v, hints %+v", got, j.hints)
	}
}

// TestNotRunning: without Run nothing jumps, and it is told why.
func TestNotRunning(t *testing.T) {
	b, hang := said(t, "LON", 1)
	defer hang()
	told := make(chan Jump, 10)
	r := New(Options{POP: "FRA", Log: quiet, Book: b, Gone: func(string) bool { return false }, OnJump: func(x Jump) { told <- x }, Jumper: &jumper{}})
	_, raw, _ := connect(t)
	if _, ok := r.Resume(raw, checkpoint.Ask{Client: client, VIP: vip.Addr()}, careful.Stated{Rate: 1e9}); ok {
		t.Error("a request of no object fits a flow of one")
	}
	if _, ok := r.Resume(nil, ask, careful.Stated{}); !ok || len(told) != 1 || (<-told).Refused != NoMeans {
		t.Error("without a socket the checkpoint is not known, or it is not told")
	}
}

// TestStated: where nothing is known of a flow a client's own word counts if
// that is wanted, and is told as such; it is no flow of another POP.
func TestStated(t *testing.T) {
	b := checkpoint.NewBook(checkpoint.Options{VIP: func(netip.Addr) bool { return true }})
	told := make(chan Jump, 10)
	for _, hear := range []bool{false, true} {
		r := New(Options{POP: "FRA", Log: quiet, Book: b, Hear: hear, Jumper: &jumper{}, OnJump: func(x Jump) { told <- x }})
		_, raw, _ := connect(t)
		if _, ok := r.Resume(raw, ask, careful.Stated{}); ok || len(told) != 0 {
			t.Error("nothing is known, and nothing said")
		}
		_, ok := r.Resume(raw, ask, careful.Stated{Rate: 1e9})
		if ok || len(told) > 0 != hear {
			t.Errorf("heard %v: a flow %v, told %d", hear, ok, len(told))
		}
		if hear {
			if got := <-told; got.From != careful.FromClient || got.Ticket.Rate != 2_500_000 {
				t.Errorf("%+v", got)
			}
		}
		if c := r.Counts(); c.Resumed != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// TestShared: of the streams of a connection the first that goes on may jump,
// by the rate of all; the others go on, and it is said why they do not. Their
// connection is woken once.
func TestShared(t *testing.T) {
	b := checkpoint.NewBook(checkpoint.Options{VIP: func(netip.Addr) bool { return true }})
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); b.Read("LON", pr, time.Now) }()
	var flows []checkpoint.Flow
	for i := range 3 {
		o := object
		o.URL[0] = byte(i)
		flows = append(flows, checkpoint.Flow{Client: netip.AddrPortFrom(client, 1), VIP: vip, Object: o, Offset: 10 << 20, Rate: 1 << 20, RTT: 20 * time.Millisecond, Stream: uint32(i + 1), Streams: 3})
	}
	e := checkpoint.NewEncoder()
	pw.Write(e.Append(nil, flows))
	pw.Write(e.Beat(nil))
	if f := wakened(b.Flows("LON", time.Now()), time.Now()); len(f) != 1 || f[0].Client.Port() != 1 {
		t.Errorf("woken %+v", f)
	}
	told := make(chan Jump, 10)
	r := New(Options{POP: "FRA", Log: quiet, Book: b, Jumper: &jumper{}, OnJump: func(x Jump) { told <- x }})
	_, raw, _ := connect(t)
	for i, want := range []struct {
		rate uint64
		why  careful.Reason
	}{{3 << 20, careful.NoGain}, {0, Shared}, {0, Shared}} {
		a := ask
		a.Object.URL[0] = byte(i)
		if _, ok := r.Resume(raw, a, careful.Stated{Rate: 1e9}); !ok {
			t.Fatalf("stream %d is not known", i)
		}
		if got := <-told; got.Refused != want.why || got.Ticket.Rate != want.rate {
			t.Errorf("stream %d: %+v", i, got)
		}
	}
	if c := r.Counts(); c.Resumed != 3 || c.Refused[Shared] != 2 {
		t.Errorf("%+v", c)
	}
	pw.Close()
	<-done
}
