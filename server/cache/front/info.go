package front

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TCPInfo is what the kernel knows of a connection (tcp_info of Linux).
type TCPInfo struct {
	State        uint8
	RTT          time.Duration // smoothed
	RTTVar       time.Duration
	MinRTT       time.Duration
	DeliveryRate uint64        // bytes a second, as last measured
	Busy         time.Duration // time with data to send
	RwndLimited  time.Duration // of it: the receiver's window was full
	SndbufLimit  time.Duration // of it: our send buffer was too small
	Cwnd         uint32        // segments
	MSS          uint32        // bytes
	SndWnd       uint32        // the receiver's window in bytes; 0 on kernels before 5.4
	Unacked      uint32        // segments in flight
	Retrans      uint32        // segments sent again, in all
	BytesSent    uint64        // with what was sent again
	BytesRetrans uint64
	BytesAcked   uint64
	BytesIn      uint64
	NotSent      uint32 // bytes waiting in the socket buffer
	AppLimited   bool   // DeliveryRate was measured while we had too little to send
	Pace         uint64 // bytes a second that we send at most (SO_MAX_PACING_RATE); 0: no limit
	Stamps       bool   // both sides put time stamps into segments (RFC 7323)
}

// tcpiOptTimestamps is TCPI_OPT_TIMESTAMPS of linux/tcp.h.
const tcpiOptTimestamps = 1

func readTCPInfo(fd int) (TCPInfo, error) {
	t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return TCPInfo{}, err
	}
	pace := t.Max_pacing_rate
	if pace == math.MaxUint64 || pace == math.MaxUint32 { // what stands for none
		pace = 0
	}
	us := func(v uint64) time.Duration { return time.Duration(v) * time.Microsecond }
	return TCPInfo{
		State: t.State, RTT: us(uint64(t.Rtt)), RTTVar: us(uint64(t.Rttvar)), MinRTT: us(uint64(t.Min_rtt)),
		DeliveryRate: t.Delivery_rate, Busy: us(t.Busy_time), RwndLimited: us(t.Rwnd_limited),
		SndbufLimit: us(t.Sndbuf_limited), Cwnd: t.Snd_cwnd, MSS: t.Snd_mss, SndWnd: t.Snd_wnd, Unacked: t.Unacked,
		Retrans: t.Total_retrans, BytesSent: t.Bytes_sent, BytesRetrans: t.Bytes_retrans,
		BytesAcked: t.Bytes_acked, BytesIn: t.Bytes_received, NotSent: t.Notsent_bytes,
		AppLimited: (*[8]byte)(unsafe.Pointer(t))[7]&1 != 0, Pace: pace, // a bit that package unix has no name for
		Stamps: t.Options&tcpiOptTimestamps != 0,
	}, nil
}
