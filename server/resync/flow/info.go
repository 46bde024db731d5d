package flow

import (
	"encoding/binary"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/sockdiag"
)

// sending are the states in which data goes to the client.
const sending = 1<<sockdiag.Established | 1<<sockdiag.FinWait1 | 1<<sockdiag.CloseWait | 1<<sockdiag.Closing

// decode makes a Flow of what the kernel says of a socket; false where it does
// not say enough.
func decode(s *sockdiag.Socket, f *Flow) bool {
	*f = Flow{Key: Key{VIP: s.Local, Client: s.Remote}, Closing: s.State != sockdiag.Established, uid: s.Cookie}
	return info(s.Info, f)
}

// info reads struct tcp_info; false for one of a kernel before 4.9, which does
// not say what limits a flow.
func info(b []byte, f *Flow) bool {
	var t unix.TCPInfo
	if len(b) < int(unsafe.Offsetof(t.Sndbuf_limited)) {
		return false
	}
	u32 := func(at uintptr) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	u64 := func(at uintptr) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	us := func(n uint64) time.Duration { return time.Duration(min(n, 1<<50)) * time.Microsecond }
	f.Acked, f.Rate = u64(unsafe.Offsetof(t.Bytes_acked)), u64(unsafe.Offsetof(t.Delivery_rate))
	f.RTT, f.MinRTT = us(uint64(u32(unsafe.Offsetof(t.Rtt)))), us(uint64(u32(unsafe.Offsetof(t.Min_rtt))))
	f.Cwnd, f.MSS = u32(unsafe.Offsetof(t.Snd_cwnd)), u32(unsafe.Offsetof(t.Snd_mss))
	f.Out, f.Retrans = u32(unsafe.Offsetof(t.Unacked)), u32(unsafe.Offsetof(t.Total_retrans))
	f.AppLimited = b[7]&1 != 0 // tcpi_delivery_rate_app_limited, a bit that package unix has no name for
	if f.Pace = u64(unsafe.Offsetof(t.Max_pacing_rate)); f.Pace == math.MaxUint64 || f.Pace == math.MaxUint32 {
		f.Pace = 0
	}
	f.Busy, f.Receiver = us(u64(unsafe.Offsetof(t.Busy_time))), us(u64(unsafe.Offsetof(t.Rwnd_limited)))
	if at := unsafe.Offsetof(t.Snd_wnd); len(b) >= int(at)+4 {
		f.Window = u32(at)
	}
	return true
}
