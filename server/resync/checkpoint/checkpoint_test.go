package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

var (
	t0   = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	vip4 = netip.MustParseAddrPort("192.0.2.1:443")
	vip6 = netip.MustParseAddrPort("[2001:db8:100::1]:443")
	ours = func(a netip.Addr) bool { return a == vip4.Addr() || a == vip6.Addr() }
)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func object(n int) Object {
	return Object{URL: [16]byte{byte(n), byte(n >> 8), 1}, ETag: fmt.Sprintf(`"v%d"`, n), Size: uint64(n) << 20}
}

// pipe is one connection: what an encoder wrote so far goes to a book.
type pipe struct {
	e     *Encoder
	w     *io.PipeWriter
	done  chan error
	bytes int
	now   atomic.Pointer[time.Time]
}

func connect(b *Book, pop string, now time.Time) *pipe {
	r, w := io.Pipe()
	p := &pipe{e: NewEncoder(), w: w, done: make(chan error, 1)}
	p.now.Store(&now)
	go func() {
		err := b.Read(pop, r, func() time.Time { return *p.now.Load() })
		r.CloseWithError(io.ErrClosedPipe)
		p.done <- err
	}()
	return p
}

func (p *pipe) say(t *testing.T, flows []Flow) {
	t.Helper()
	b := p.e.Append(nil, flows)
	p.bytes += len(b)
	if _, err := p.w.Write(b); err != nil {
		t.Fatal(err)
	}
	p.w.Write(p.e.Beat(nil)) // returns once all before it has been taken
}

func (p *pipe) close() error {
	p.w.Close()
	return <-p.done
}

// near: rates and round trips are said with three bits of mantissa, downward.
func near(got, said uint64, unit uint64) bool {
	return got <= said && float64(got) >= 0.87*float64(said)-float64(unit)
}

func sorted(flows []Flow) []Flow {
	slices.SortFunc(flows, func(a, b Flow) int {
		return cmp.Or(a.Client.Compare(b.Client), a.VIP.Compare(b.VIP))
	})
	return flows
}

// TestRoundTrip: after each word of a sender the book holds its flows, however
// they come, go on, change their objects and end.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := NewBook(Options{VIP: ours})
	p := connect(b, "LON", t0)
	have := map[string]Flow{}
	for round := range 300 {
		for range r.IntN(20) {
			var f Flow
			if n := r.IntN(400); r.IntN(2) == 0 {
				f = Flow{Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), uint16(n)), VIP: vip4}
			} else {
				f = Flow{Client: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(n)}), uint16(n)), VIP: vip6}
			}
			if r.IntN(3) > 0 {
				f.Object = object(r.IntN(30))
			}
			f.Offset = r.Uint64N(1 << 40)
			f.Rate, f.RTT = r.Uint64N(1<<uint(r.IntN(36))), time.Duration(r.IntN(1e9))
			f.Stamp = uint32(f.Client.Port()) * 7 // 0: none
			if f.Streams = r.IntN(MaxStreams + 1); f.Streams == 1 {
				f.Streams = 0
			}
			have[f.Client.String()] = f
		}
		for k, f := range have {
			switch r.IntN(10) {
			case 0:
				delete(have, k)
			case 1:
				f.Object = object(r.IntN(30))
				have[k] = f
			case 2, 3, 4, 5:
				f.Offset += r.Uint64N(1 << 20)
				f.Rate, f.ClientLimited = r.Uint64N(1<<30), r.IntN(2) == 0
				if f.Streams = r.IntN(MaxStreams + 1); f.Streams == 1 {
					f.Streams = 0
				}
				have[k] = f
			}
		}
		var flows, got []Flow
		for _, f := range have {
			flows = append(flows, f)
		}
		now := t0.Add(time.Duration(round) * time.Second)
		p.now.Store(&now)
		p.say(t, flows)
		known := b.Flows("LON", now)
		for _, k := range known {
			got = append(got, k.Flow)
		}
		sorted(flows)
		sorted(got)
		if len(got) != len(flows) {
			t.Fatalf("round %d: %d flows, want %d", round, len(got), len(flows))
		}
		for i, f := range flows {
			g := got[i]
			if !near(g.Rate, f.Rate, rateUnit) || !near(uint64(g.RTT), uint64(f.RTT), uint64(rttUnit)) {
				t.Fatalf("round %d: said %+v, got %+v", round, f, g)
			}
			g.Rate, g.RTT = f.Rate, f.RTT
			if g != f {
				t.Fatalf("round %d: said %+v, got %+v", round, f, g)
			}
		}
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if s := b.POPs(); len(s) != 1 || s[0].Talking || s[0].Counts.Broken+s[0].Counts.Foreign+s[0].Counts.Full > 0 {
		t.Errorf("%+v", s)
	}
}

// TestCost: 10,000 flows that all get on each second cost two POPs less than
// 2 MB a second, the first second too.
func TestCost(t *testing.T) {
	e := NewEncoder()
	flows := make([]Flow, 10_000)
	for i := range flows {
		flows[i] = Flow{Client: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 8: byte(i >> 8), 9: byte(i)}), 50_000), VIP: vip6,
			Object: object(i % 3000), Offset: 1 << 30, Rate: 1e6, RTT: 40 * time.Millisecond}
	}
	first := len(e.Append(nil, flows))
	for i := range flows {
		flows[i].Offset += 1e6
	}
	next := len(e.Append(nil, flows))
	t.Logf("bytes to one POP: %d at first, then %d a second", first, next)
	if 2*first > 2e6 || 2*next > 2e6 {
		t.Errorf("two POPs get %d bytes at first and %d then", 2*first, 2*next)
	}
}

// TestStamps: how far a flow's time stamps are is told again when they have got
// on far, and not each time; of a flow that was refused nothing is kept.
func TestStamps(t *testing.T) {
	b := NewBook(Options{VIP: ours, Flows: 1})
	p := connect(b, "LON", t0)
	f := []Flow{{Client: netip.MustParseAddrPort("203.0.113.9:1"), VIP: vip4, Offset: 1}, {Client: netip.MustParseAddrPort("203.0.113.9:2"), VIP: vip4, Stamp: 9}}
	for i, tc := range []struct{ now, known uint32 }{
		{0, 0}, {1<<32 - 5, 1<<32 - 5}, {2, 1<<32 - 5}, {stampStep - 6, 1<<32 - 5}, {stampStep - 5, stampStep - 5}, {stampStep, stampStep - 5},
	} {
		f[0].Stamp = tc.now
		p.say(t, f)
		if all := b.Flows("LON", t0); len(all) != 1 || all[0].Stamp != tc.known {
			t.Errorf("%d: %+v", i, all)
		}
	}
	f[0].Offset, f[0].Stamp = 0, 77 // another answer on the same connection
	p.say(t, f)
	if all := b.Flows("LON", t0); len(all) != 1 || all[0].Stamp != 77 {
		t.Errorf("after a new beginning %+v", all)
	}
	p.close()
}

// TestManyObjects: numbers of objects that are not used any more are used
// again, and flows that have had theirs for long keep it.
func TestManyObjects(t *testing.T) {
	b := NewBook(Options{VIP: ours})
	p := connect(b, "LON", t0)
	kept := Flow{Client: netip.MustParseAddrPort("203.0.113.9:1"), VIP: vip4, Object: object(1 << 20), Offset: 5}
	for i := range 2*maxObjects + 10 {
		p.e.begun = i > 0
		b := p.e.Append(nil, []Flow{kept, {Client: netip.MustParseAddrPort("203.0.113.9:2"), VIP: vip4, Object: object(i)}})
		if _, err := p.w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	p.w.Write(p.e.Beat(nil))
	for _, k := range b.Flows("LON", t0) {
		if want := map[uint16]Object{1: kept.Object, 2: object(2*maxObjects + 9)}[k.Client.Port()]; k.Object != want {
			t.Errorf("%v has %+v, want %+v", k.Client, k.Object, want)
		}
	}
	if len(p.e.objects) != maxObjects || p.e.recent.Len() != maxObjects {
		t.Errorf("%d objects are kept", len(p.e.objects))
	}
	p.close()
}

// TestBounds: what is not ours and what is too much is counted and not kept.
func TestBounds(t *testing.T) {
	b := NewBook(Options{VIP: ours, Flows: 3})
	p := connect(b, "LON", t0)
	var flows []Flow
	for i := range 5 {
		flows = append(flows, Flow{Client: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), uint16(i+1)), VIP: vip4})
	}
	flows = append(flows, Flow{Client: netip.MustParseAddrPort("203.0.113.8:1"), VIP: netip.MustParseAddrPort("198.51.100.1:443")}, Flow{})
	p.say(t, flows)
	if s := b.POPs()[0]; s.Flows != 3 || s.Counts.Full != 2 || s.Counts.Foreign != 1 {
		t.Errorf("%+v", s)
	}
	flows[4].Offset = 7 // of one that was not kept
	p.say(t, flows)
	p.say(t, nil)
	b.Expire(t0.Add(16 * time.Second))
	if len(b.Flows("LON", t0)) != 0 || len(b.clients) != 0 {
		t.Errorf("kept %v of %v", b.Flows("LON", t0), b.clients)
	}
	p.close()
}

// TestEnds: what a POP said is good for a while after its last word; a new
// connection says everything anew, and the old one is not listened to.
func TestEnds(t *testing.T) {
	b := NewBook(Options{VIP: ours, Keep: 10 * time.Second})
	f := Flow{Client: netip.MustParseAddrPort("203.0.113.9:1"), VIP: vip4, Offset: 3}
	p := connect(b, "LON", t0)
	p.say(t, []Flow{f})
	if p.close() != nil || len(b.Flows("LON", t0.Add(10*time.Second))) != 1 || len(b.Flows("LON", t0.Add(10*time.Second+1))) != 0 {
		t.Error("ten seconds are not ten seconds")
	}
	old := connect(b, "LON", t0)
	old.say(t, []Flow{f})
	next := connect(b, "LON", t0)
	next.say(t, nil)
	if n := len(b.Flows("LON", t0)); n != 0 {
		t.Errorf("%d flows of the connection before", n)
	}
	old.w.Write(old.e.Beat(nil))
	if err := <-old.done; !errors.Is(err, errReplaced) {
		t.Errorf("the old connection ends with %v", err)
	}
	b.Expire(t0.Add(time.Hour))
	if len(b.POPs()) != 1 {
		t.Error("a POP that talks is forgotten")
	}
	next.w.Write(next.e.Drain(nil))
	next.w.Write(next.e.Beat(nil))
	if s := b.POPs()[0]; s.Drain != t0 || !s.Talking {
		t.Errorf("%+v", s)
	}
	next.close()
	b.Expire(t0.Add(time.Hour))
	if len(b.POPs()) != 0 || len(b.clients) != 0 {
		t.Error("a POP that is gone is kept")
	}
}

// TestTake: a client that goes on gets what is known of its flow, once.
func TestTake(t *testing.T) {
	client := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), port)
	}
	flows := []Flow{
		{Client: client(1), VIP: vip4, Object: object(1), Offset: 10 << 20, Rate: 1 << 20},
		{Client: client(2), VIP: vip4, Object: object(1), Offset: 12 << 20, Rate: 1 << 20},
		{Client: client(3), VIP: vip4, Object: object(2), Offset: 90 << 20, Rate: 1 << 20},
		{Client: client(4), VIP: vip6, Rate: 1 << 10},
		{Client: client(5), VIP: vip6, Offset: 29 << 20, Rate: 1 << 20},
		{Client: netip.MustParseAddrPort("203.0.113.10:6"), VIP: vip4, Object: object(1), Offset: 10 << 20},
	}
	me := client(0).Addr()
	for _, c := range []struct {
		name string
		ask  Ask
		port uint16 // 0: nothing
	}{
		{"the nearest below", Ask{me, vip4.Addr(), object(1), 13 << 20}, 2},
		{"below the other", Ask{me, vip4.Addr(), object(1), 11 << 20}, 1},
		{"exactly there", Ask{me, vip4.Addr(), object(1), 12 << 20}, 2},
		{"what it had not read yet is gone", Ask{me, vip4.Addr(), object(1), 9 << 20}, 1},
		{"from before", Ask{me, vip4.Addr(), object(1), 5 << 20}, 0},
		{"far beyond what it can have got", Ask{me, vip4.Addr(), object(1), 60 << 20}, 0},
		{"another version", Ask{me, vip4.Addr(), Object{URL: object(1).URL, ETag: `"new"`}, 13 << 20}, 0},
		{"another object", Ask{me, vip4.Addr(), object(3), 13 << 20}, 0},
		{"another client", Ask{netip.MustParseAddr("203.0.113.77"), vip4.Addr(), object(1), 13 << 20}, 0},
		{"the same client as an IPv6 socket sees it", Ask{netip.MustParseAddr("::ffff:203.0.113.9"), vip4.Addr(), object(2), 91 << 20}, 3},
		{"what begins goes on with nothing", Ask{me, vip4.Addr(), object(1), 0}, 0},
		{"a server that knows no objects: the one that is nearest", Ask{me, vip6.Addr(), object(9), 30 << 20}, 5},
		{"a server that knows no objects, and none is near: the slowest", Ask{me, vip6.Addr(), object(9), 100 << 20}, 4},
	} {
		b := NewBook(Options{VIP: ours})
		p := connect(b, "LON", t0)
		p.say(t, flows)
		got, ok := b.Take(c.ask, t0.Add(time.Second))
		if ok != (c.port > 0) || got.Client.Port() != c.port || ok && got.POP != "LON" {
			t.Errorf("%s: %+v %v, want port %d", c.name, got, ok, c.port)
		}
		if again, ok := b.Take(c.ask, t0.Add(time.Second)); ok && again.Client == got.Client {
			t.Errorf("%s: twice", c.name)
		}
		if _, ok := b.Take(Ask{me, vip4.Addr(), object(2), 91 << 20}, t0.Add(2*time.Minute)); ok {
			t.Errorf("%s: what has expired is given", c.name)
		}
		p.close()
	}
}

// TestLog8: what is said of a number is at most the number, and not much less.
func TestLog8(t *testing.T) {
	for v := uint64(0); v < 1<<36; v = v*65/64 + 1 {
		got := exp8(log8(v))
		if got > v || v < 1<<33 && float64(got) < 0.88*float64(v) {
			t.Fatalf("%d becomes %d", v, got)
		}
	}
	for b := range 256 {
		if got := log8(exp8(byte(b))); got != byte(b) {
			t.Errorf("%d becomes %d", b, got)
		}
	}
}

// TestMalformed: mistakes end the connection and say what they are; kinds of a
// later version do not.
func TestMalformed(t *testing.T) {
	vip := appendFrame(nil, kindVIP, func(b []byte) []byte { return appendAddrPort(append(b, 0), vip4) })
	flow1 := appendFrame(nil, kindFlow, func(b []byte) []byte { return append(appendAddrPort(append(b, 1, 0, 0), vip4), 9, 1, 1, 0) })
	gone1 := appendFrame(nil, kindGone, func(b []byte) []byte { return append(b, 1) })
	for name, c := range map[string]struct {
		bytes []byte
		bad   bool
	}{
		"nothing more":          {nil, false},
		"a flow that ends":      {slices.Concat(vip, flow1, gone1, gone1), false},
		"another preface":       {nil, true},
		"a later kind":          {appendFrame(nil, 99, func(b []byte) []byte { return append(b, 1, 2, 3) }), false},
		"an empty frame":        {[]byte{0}, true},
		"a frame too long":      {[]byte{0xff, 0x7f}, true},
		"a number left out":     {appendFrame(nil, kindVIP, func(b []byte) []byte { return appendAddrPort(append(b, 1), vip4) }), true},
		"a flow to no VIP":      {appendFrame(nil, kindFlow, func(b []byte) []byte { return append(b, 1, 0, 0) }), true},
		"an address of no kind": {appendFrame(nil, kindVIP, func(b []byte) []byte { return append(b, 0, 5, 1, 2, 3, 4, 0, 80) }), true},
		"an object's weak tag": {appendFrame(nil, kindObject, func(b []byte) []byte {
			return append(append(b, make([]byte, 18)...), `W/"x"`...)
		}), true},
		"a flow begun anew that has ended": {slices.Concat(vip, flow1, gone1, flow1), true},
		"too much in a frame":              {append(vip[:0:0], append([]byte{vip[0] + 1}, append(vip[1:], 0)...)...), true},
	} {
		b := NewBook(Options{VIP: ours})
		in := append([]byte(preface), c.bytes...)
		if name == "another preface" {
			in = bytes.Repeat([]byte("x"), len(preface))
		}
		if err := b.Read("LON", bytes.NewReader(in), at(t0)); (err != nil) != c.bad || c.bad && !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: whatever a peer says, the book stays within its bounds, and every
// flow in it is of a VIP of ours and can be found by its client.
func FuzzRead(f *testing.F) {
	e := NewEncoder()
	b := e.Append(nil, []Flow{
		{Client: netip.MustParseAddrPort("203.0.113.9:1"), VIP: vip4, Object: object(1), Offset: 100, Rate: 1e6, RTT: time.Millisecond},
		{Client: netip.MustParseAddrPort("[2001:db8::9]:1"), VIP: vip6},
	})
	f.Add(b[len(preface):])
	b = e.Append(b, []Flow{{Client: netip.MustParseAddrPort("203.0.113.9:1"), VIP: vip4, Object: object(1), Offset: 200, Rate: 1e6}})
	f.Add(e.Drain(b)[len(preface):])
	f.Add(NewEncoder().Append(nil, streams())[len(preface):])
	f.Fuzz(func(t *testing.T, in []byte) {
		b := NewBook(Options{VIP: ours, Flows: 4})
		_ = b.Read("LON", bytes.NewReader(append([]byte(preface), in...)), at(t0))
		flows := b.Flows("LON", t0)
		known := func() (n int) {
			for _, of := range b.clients {
				n += len(of)
			}
			return n
		}
		if n := known(); n > 4 || n < len(flows) {
			t.Fatalf("%d flows, %d by client", len(flows), n)
		}
		if p := b.pops["LON"]; p != nil && len(p.over) > 4 {
			t.Fatalf("%d ended flows are remembered", len(p.over))
		}
		if b.Expire(t0.Add(16 * time.Second)); known() != len(flows) {
			t.Fatalf("%d flows, %d by client when those that have ended are forgotten", len(flows), known())
		}
		for _, k := range flows {
			if !ours(k.VIP.Addr()) || !k.Client.IsValid() || k.RTT < 0 || k.Streams < 0 || k.Streams > MaxStreams || k.Streams == 1 || k.Object.ETag != "" && !strong(k.Object.ETag) {
				t.Fatalf("%+v", k)
			}
		}
	})
}
