package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// patience bounds every wait; nothing that works comes near it.
const patience = 60 * time.Second

// router is the far end of BGP sessions. It writes down what comes over the
// wire, word by word and in order, over all sessions: "accept", "open" (or
// "open restarting"), "announce P" with " gshut" behind it while drained,
// "withdraw P", "eor", "notification C/S", "end".
type router struct {
	t    *testing.T
	addr netip.Addr
	l    net.Listener

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed by the next line
	conns   map[net.Conn]bool
	wg      sync.WaitGroup
}

func startRouter(t *testing.T, addr netip.Addr) *router {
	t.Helper()
	r := &router{t: t, addr: addr, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	r.listen()
	t.Cleanup(func() {
		r.l.Close()
		r.mu.Lock()
		for c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
		if t.Failed() {
			t.Logf("router %s heard:\n%s", addr, strings.Join(r.heard(), "\n"))
		}
	})
	return r
}

// listen accepts sessions until the listener is closed.
func (r *router) listen() {
	r.t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(r.addr, 179).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.l = l
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if ap, _ := netip.ParseAddrPort(c.RemoteAddr().String()); ap.Addr() == r.addr {
				c.Close()
				r.say("marker")
				continue
			}
			r.mu.Lock()
			r.conns[c] = true
			r.mu.Unlock()
			r.say("accept")
			r.wg.Go(func() { r.session(c) })
		}
	})
}

func (r *router) say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *router) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// session speaks with one caller until it hangs up.
func (r *router) session(c net.Conn) {
	defer r.say("end")
	defer c.Close()
	var tuples []*packet.CapGracefulRestartTuple
	caps := []packet.ParameterCapabilityInterface{packet.NewCapFourOctetASNumber(64501)}
	for _, f := range []packet.RouteFamily{packet.RF_IPv4_UC, packet.RF_IPv6_UC} {
		caps = append(caps, packet.NewCapMultiProtocol(f))
		tuples = append(tuples, packet.NewCapGracefulRestartTuple(f, true))
	}
	caps = append(caps, packet.NewCapGracefulRestart(false, false, 60, tuples))
	open := packet.NewBGPOpenMessage(64501, 90, "10.255.0.5", []packet.OptionParameterInterface{packet.NewOptionParameterCapability(caps)})
	for _, m := range []*packet.BGPMessage{open, packet.NewBGPKeepAliveMessage()} {
		if !write(c, m) {
			return
		}
	}
	endOnce := sync.OnceFunc(func() { // we have no routes; who restarts waits for it
		if r.addr.Is4() {
			write(c, packet.NewEndOfRib(packet.RF_IPv4_UC))
		} else {
			write(c, packet.NewEndOfRib(packet.RF_IPv6_UC))
		}
	})
	for {
		m, err := read(c)
		if err != nil {
			return
		}
		switch b := m.Body.(type) {
		case *packet.BGPOpen:
			r.say(openWords(b))
		case *packet.BGPUpdate:
			for _, line := range updateWords(b) {
				r.say(line)
			}
		case *packet.BGPNotification:
			r.say(fmt.Sprintf("notification %d/%d", b.ErrorCode, b.ErrorSubcode))
		case *packet.BGPKeepAlive:
			write(c, packet.NewBGPKeepAliveMessage())
			endOnce()
		}
	}
}

func write(c net.Conn, m *packet.BGPMessage) bool {
	b, err := m.Serialize()
	if err == nil {
		_, err = c.Write(b)
	}
	return err == nil
}

func read(c net.Conn) (*packet.BGPMessage, error) {
	head := make([]byte, packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	data := make([]byte, max(len(head), int(binary.BigEndian.Uint16(head[16:18]))))
	copy(data, head)
	if _, err := io.ReadFull(c, data[len(head):]); err != nil {
		return nil, err
	}
	return packet.ParseBGPMessage(data)
}

func openWords(o *packet.BGPOpen) string {
	for _, p := range o.OptParams {
		caps, ok := p.(*packet.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range caps.Capability {
			if g, ok := c.(*packet.CapGracefulRestart); ok && g.Flags&0x08 != 0 {
				return "open restarting"
			}
		}
	}
	return "open"
}

func updateWords(u *packet.BGPUpdate) (lines []string) {
	gshut := ""
	var announced []string
	for _, n := range u.NLRI {
		announced = append(announced, n.String())
	}
	for _, w := range u.WithdrawnRoutes {
		lines = append(lines, "withdraw "+w.String())
	}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *packet.PathAttributeMpUnreachNLRI:
			for _, w := range a.Value {
				lines = append(lines, "withdraw "+w.String())
			}
		case *packet.PathAttributeMpReachNLRI:
			for _, n := range a.Value {
				announced = append(announced, n.String())
			}
		case *packet.PathAttributeCommunities:
			if slices.Contains(a.Value, 0xffff0000) {
				gshut = " gshut"
			}
		}
	}
	for _, p := range announced {
		lines = append(lines, "announce "+p+gshut)
	}
	if len(lines) == 0 {
		return []string{"eor"}
	}
	return lines
}

// until waits for lines that please ok.
func (r *router) until(what string, ok func(lines []string) bool) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		heard, changed := r.lines, r.changed
		r.mu.Unlock()
		if ok(heard) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("router %s: waited %v for %s", r.addr, patience, what)
		}
	}
}

// await waits until the lines have been heard in this order, whatever came
// between them, after the first from lines; it returns how many lines there
// were up to the last of them, for the next wait.
func (r *router) await(from int, lines ...string) (at int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%q after line %d", lines, from), func(heard []string) bool {
		left := lines
		for at = from; at < len(heard) && len(left) > 0; at++ {
			if heard[at] == left[0] {
				left = left[1:]
			}
		}
		return len(left) == 0
	})
	return at
}

// routes are what was heard about routes and the end, after the first from
// lines.
func (r *router) routes(from int) []string {
	return slices.DeleteFunc(r.heard()[from:], func(s string) bool {
		return s == "eor" || s == "accept" || s == "marker" || strings.HasPrefix(s, "open")
	})
}

// settle waits until all is heard of processes that have ended, and returns
// every line.
func (r *router) settle() []string {
	r.t.Helper()
	from := len(r.heard())
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: r.addr.AsSlice()}}
	c, err := d.Dial("tcp", r.l.Addr().String()) // accepted behind all that called before
	if err != nil {
		r.t.Fatal(err)
	}
	c.Close()
	r.await(from, "marker")
	var heard []string
	r.until("the end of all sessions", func(lines []string) bool {
		heard = lines
		return count(lines, "accept") == count(lines, "end")
	})
	return slices.DeleteFunc(slices.Clone(heard), func(s string) bool { return s == "marker" })
}

func count(lines []string, line string) (n int) {
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	return n
}
