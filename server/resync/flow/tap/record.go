package tap

import (
	"math"
	"math/bits"
	"net/netip"
	"time"
)

// Flow is what a socket says of itself, as the fields of the same names in
// struct tcp_info (linux/tcp.h).
type Flow struct {
	VIP, Client    netip.AddrPort
	Cookie         uint64 // of the socket, as sock_diag has it
	State          uint8  // as package sockdiag names them
	Acked          uint64 // bytes
	Rate           uint64 // delivery rate, bytes a second; 0: none yet
	RTT, MinRTT    time.Duration
	Cwnd           uint32 // segments, as Out and Retrans
	MSS            uint32 // bytes
	Out, Retrans   uint32
	Busy, Receiver time.Duration // there was something to send; the client's window was the limit
	Window         uint32        // bytes that the client has room for
	AppLimited     bool          // Rate was measured while there was too little to send
	Pace           uint64        // SO_MAX_PACING_RATE, bytes a second; 0: no limit
}

// pass is struct pass of bpf/tap.c.
type pass struct {
	Jiffies, Clock              uint64
	Parts, Part, Sockets, Flows uint32
}

// record is struct record of bpf/tap.c.
type record struct {
	Cookie                       uint64
	VIP, Client                  [16]byte
	Port, ClientPort             uint16 // the client's in network byte order
	AppLimited, State, Chrono, _ uint8
	Acked, Pace                  uint64
	RateDelivered, RateInterval  uint32
	RTT, MinRTT                  uint32
	Cwnd, MSS, Out, Retrans      uint32
	Busy, Receiver, Buffer, Last uint32 // jiffies
	Window, _                    uint32
}

// What a socket waits for (enum tcp_chrono, net/tcp.h).
const (
	chronoNone     = 0
	chronoReceiver = 2
)

// flow reads a record that was made at a time, in jiffies of which hz are a
// second.
func (r *record) flow(f *Flow, now uint32, hz uint64) {
	*f = Flow{
		VIP:    netip.AddrPortFrom(netip.AddrFrom16(r.VIP).Unmap(), r.Port),
		Client: netip.AddrPortFrom(netip.AddrFrom16(r.Client).Unmap(), bits.ReverseBytes16(r.ClientPort)),
		Cookie: r.Cookie, State: r.State, Acked: r.Acked,
		RTT: us(r.RTT / 8), Cwnd: r.Cwnd, MSS: r.MSS, Out: r.Out, Retrans: r.Retrans,
	}
	f.Window, f.AppLimited = r.Window, r.AppLimited != 0
	if r.Pace != math.MaxUint64 && r.Pace != math.MaxUint32 {
		f.Pace = r.Pace
	}
	if r.MinRTT != math.MaxUint32 { // none measured
		f.MinRTT = us(r.MinRTT)
	}
	if r.RateInterval > 0 {
		f.Rate = uint64(r.RateDelivered) * uint64(r.MSS) * 1_000_000 / uint64(r.RateInterval)
	}
	if hz == 0 {
		return
	}
	busy, receiver := uint64(r.Busy)+uint64(r.Receiver)+uint64(r.Buffer), uint64(r.Receiver)
	if d := int32(now - r.Last); r.Chrono != chronoNone && d > 0 {
		busy += uint64(d)
		if r.Chrono == chronoReceiver {
			receiver += uint64(d)
		}
	}
	f.Busy, f.Receiver = time.Duration(busy)*time.Second/time.Duration(hz), time.Duration(receiver)*time.Second/time.Duration(hz)
}

func us(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }

// frequency is how many jiffies a second has. The kernel tells it to nobody,
// but begins to count at 300 seconds before the low half of the counter turns
// over (INITIAL_JIFFIES, linux/jiffies.h), and the monotonic clock at zero: only
// one of the frequencies that can be configured makes both agree.
func frequency(jiffies, clock uint64) (hz uint64) {
	least := math.Inf(1)
	for _, f := range []uint64{100, 250, 300, 1000} {
		since := float64(int64(jiffies - uint64(uint32(-300*int64(f)))))
		if off := math.Abs(since/float64(f) - float64(clock)/1e9); off < least {
			least, hz = off, f
		}
	}
	return hz
}
