package gobgp_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// greeting dials a speaker until it is ready, and returns the session with the
// speaker's OPEN.
func greeting(from, to netip.Addr, as uint16) (net.Conn, *packet.BGPOpen, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	var last error
	for end := time.Now().Add(bgptest.Timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := d.Dial("tcp", netip.AddrPortFrom(to, 179).String())
		if err != nil {
			last = err
			continue
		}
		caps := packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
			packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(uint32(as)),
			packet.NewCapGracefulRestart(false, false, 60, []*packet.CapGracefulRestartTuple{
				packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, false)})})
		tell(c, packet.NewBGPOpenMessage(as, 90, from.String(), []packet.OptionParameterInterface{caps}))
		tell(c, packet.NewBGPKeepAliveMessage())
		m, err := hear(c)
		if err == nil {
			if open, ok := m.Body.(*packet.BGPOpen); ok {
				return c, open, nil
			}
			err = fmt.Errorf("%+v", m)
		}
		c.Close()
		last = err
	}
	return nil, nil, last
}

func tell(c net.Conn, m *packet.BGPMessage) {
	b, _ := m.Serialize()
	c.Write(b)
}

func hear(c net.Conn) (*packet.BGPMessage, error) {
	c.SetReadDeadline(time.Now().Add(bgptest.Timeout))
	head := make([]byte, packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	data := make([]byte, int(binary.BigEndian.Uint16(head[16:18])))
	copy(data, head)
	if _, err := io.ReadFull(c, data[len(head):]); err != nil {
		return nil, err
	}
	return packet.ParseBGPMessage(data)
}

// restarts reports whether an OPEN has the Restart State bit and that of
// forwarding that goes on, for IPv4.
func restarts(open *packet.BGPOpen) bool {
	for _, p := range open.OptParams {
		caps, _ := p.(*packet.OptionParameterCapability)
		if caps == nil {
			continue
		}
		for _, c := range caps.Capability {
			if gr, ok := c.(*packet.CapGracefulRestart); ok {
				return gr.Flags&0x08 != 0 && len(gr.Tuples) == 1 && gr.Tuples[0].Flags&0x80 != 0
			}
		}
	}
	return false
}

// TestAllAreGreetedAsRestarting: a neighbor that connects in the moment in
// which another's End-of-RIB arrives hears that we restart, too.
func TestAllAreGreetedAsRestarting(t *testing.T) {
	t.Parallel()
	us, early, _, _ := loopback4(61)
	neighbors := []map[string]any{session(us, early, 64990, passive, grConfig())}
	var late []netip.Addr
	for range 24 {
		late = append(late, append(late, early)[max(len(late)-1, 0)].Next())
		neighbors = append(neighbors, session(us, late[len(late)-1], 64990, passive, grConfig()))
	}
	s := start(t, gobgp.Options{Restarting: true, Config: config(t, us, neighbors...)})
	s.set(t, announce(web4))
	first, open, err := greeting(early, us, 64990)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if !restarts(open) {
		t.Errorf("the first OPEN: %+v", open)
	}
	if m, err := hear(first); err != nil || m.Header.Type != packet.BGP_MSG_KEEPALIVE {
		t.Fatalf("%+v, %v", m, err)
	}
	var all sync.WaitGroup
	for i, from := range late {
		all.Go(func() {
			c, open, err := greeting(from, us, 64990)
			if err != nil {
				t.Errorf("%s: %v", from, err)
				return
			}
			t.Cleanup(func() { c.Close() })
			if !restarts(open) {
				t.Errorf("%s is told of no restart", from)
			}
			tell(c, packet.NewEndOfRib(packet.RF_IPv4_UC))
		})
		if i == 1 {
			tell(first, packet.NewEndOfRib(packet.RF_IPv4_UC))
		}
	}
	all.Wait()
	// With all of them there, the restart is over: the route is sent.
	for {
		m, err := hear(first)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := m.Body.(*packet.BGPUpdate); ok && len(u.NLRI) == 1 {
			break
		}
	}
	for _, p := range s.Peers() {
		if p.Address.As4()[1] != 1 {
			t.Errorf("a neighbor that nobody configured: %+v", p)
		}
	}
}
