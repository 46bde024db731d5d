package gobgp_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// rawPeer accepts one session and writes down each message, word by word:
// what really came over the wire, in order.
type rawPeer struct {
	l    net.Listener
	seen chan string // closed at the end of the session
}

func startRaw(t *testing.T, addr netip.Addr, as uint16) *rawPeer {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 179).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &rawPeer{l: l, seen: make(chan string, 4096)}
	go p.serve(as)
	return p
}

func (p *rawPeer) serve(as uint16) {
	defer close(p.seen)
	c, err := p.l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	caps := packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(uint32(as))})
	for _, m := range []*packet.BGPMessage{
		packet.NewBGPOpenMessage(as, 90, "10.255.0.5", []packet.OptionParameterInterface{caps}),
		packet.NewBGPKeepAliveMessage(),
	} {
		b, _ := m.Serialize()
		c.Write(b)
	}
	for {
		head := make([]byte, packet.BGP_HEADER_LENGTH)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		data := make([]byte, int(binary.BigEndian.Uint16(head[16:18])))
		copy(data, head)
		if _, err := io.ReadFull(c, data[len(head):]); err != nil {
			return
		}
		m, err := packet.ParseBGPMessage(data)
		if err != nil {
			p.seen <- "error " + err.Error()
			return
		}
		switch b := m.Body.(type) {
		case *packet.BGPUpdate:
			for _, w := range b.WithdrawnRoutes {
				p.seen <- "withdraw " + w.String()
			}
			for _, n := range b.NLRI {
				p.seen <- "announce " + n.String()
			}
		case *packet.BGPNotification:
			p.seen <- fmt.Sprintf("notification %d/%d", b.ErrorCode, b.ErrorSubcode)
		}
	}
}

func (p *rawPeer) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-p.seen:
		return s
	case <-time.After(bgptest.Timeout):
		t.Fatal("nothing more on the wire")
		return ""
	}
}

func TestStopOnTheWire(t *testing.T) {
	t.Parallel()
	us4, _, _, peerC := loopback4(21)
	raw := startRaw(t, peerC, 64999)
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerC, 64999))})
	s.set(t, announce(web4), announce(web4b))
	got := []string{raw.next(t), raw.next(t)}
	slices.Sort(got)
	if want := []string{"announce 192.0.2.0/24", "announce 198.51.100.0/24"}; !slices.Equal(got, want) {
		t.Fatalf("first %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bgptest.Timeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	var rest []string
	for m := range raw.seen {
		rest = append(rest, m)
	}
	want := []string{"withdraw 192.0.2.0/24", "withdraw 198.51.100.0/24", "notification 6/2"}
	if !slices.Equal(rest, want) {
		t.Errorf("on the wire: %q, want %q", rest, want)
	}
}

// A withheld route is withdrawn from that neighbor, once, and what was never
// announced to a neighbor is not announced by a change elsewhere.
func TestWithholdOnTheWire(t *testing.T) {
	t.Parallel()
	us4, _, _, peerC := loopback4(22)
	raw := startRaw(t, peerC, 64999)
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerC, 64999))})
	s.set(t, announce(web4))
	hold := map[netip.Addr]bgp.Override{peerC: {Withhold: true}}
	if m := raw.next(t); m != "announce 192.0.2.0/24" {
		t.Fatal(m)
	}
	s.set(t, bgp.Announcement{Prefix: web4, Neighbors: hold})
	if m := raw.next(t); m != "withdraw 192.0.2.0/24" {
		t.Fatal(m)
	}
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{Prepend: 3}, Neighbors: hold})
	s.set(t, bgp.Announcement{Prefix: web4, Neighbors: hold}, announce(web4b))
	if m := raw.next(t); m != "announce 198.51.100.0/24" {
		t.Fatal(m)
	}
	s.flush(t)
}
