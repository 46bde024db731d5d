package cli_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/rtr"
)

// startCache is an RPKI cache (RFC 8210) with three VRPs.
func startCache(t *testing.T, address string) {
	t.Helper()
	serve(t, address, func(c net.Conn) {
		header := make([]byte, 8)
		for {
			if _, err := io.ReadFull(c, header); err != nil {
				return
			}
			n := int(header[4])<<24 | int(header[5])<<16 | int(header[6])<<8 | int(header[7])
			if _, err := io.CopyN(io.Discard, c, int64(n-8)); err != nil {
				return
			}
			for _, m := range []rtr.RTRMessage{
				rtr.NewRTRCacheResponse(1),
				rtr.NewRTRIPPrefix(net.IPv4(203, 0, 113, 0).To4(), 24, 24, 64501, rtr.ANNOUNCEMENT),
				rtr.NewRTRIPPrefix(net.IPv4(198, 51, 100, 0).To4(), 24, 24, 64501, rtr.ANNOUNCEMENT),
				rtr.NewRTRIPPrefix(net.ParseIP("2001:db8:b::"), 48, 64, 64999, rtr.ANNOUNCEMENT),
				rtr.NewRTREndOfData(1, 5),
			} {
				b, err := m.Serialize()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}
	})
}

// startSink takes connections and reads what comes.
func startSink(t *testing.T, address string) {
	t.Helper()
	serve(t, address, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

func serve(t *testing.T, address string, f func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				stop := context.AfterFunc(t.Context(), func() { c.Close() })
				defer stop()
				defer c.Close()
				f(c)
			}()
		}
	}()
}
