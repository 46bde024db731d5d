package session

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/front"
)

// line is a connection as the kernel would show it.
type line struct {
	id               uint64
	out, acked, asks int64
	streams          int
	window           uint32
	held             time.Duration // by it
	pace             float64
	proto            string
	gone             bool
}

func (l *line) ID() uint64              { return l.id }
func (l *line) Out() int64              { return l.out }
func (l *line) Requests() int64         { return l.asks }
func (l *line) Proto() string           { return l.proto }
func (l *line) Streams() int            { return l.streams }
func (l *line) Pace(rate float64) error { l.pace = rate; return nil }
func (l *line) Info() (front.TCPInfo, bool) {
	return front.TCPInfo{BytesAcked: uint64(l.acked), SndWnd: l.window, RwndLimited: l.held, MSS: 1448, Unacked: uint32((l.out - l.acked) / 1448), DeliveryRate: 10e6}, !l.gone
}

type world struct {
	k   *Keeper
	now time.Time
	o   redirect.Options
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.k = New(func() time.Time { return w.now })
	w.k.Set(1000)
	return w
}

// ask asks for a segment of a stream of at most 100 kB a second.
func (w *world) ask(l *line, segment int, change func(*Ask)) (redirect.Verdict, *Transfer) {
	a := Ask{
		Site: "s", Client: netip.MustParseAddr("192.0.2.1"), Conn: l, Options: &w.o, Paces: true, Media: redirect.Media{Peak: 100e3},
		Request: redirect.Request{At: w.now, Name: fmt.Sprint("/v/s", segment), Last: -1, Size: 200e3},
		World:   func() redirect.World { return redirect.World{Pressure: true} },
	}
	if change != nil {
		change(&a)
	}
	l.asks++
	return w.k.Decide(a)
}

// pass lets time go by, with looks.
func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= Every {
		w.now = w.now.Add(min(d, Every))
		w.k.look()
	}
}

func (w *world) state(t *testing.T) State {
	t.Helper()
	all := w.k.Sessions(10)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	return all[0]
}

// TestNeverMoreThanThereIs plays random clients and checks that the buffer believed is not above the true one, but for the time between two looks: with
// other answers on the connection, what waits in buffers, seeks, stops, and a stream that takes less than its peak.
func TestNeverMoreThanThereIs(t *testing.T) {
	believed := 0
	for n := range 150 {
		r := rand.New(rand.NewPCG(uint64(n), 5))
		w, l := newWorld(), &line{id: 1, proto: []string{"http/1.1", "h2"}[r.IntN(2)], window: 60e3}
		average := 50e3 + 50e3*r.Float64() // bytes that a second really takes
		buffer, segment := 0.0, 0          // true seconds of play that the client has
		for range 40 {
			if segment++; r.IntN(12) == 0 {
				segment += 5
				buffer = 0 // a seek
			}
			older := l.proto == "h2" && r.IntN(5) == 0 // another stream is under way already
			if l.streams = 1; older {
				l.streams = 2
			}
			_, tr := w.ask(l, segment, nil)
			if older && l.pace > 0 {
				t.Fatalf("client %d: another stream waits for its pace", n)
			}
			if b := w.state(t).Buffer.Seconds(); b > buffer+Every.Seconds() {
				t.Fatalf("client %d: %.4f s believed, %.4f s are there", n, b, buffer)
			}
			size, sent, arrived := int64(20e3+r.IntN(380e3)), int64(0), int64(0)
			other := r.IntN(5) == 0
			l.out += int64(r.IntN(800)) // the head
			for arrived < size {
				if other && r.IntN(3) == 0 { // another answer takes part of the connection
					l.asks++
					l.out += int64(r.IntN(50e3))
				}
				if older && r.IntN(2) == 0 {
					l.out += int64(r.IntN(50e3))
				}
				step := min(int64(r.IntN(60e3)), size-sent)
				sent += step
				l.out += step + step/200 // TLS
				if sent == size && tr != nil {
					tr.End(size)
					tr = nil
				}
				// what is acknowledged is some of what was sent; the last bytes are this body's
				l.acked = min(l.out, max(l.acked, l.out-int64(r.IntN(40e3))))
				arrivedNow := max(arrived, sent-(l.out-l.acked))
				buffer += float64(arrivedNow-arrived) / average
				arrived = arrivedNow
				d := time.Duration(r.IntN(400)) * time.Millisecond
				w.pass(d)
				buffer = max(0, buffer-d.Seconds())
				if sent == size && r.IntN(3) == 0 {
					buffer += float64(size-arrived) / average
					l.acked, arrived = l.out, size
				}
				b := w.state(t).Buffer.Seconds()
				if b > buffer+Every.Seconds() {
					t.Fatalf("client %d: %.4f s believed, %.4f s are there", n, b, buffer)
				}
				if b > 1 {
					believed++
				}
			}
			if l.streams = 0; l.acked == l.out {
				w.pass(Every)
				buffer = max(0, buffer-Every.Seconds())
			}
		}
	}
	if believed < 500 {
		t.Errorf("little is ever believed: %d", believed)
	}
}

func TestAWindowThatIsShut(t *testing.T) {
	w, l := newWorld(), &line{id: 1, proto: "http/1.1", window: 4e6}
	_, tr := w.ask(l, 1, nil)
	w.pass(Every)
	if s := w.state(t); s.Buffer != 0 || l.pace != 0 {
		t.Fatalf("%+v", s)
	}
	l.window, l.out, l.acked = 1000, 100e3, 50e3
	for _, held := range []time.Duration{0, Every / 4, Every/2 - time.Millisecond} { // it was open in between
		l.held += held
		w.pass(Every)
		if s := w.state(t); s.Buffer > time.Second {
			t.Fatalf("shut for a moment: %+v", s)
		}
	}
	l.held += Every / 2
	w.pass(Every)
	if s := w.state(t); s.Buffer != 20*time.Second || l.pace < 150e3 || l.pace > 300e3 {
		t.Fatalf("half of 4 MB of a stream of 100 kB a second: %+v, %v", s, l.pace)
	}
	l.window = 3e6
	w.pass(Every)
	if s := w.state(t); s.Buffer > time.Second || l.pace != 0 {
		t.Fatalf("it reads again: %+v, %v", s, l.pace)
	}
	tr.End(200e3)
	l.gone = true
	w.pass(Every)
	for i := range w.k.shards {
		if n := len(w.k.shards[i].active); n != 0 {
			t.Errorf("%d answers are looked after for ever", n)
		}
	}
}

// TestPaceEnds: a long answer is paced when its client is full, and no longer when its buffer falls.
func TestPaceEnds(t *testing.T) {
	w, l := newWorld(), &line{id: 1, proto: "http/1.1", window: 60e3}
	w.ask(l, 1, func(a *Ask) { a.Request.Size = 100e6 })
	l.out, l.acked = 1600e3, 1600e3
	w.pass(Every)
	if s := w.state(t); s.Buffer < 15*time.Second || l.pace < 150e3 || s.Pace != l.pace {
		t.Fatalf("%+v, %v", s, l.pace)
	}
	w.pass(8 * time.Second) // nothing comes through
	if s := w.state(t); l.pace != 0 || s.Buffer > 9*time.Second {
		t.Fatalf("%+v, %v", s, l.pace)
	}
	if n := w.k.Totals(); n.Paced != 1 || n.PacedFor < 5*time.Second || n.PacedFor > 8*time.Second || n.Stalls != 0 {
		t.Errorf("%+v", n)
	}
	w.pass(8 * time.Second)
	l.out, l.acked = 1700e3, 1610e3 // a trickle, and nothing is left
	w.pass(Every)
	if n := w.k.Totals(); n.Stalls != 1 {
		t.Errorf("%+v, %+v", n, w.state(t))
	}
}

func TestBoundedMemory(t *testing.T) {
	w := newWorld()
	w.k.Set(64)
	for i := range 1000 {
		l := &line{id: uint64(i + 1), proto: "http/1.1"}
		_, tr := w.ask(l, 1, func(a *Ask) { a.Client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) })
		if tr != nil {
			tr.End(0)
		}
		w.now = w.now.Add(time.Millisecond)
	}
	if n := w.k.Totals(); n.Sessions > 64 || n.Forgotten < 800 {
		t.Errorf("%+v", n)
	}
	w.pass(Every)
	w.k.sweep(w.now.Add(2 * idle))
	if n := w.k.Totals(); n.Sessions != 0 {
		t.Errorf("%+v", n)
	}
	if _, tr := w.ask(&line{id: 1}, 1, func(a *Ask) { a.Media = redirect.Media{} }); tr != nil || w.k.Totals().Sessions != 0 {
		t.Error("who plays nothing is kept")
	}
}

// TestWhoIsWho: a session is its connection's, or its name's; who goes on byte for byte is the same.
func TestWhoIsWho(t *testing.T) {
	w, l := newWorld(), &line{id: 1, proto: "http/1.1"}
	file := func(first int64, sid string) func(*Ask) {
		return func(a *Ask) {
			a.Request.Name, a.Request.First, a.Request.Size, a.Request.CMCD.Session = "/film.mp4", first, 100e6, sid
		}
	}
	play := func(l *line, bytes int64) {
		l.out += bytes
		l.acked = l.out
		w.pass(Every)
	}
	w.ask(l, 0, file(0, ""))
	play(l, 2e6)
	other := &line{id: 2, proto: "http/1.1"}
	if w.ask(other, 0, file(1900e3, "")); w.state(t).Buffer < 10*time.Second {
		t.Errorf("went on, on another connection: %+v", w.state(t))
	}
	play(other, 1e6)
	third := &line{id: 3, proto: "http/1.1"}
	if w.ask(third, 0, file(20e6, "")); w.state(t).Buffer != 0 {
		t.Errorf("somebody else: %+v", w.state(t))
	}

	w, l = newWorld(), &line{id: 1, proto: "http/1.1"}
	for i := range 5 {
		l = &line{id: uint64(i + 1), proto: "http/1.1"}
		_, tr := w.ask(l, i, func(a *Ask) { a.Request.CMCD.Session = "6e2f" })
		l.out, l.acked = 200e3, 200e3
		tr.End(200e3)
		w.pass(Every)
	}
	if s := w.state(t); s.Buffer < 7*time.Second {
		t.Errorf("a session with a name, over five connections: %+v", s)
	}
}

// TestOtherStreams: a player beside another stream of its connection is not held
// back, and what goes on the wire is not all taken for its own; when all streams
// are done it has what it asked for.
func TestOtherStreams(t *testing.T) {
	w, l := newWorld(), &line{id: 1, proto: "h2", window: 4e6, streams: 2}
	full := func(a *Ask) { a.Request.CMCD.HasBuffer, a.Request.CMCD.Buffer = true, 30*time.Second }
	_, first := w.ask(l, 0, full)
	first.End(0)
	if v, _ := w.ask(l, 1, full); v.Do != redirect.Pace || l.pace != 0 || w.state(t).Pace != 0 {
		t.Fatalf("%+v, held to %v", v, l.pace)
	}
	w.pass(4 * Every)
	if l.pace != 0 {
		t.Fatalf("held to %v by a look", l.pace)
	}
	l.streams = 1
	_, tr := w.ask(l, 2, full)
	if l.pace == 0 {
		t.Fatal("alone, and not held")
	}
	tr.End(0)

	w, l = newWorld(), &line{id: 1, proto: "h2", window: 4e6, streams: 2}
	_, tr = w.ask(l, 1, nil)
	l.out, l.acked = 3e6, 3e6 // the other's
	w.pass(Every)
	if s := w.state(t); s.Buffer != 0 {
		t.Fatalf("%+v", s)
	}
	l.out += 200e3
	tr.End(200e3)
	l.window = 100 // shut by whom?
	l.held += Every
	w.pass(Every)
	if s := w.state(t); s.Buffer != 0 {
		t.Fatalf("%+v", s)
	}
	l.acked, l.streams = l.out, 0
	w.pass(Every)
	if s := w.state(t); s.Buffer < 1200*time.Millisecond || s.Buffer > 1300*time.Millisecond {
		t.Errorf("two seconds of play, of which three looks are played, are all there: %+v", s)
	}
}
