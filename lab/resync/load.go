package resync

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/server/resync/get"
)

// Tools are the commands of the client:
//
//	lab-downloads --url http://192.0.2.1/x --n 1000 --sha256 SUM    as `catchment get` does, in one process
//	lab-chromium --url http://192.0.2.1/x --out /run/dl             Chromium's downloader, by its debugging protocol
//	lab-watch --dev eth1 --vip 192.0.2.1                            when which small segments of a VIP's connections are on a wire
//	lab-ping --to 10.0.2.2                                          the round trip, all the time
//	lab-told                                                        of lab-downloads: when its connections are reset
//	lab-fin --port 40000                                            at a POP: the next segment to that port once more, with FIN
func Tools() []netlab.Tool {
	return []netlab.Tool{{Name: "lab-downloads", Main: downloadsMain}, {Name: "lab-chromium", Main: chromiumMain}, {Name: "lab-fin", Main: finMain},
		{Name: "lab-watch", Main: watchMain}, {Name: "lab-ping", Main: pingMain}, {Name: "lab-told", Main: toldMain}}
}

// said is a line of lab-downloads: how they are, a few times a second, and at
// the end what became of each.
type said struct {
	Begun int   `json:"begun"` // have their first bytes
	Least int64 `json:"least"` // bytes that each of these has
	Ended int   `json:"ended"`
	// Ports are those of their first connections, said once, when all have begun.
	Ports []uint16 `json:"ports,omitempty"`
	Flows []one    `json:"flows,omitempty"`
}

// one is what became of a download.
type one struct {
	Err     string        `json:"err,omitempty"`
	Right   bool          `json:"right"`   // byte by byte
	Bytes   int64         `json:"bytes"`   // of the object, that came out
	Read    int64         `json:"read"`    // from all its connections, heads and bodies
	Asked   int           `json:"asked"`   // requests
	Heads   int64         `json:"heads"`   // bytes of answers' heads
	Told    time.Time     `json:"told"`    // its first connection was reset, as lab-told heard
	Broke   time.Time     `json:"broke"`   // a read said that the connection broke, the first time
	Acts    time.Time     `json:"acts"`    // package get begins to go on, the first time
	On      time.Time     `json:"on"`      // it went on elsewhere, the first time
	Gap     time.Duration `json:"gap"`     // longest without a byte, where it went on
	Resyncs int           `json:"resyncs"` // times that it went on
	Last    string        `json:"last"`    // POP
	Port    uint16        `json:"port"`    // of its first connection
	Took    time.Duration `json:"took"`
}

// crowd is many downloads at once.
type crowd struct {
	url, sum string
	n        int
	spread   time.Duration // in which they begin, evenly
	limit    time.Duration
	stall    time.Duration
	mu       sync.Mutex
	have     []int64
	ports    []uint16
	told     bool // which they are
	flows    []one
	ended    int
	ears     *ears
	first    []int32 // by which lab-told knows the first connection of each
}

func downloadsMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("downloads", flag.ContinueOnError)
	c := &crowd{}
	fs.StringVar(&c.url, "url", "", "what to download")
	fs.StringVar(&c.sum, "sha256", "", "what it must have")
	fs.IntVar(&c.n, "n", 1, "how many at once")
	fs.DurationVar(&c.spread, "spread", 0, "in which they begin")
	fs.DurationVar(&c.limit, "limit", time.Minute, "for each")
	fs.DurationVar(&c.stall, "stall", 0, "of package get")
	if err := fs.Parse(args); err != nil {
		return err
	}
	// A client does not stop to collect what 999 others have left behind.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(4 << 30)
	c.have, c.ports, c.flows, c.first = make([]int64, c.n), make([]uint16, c.n), make([]one, c.n), make([]int32, c.n)
	var err error
	if c.ears, err = listen(); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx)
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			if err := c.hear(); err != nil {
				return err
			}
			return out.Encode(said{Begun: c.n, Ended: c.n, Flows: c.flows})
		case <-tick.C:
			if err := out.Encode(c.say()); err != nil {
				return err
			}
		}
	}
}

// hear has each flow say when it was told.
func (c *crowd) hear() error {
	at, err := c.ears.told()
	for i := range c.flows {
		c.flows[i].Told = at[c.first[i]]
	}
	return err
}

func (c *crowd) say() said {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := said{Ended: c.ended, Least: -1}
	for _, n := range c.have {
		if n > 0 {
			s.Begun++
			if s.Least < 0 || n < s.Least {
				s.Least = n
			}
		}
	}
	if s.Begun == c.n && !c.told {
		c.told, s.Ports = true, slices.Clone(c.ports)
	}
	return s
}

func (c *crowd) run(ctx context.Context) {
	var wg sync.WaitGroup
	began := time.Now()
	for i := range c.n {
		wg.Go(func() {
			select {
			case <-time.After(time.Until(began.Add(c.spread * time.Duration(i) / time.Duration(c.n)))):
			case <-ctx.Done():
			}
			o := c.download(ctx, i)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.flows[i] = o
			c.ended++
		})
	}
	wg.Wait()
}

// download is one of them, with connections of its own.
func (c *crowd) download(ctx context.Context, i int) (o one) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	began := time.Now()
	var read, heads, asked, broke atomic.Int64
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DisableCompression, base.DisableKeepAlives = true, true
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	d.SetMultipathTCP(false)
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if o.Port == 0 {
			o.Port = conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
			c.mu.Lock()
			c.ports[i] = o.Port
			c.mu.Unlock()
			if c.first[i], err = c.ears.add(conn.(*net.TCPConn)); err != nil {
				conn.Close()
				return nil, err
			}
		}
		return &counted{Conn: conn, read: &read, heads: &heads, broke: &broke}, nil
	}
	defer base.CloseIdleConnections()
	t := get.New(get.Options{Base: base, Stall: c.stall, Patience: c.limit, OnEvent: func(e get.Event) { o.hear(e) }})
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked.Add(1) }})
	err := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
		if err != nil {
			return err
		}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		sum := sha256.New()
		_, err = io.Copy(progress{c, i, sum}, resp.Body)
		o.Bytes = c.have[i]
		o.Right = err == nil && fmt.Sprintf("%x", sum.Sum(nil)) == c.sum
		return err
	}()
	if err == nil && !o.Right {
		err = errors.New("the bytes are wrong")
	}
	if err != nil {
		o.Err = err.Error()
	}
	if o.Broke = o.Acts; broke.Load() != 0 { // else it ended without an error
		o.Broke = time.Unix(0, broke.Load())
	}
	o.Read, o.Heads, o.Asked, o.Took = read.Load(), heads.Load(), int(asked.Load()), time.Since(began)
	return o
}

func (o *one) hear(e get.Event) {
	switch e.Kind {
	case get.Started:
		o.Last = e.POP
	case get.Broken:
		if o.Acts.IsZero() {
			o.Acts = time.Now()
		}
	case get.Resumed:
		o.Resyncs++
		o.Last, o.Gap = e.POP, max(o.Gap, e.Gap)
		if o.On.IsZero() {
			o.On = time.Now()
		}
	}
}

// progress counts and sums what comes.
type progress struct {
	c   *crowd
	i   int
	sum hash.Hash
}

func (p progress) Write(b []byte) (int, error) {
	p.c.mu.Lock()
	p.c.have[p.i] += int64(len(b))
	p.c.mu.Unlock()
	return p.sum.Write(b)
}

// counted is a connection with one answer.
type counted struct {
	net.Conn
	read, heads *atomic.Int64
	broke       *atomic.Int64 // when a read failed first, Unix time in nanoseconds
	tail        uint32        // the last four bytes of the head so far
	body        bool
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.broke.CompareAndSwap(0, time.Now().UnixNano())
	}
	c.read.Add(int64(n))
	for i := 0; i < n && !c.body; i++ {
		c.heads.Add(1)
		c.tail = c.tail<<8 | uint32(b[i])
		c.body = c.tail == 0x0d0a0d0a
	}
	return n, err
}
