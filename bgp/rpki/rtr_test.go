package rpki_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/rpki"
	"github.com/catchment/catchment/bgp/rpki/rpkitest"
	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

var world = []rpki.VRP{
	vrp("192.0.2.0/24", 24, 64500), vrp("198.51.100.0/24", 28, 64501), vrp("203.0.113.0/24", 24, 0),
	vrp("2001:db8::/32", 48, 64500), vrp("2001:db8:f::/48", 64, 4200000001),
}

func all(rpki.VRP) bool { return true }

// TestFetch: all that a cache has, in both versions of the protocol, or what
// is wanted of it.
func TestFetch(t *testing.T) {
	c := rpkitest.Start(t, "127.0.0.1:0", world...)
	for _, version := range []uint8{1, 0} {
		c.Old(version)
		if got, err := rpki.Fetch(t.Context(), c.Address, all); err != nil || !slices.Equal(got, world) {
			t.Errorf("version %d: %v, %v", version, got, err)
		}
	}
	got, err := rpki.Fetch(t.Context(), c.Address, func(v rpki.VRP) bool { return v.AS == 64501 })
	if err != nil || !slices.Equal(got, world[1:2]) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestFetchFromStayRTR: the same from a real server.
func TestFetchFromStayRTR(t *testing.T) {
	rpkitest.StayRTR(t, "127.0.0.1:8282", world...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got, err := rpki.Fetch(ctx, "127.0.0.1:8282", all)
		if err != nil && strings.Contains(err.Error(), "error 2") { // it has not read its file yet
			continue
		}
		slices.SortFunc(got, rpki.Compare)
		if err != nil || !slices.Equal(got, world) {
			t.Errorf("%v, %v", got, err)
		}
		return
	}
}

func TestFetchFails(t *testing.T) {
	c := rpkitest.Start(t, "127.0.0.1:0", world...)
	c.Silent()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := rpki.Fetch(ctx, c.Address, all); err == nil || !strings.Contains(err.Error(), c.Address) || !strings.Contains(err.Error(), "no end of its data") {
		t.Errorf("silent: %v", err)
	}
	for name, says := range map[string]struct{ bytes, want string }{
		"hangs up":        {"", "it hung up"},
		"another service": {"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "not RTR?"},
		"error":           {"\x01\x0a\x00\x02\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x07no data\x00", "it reports error 2"},
		"reset":           {"\x01\x08\x00\x00\x00\x00\x00\x08", "no data"},
		"bad length":      {"\x01\x03\x00\x00\x00\x00\x00\x08\x01\x04\x00\x00\x00\x00\x00\x14\x01\x21\x21\x00\x01\x02\x03\x04\x00\x00\x00\x01", "prefix 1.2.3.4/33-33"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 64)) // its question
				_, _ = conn.Write([]byte(says.bytes))
				conn.Close()
			}
		}()
		if _, err := rpki.Fetch(t.Context(), l.Addr().String(), all); err == nil || !strings.Contains(err.Error(), says.want) {
			t.Errorf("%s: %v, want %s", name, err, says.want)
		}
		l.Close()
	}
}
