package resync

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzPacket: whatever is on a wire, the tools that look at it go on. What they
// get has passed their filters: at least the headers of IPv4 and TCP without
// options.
func FuzzPacket(f *testing.F) {
	p := make([]byte, 60)
	p[0], p[9], p[20+1], p[20+12] = 0x45, unix.IPPROTO_TCP, 80, 5<<4
	f.Add(p)
	f.Add(append([]byte{0x45}, make([]byte, 39)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		if isData(p, 40000) && len(p) <= 40 {
			t.Errorf("% x has bytes in it", p)
		}
		all := map[uint16]*seen{}
		note(all, p, 1, [4]byte{192, 0, 2, 1})
		stamp(p)
		for port, s := range all {
			if n := len(s.Probes) + len(s.Acks) + len(s.Resets); n > 1 {
				t.Errorf("port %d: % x is %d segments", port, p, n)
			}
		}
		_, _ = payloadOf(string(p))
	})
}
