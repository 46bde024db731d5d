package h2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tube is one direction of a connection in memory: at most room bytes wait in it, as in a socket.
type tube struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	room int
	eof  bool
	most int // most bytes that ever waited
}

func newTube(room int) *tube {
	t := &tube{room: room}
	t.cond = sync.NewCond(&t.mu)
	return t
}

func (t *tube) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eof = true
	t.cond.Broadcast()
}

// write takes what fits, or with wait all.
func (t *tube) write(p []byte, wait bool) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if t.eof {
			return n, net.ErrClosed
		}
		m := min(len(p)-n, t.room-len(t.buf))
		t.buf = append(t.buf, p[n:n+m]...)
		t.most = max(t.most, len(t.buf))
		t.cond.Broadcast()
		if n += m; n == len(p) || !wait {
			return n, nil
		}
		t.cond.Wait()
	}
}

// read waits for bytes, until stop says that it is enough.
func (t *tube) read(p []byte, stop func() bool) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case len(t.buf) > 0:
			n := copy(p, t.buf)
			t.buf = t.buf[n:]
			t.cond.Broadcast()
			return n, nil
		case t.eof:
			return 0, io.EOF
		case stop != nil && stop():
			return 0, os.ErrDeadlineExceeded
		}
		t.cond.Wait()
	}
}

// memWire is a Wire of two tubes. It ends a client that takes nothing for grace, as a socket of package front does.
type memWire struct {
	in, out *tube
	grace   time.Duration
	join    bool

	mu    sync.Mutex
	wake  time.Time
	timer *time.Timer
}

func (w *memWire) Read(room func() []byte, put func()) (int, error) {
	if !w.join {
		room()
		put()
	}
	p := room()
	return w.in.read(p, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.wake.IsZero() && !time.Now().Before(w.wake)
	})
}

func (w *memWire) SetWake(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake = t
	if w.timer != nil {
		w.timer.Stop()
	}
	if !t.IsZero() {
		w.timer = time.AfterFunc(time.Until(t), func() {
			w.in.mu.Lock()
			defer w.in.mu.Unlock()
			w.in.cond.Broadcast()
		})
	}
}

func (w *memWire) Write(bufs [][]byte, wait bool) (n int, full bool, err error) {
	if wait && w.grace > 0 {
		t := time.AfterFunc(w.grace, w.Close)
		defer t.Stop()
	}
	for _, p := range bufs {
		m, err := w.out.write(p, wait)
		n += m
		if err != nil || m < len(p) {
			return n, m < len(p), err
		}
	}
	return n, false, nil
}

func (w *memWire) Calm()       {}
func (w *memWire) Joins() bool { return w.join }
func (w *memWire) Linger()     {}
func (w *memWire) Close() {
	w.in.close()
	w.out.close()
}

// shop is an Owner with replies by path, and a handler for the rest. It counts how replies end.
type shop struct {
	ctx     context.Context
	replies func(target string) *Reply
	handler http.HandlerFunc
	gone    bool

	mu           sync.Mutex
	begun, ended int
	events       map[Event]int
	sent         []int64
	errs         []error
	double       bool
}

type ticket struct {
	s    *shop
	done bool
}

func (t *ticket) Sent(head, body int64, err error) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.double = t.s.double || t.done
	t.done = true
	t.s.ended++
	t.s.sent = append(t.s.sent, body)
	t.s.errs = append(t.s.errs, err)
}

func (s *shop) Begin(h *Head) *Reply {
	if s.replies == nil {
		return nil
	}
	r := s.replies(string(h.Target))
	if r != nil {
		s.mu.Lock()
		s.begun++
		s.mu.Unlock()
		r.Done = &ticket{s: s}
	}
	return r
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.handler != nil {
		s.handler(w, r)
	}
}

func (s *shop) Context() context.Context { return s.ctx }

func (s *shop) Leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

func (s *shop) Note(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == nil {
		s.events = make(map[Event]int)
	}
	s.events[e]++
}

func (s *shop) count(e Event) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[e]
}

func testOptions() Options {
	return Options{
		Streams: 20, Resets: 50, HeadBytes: 8 << 10, HeadFields: 50, HeadTime: 10 * time.Second, IdleTime: time.Minute,
		BodyTime: 5 * time.Minute, Grace: 30 * time.Second, SendRate: 1024, BodyRate: 1024, Remote: "192.0.2.1:1234",
		Local: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80},
	}
}

// client is a client of frames.
type client struct {
	t    testing.TB
	wire *memWire
	shop *shop
	*http2.Framer
	enc  *hpack.Encoder
	head bytes.Buffer
	done chan error // what Serve gave
	next uint32
	work sync.WaitGroup
}

// Read and Write are the client's ends of the tubes.
func (c *client) Read(p []byte) (int, error)  { return c.wire.out.read(p, nil) }
func (c *client) Write(p []byte) (int, error) { return c.wire.in.write(p, true) }

// connect runs a connection; it has ended, and all replies were told once, when the test ends.
func connect(t testing.TB, s *shop, change func(*Options, *memWire)) *client {
	t.Helper()
	o := testOptions()
	w := &memWire{in: newTube(64 << 10), out: newTube(64 << 10), grace: o.Grace}
	if change != nil {
		change(&o, w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	c := &client{t: t, wire: w, shop: s, done: make(chan error, 1), next: 1}
	c.Framer = http2.NewFramer(c, c)
	c.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.Framer.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.head)
	go func() { c.done <- New(o, w, s, nil).Serve() }()
	t.Cleanup(func() {
		w.Close()
		<-c.done
		c.work.Wait()
		cancel()
		if s.begun != s.ended || s.double {
			t.Errorf("%d replies, %d told of their end; twice: %v", s.begun, s.ended, s.double)
		}
	})
	return c
}

// greet sends preface and settings.
func (c *client) greet(settings ...http2.Setting) {
	io.WriteString(c, http2.ClientPreface)
	c.WriteSettings(settings...)
}

// block encodes fields.
func (c *client) block(fields ...string) []byte {
	c.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.head.Bytes())
}

// get is the fields of a plain request.
func get(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", path}, more...)
}

// ask sends a request head and gives its stream.
func (c *client) ask(end bool, fields ...string) uint32 {
	id := c.next
	c.next += 2
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(fields...), EndStream: end, EndHeaders: true})
	return id
}

// answer is what a stream brought.
type answer struct {
	status   string
	fields   http.Header
	body     []byte
	early    []string // informational statuses
	trailers http.Header
	reset    http2.ErrCode
	ended    bool
	isReset  bool
}

// take reads frames until every one of the streams has ended; it gives windows back unless mean.
func (c *client) take(mean bool, ids ...uint32) (map[uint32]*answer, error) {
	got := make(map[uint32]*answer)
	for _, id := range ids {
		got[id] = new(answer)
	}
	for left := len(ids); left > 0; {
		f, err := c.ReadFrame()
		if err != nil {
			return got, err
		}
		a := got[f.Header().StreamID]
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != 0 {
				return got, fmt.Errorf("GOAWAY %v %s", f.ErrCode, f.DebugData())
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				c.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			if a == nil {
				continue
			}
			a.headers(f)
			if f.StreamEnded() {
				a.ended = true
				left--
			}
		case *http2.DataFrame:
			if a == nil {
				continue
			}
			a.body = append(a.body, f.Data()...)
			if n := len(f.Data()); n > 0 && !mean {
				c.WriteWindowUpdate(0, uint32(n))
				c.WriteWindowUpdate(f.StreamID, uint32(n))
			}
			if f.StreamEnded() {
				a.ended = true
				left--
			}
		case *http2.RSTStreamFrame:
			if a != nil && !a.ended {
				a.reset, a.isReset = f.ErrCode, true
				left--
			}
		}
	}
	return got, nil
}

func (a *answer) headers(f *http2.MetaHeadersFrame) {
	h := make(http.Header)
	for _, hf := range f.RegularFields() {
		h.Add(hf.Name, hf.Value)
	}
	switch s := f.PseudoValue("status"); {
	case s == "":
		a.trailers = h
	case s[0] == '1':
		a.early = append(a.early, s)
	default:
		a.status, a.fields = s, h
	}
}

// one is take for a single stream.
func (c *client) one(id uint32) *answer {
	c.t.Helper()
	got, err := c.take(false, id)
	if err != nil {
		c.t.Fatalf("stream %d: %v; so far %+v", id, err, got[id])
	}
	return got[id]
}

// fate reads until the connection ends and gives the code of GOAWAY, and how many answers came.
func (c *client) fate() (code http2.ErrCode, told bool) {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return code, told
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code, told = g.ErrCode, true
		}
	}
}

func bytesReply(body []byte, parts int) *Reply {
	r := &Reply{Status: 200, Fields: []Field{{"content-type", "text/plain"}}, Fixed: AppendField(nil, "etag", `"v"`)}
	r.Own = AppendPlain(nil, "content-length", fmt.Sprint(len(body)))
	for ; parts > 1 && len(body) > 1; parts-- {
		n := len(body) / parts
		r.Parts = append(r.Parts, Part{Bytes: body[:n], Length: int64(n)})
		body = body[n:]
	}
	if len(body) > 0 {
		r.Parts = append(r.Parts, Part{Bytes: body, Length: int64(len(body))})
	}
	return r
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
