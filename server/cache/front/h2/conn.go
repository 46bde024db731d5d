package h2

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Sizes of what a connection keeps.
const (
	roomSmall = 4 << 10                     // for reading, and what an idle connection under TLS holds
	roomLarge = headLen + maxPayload + 1024 // when frames or bodies are larger
	maxOut    = 128 << 10                   // bytes waiting to be sent above which nothing more is read
	maxTable  = 4096                        // of HPACK, either direction
	maxParts  = 32                          // CONTINUATION frames of a header block
	bodyRoom  = 256 << 10                   // window of a request body
	bodiesAll = 1 << 20                     // window of all of a connection
	memory    = 32                          // streams remembered after their end
)

// Conn is one HTTP/2 connection.
type Conn struct {
	opts  Options
	wire  Wire
	owner Owner

	// The goroutine that reads has these.
	in      []byte // what was read and not used is in[r:w]
	r, w    int
	head    Head
	dec     *hpack.Decoder
	data    dataFrame
	block   block
	greeted bool // preface and first SETTINGS have come
	get     func() []byte
	put     func()

	mu       sync.Mutex
	streams  map[uint32]*stream
	last     uint32 // highest stream of the client
	handlers int    // goroutines of ServeHTTP
	requests int64
	resets   int64
	noise    int64 // frames that brought nothing, beyond what was earned
	opened   ring  // streams that were used
	ours     ring  // streams that we reset, whose frames may still be on their way
	recv     int64 // bytes of bodies that may come
	credit   int64 // bytes used of them that the client does not know of
	window   int64 // bytes of bodies that may be sent
	first    int64 // window of a new stream, by the client's settings
	frame    int   // largest payload that the client takes
	enc      *hpack.Encoder
	ready    []*stream  // with something to send and a window for it
	next     *batch     // what is sent next
	now      *batch     // what is being sent
	flushing bool       // somebody sends
	room     *sync.Cond // there is room in next
	leaving  leave      // how far GOAWAY has come
	leaveAt  time.Time  // when it goes on
	err      error      // why it has ended
	dead     bool
	active   time.Time // when something last came or a stream ended
	clock    time.Time // of what was read last
	wake     time.Time // as set
	tick     time.Duration
	cancel   context.CancelFunc
	base     context.Context
	work     sync.WaitGroup
	vec      [][]byte // what the one that sends has still to write of what it gathered
	one      [1][]byte
	sendRoom *sendRoom
}

// ring remembers the last few streams put into it.
type ring struct {
	ids [memory]uint32
	n   int
}

func (r *ring) put(id uint32) {
	r.ids[r.n%memory] = id
	r.n++
}

func (r *ring) has(id uint32) bool {
	for _, v := range r.ids {
		if v == id {
			return true
		}
	}
	return false
}

// New makes a connection over wire. held is what was read of it already.
func New(o Options, wire Wire, owner Owner, held []byte) *Conn {
	c := &Conn{
		opts: o, wire: wire, owner: owner, streams: make(map[uint32]*stream), recv: firstWindow, window: firstWindow,
		first: firstWindow, frame: maxPayload, active: time.Now(),
	}
	c.clock = c.active
	c.room = sync.NewCond(&c.mu)
	c.head.opts = &c.opts
	c.dec = hpack.NewDecoder(maxTable, c.head.add)
	c.enc = hpack.NewEncoder(&encoded{c})
	c.base, c.cancel = context.WithCancel(owner.Context())
	if len(held) > 0 {
		c.in = make([]byte, max(roomLarge, len(held)))
		c.w = copy(c.in, held)
	}
	c.get, c.put = c.space, c.release
	c.tick = o.tick()
	return c
}

// Serve runs the connection until it ends, closes it, and waits for all it started. It gives why it has ended; nil is in
// good order.
func (c *Conn) Serve() error {
	defer func() {
		if p := recover(); p != nil {
			c.mu.Lock()
			c.die(errConn)
			c.mu.Unlock()
			c.wire.Close()
			panic(p)
		}
	}()
	err := c.start()
	for err == nil {
		var n int
		n, err = c.wire.Read(c.get, c.put)
		err = c.round(n, err)
	}
	c.end(err)
	c.work.Wait()
	var why *connError
	if errors.As(err, &why) && why.code == NoError {
		return nil
	}
	return err
}

// start sends our settings and takes what was read before.
func (c *Conn) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greet()
	err := c.take()
	c.arm(c.active)
	return err
}

// round is one turn of reading: n bytes came, or the time to look after things.
func (c *Conn) round(n int, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w += n
	if c.dead { // what came is for nobody: nothing new begins
		return c.err
	}
	now := time.Now()
	c.clock = now
	switch {
	case n > 0:
		before := c.requests
		if err = c.take(); c.requests != before || len(c.streams) > 0 {
			c.active = now
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = c.woken(now)
	}
	if c.dead && err == nil {
		err = c.err
	}
	if err == nil {
		c.arm(now)
	}
	return err
}

// greet queues our settings, and the window for all request bodies.
func (c *Conn) greet() {
	b := c.batch()
	settings := []struct {
		id uint16
		v  uint32
	}{
		{setStreams, uint32(c.opts.Streams)}, {setWindow, bodyRoom}, {setHeadBytes, uint32(c.opts.HeadBytes)}, {setNoPriorities, 1},
	}
	b.buf = appendFrame(b.buf, settingLen*len(settings), kindSettings, 0, 0)
	for _, s := range settings {
		b.buf = appendSetting(b.buf, s.id, s.v)
	}
	b.buf = appendWindow(b.buf, 0, bodiesAll-firstWindow)
	c.recv = bodiesAll
}

// take uses what was read and sends what came of it.
func (c *Conn) take() error {
	err := c.frames()
	if err == nil {
		if c.leaving == staying && c.owner.Leaving() {
			c.goAway(time.Now())
		}
		c.flush()
		err = c.over()
	}
	if c.dead && err == nil {
		err = c.err
	}
	return err
}
