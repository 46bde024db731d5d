// Package flow keeps a table of the TCP flows from this host's anycast
// addresses (VIPs) to their clients: who gets how much, how fast, and what
// limits it. Whatever server the sockets belong to, it needs no help of it:
// the kernel knows all of this and tells by sock_diag (inet_diag with
// INET_DIAG_INFO) in the network namespace of the caller.
//
// The table is bounded: with more flows than it may hold those with the most
// bytes stay, so that who opens many connections pushes nobody's download out.
// So is its cost: where a pass over all sockets takes more than its share of a
// core, each pass asks for the flows of the table and looks through some of
// the others, all of them in turn; and where even that takes more, passes are
// made less often.
//
// It decides nothing and changes no socket but by Destroy.
package flow

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/server/sockdiag"
)

// Key names a flow: the client's address and port, and ours.
type Key struct {
	Client, VIP netip.AddrPort
}

// Flow is a flow as it was at the last pass.
type Flow struct {
	Key
	// Acked is how many bytes the client has acknowledged, in all.
	Acked uint64
	// Rate is the last delivery rate that the kernel measured, in bytes a
	// second (draft-cheng-iccrg-delivery-rate-estimation); 0: none yet.
	Rate uint64
	// Speed is what was acknowledged between the last two passes at which the
	// flow got on, in bytes a second; 0: not known.
	Speed uint64
	// RTT is smoothed (RFC 6298), MinRTT the least of the last minutes.
	RTT, MinRTT time.Duration
	Cwnd        uint32 // congestion window, in segments
	MSS         uint32 // bytes a segment
	Out         uint32 // segments sent and not acknowledged
	Window      uint32 // bytes that the client has room for, as it last said; 0 also on kernels before 5.4
	Retrans     uint32 // segments sent again, in all
	// Busy is how long there was something to send, and Receiver how much of
	// that the client's receive window was the limit.
	Busy, Receiver time.Duration
	// AppLimited: Rate was measured while the server had too little to send.
	AppLimited bool
	// Pace is how much the server sends at most, in bytes a second
	// (SO_MAX_PACING_RATE); 0: no limit.
	Pace uint64
	// Closing: one side has sent a FIN.
	Closing bool
	// First is the pass that saw it first, and Moved the last one at which it
	// had got on.
	First, Moved time.Time
	// At is the pass that saw it last: with very many sockets not each does.
	At time.Time

	uid          uint64 // the kernel's cookie of the socket: never used twice
	round, asked uint64 // of asking for flows one by one: the last round, and the pass
}

func (f *Flow) id() sockdiag.ID { return sockdiag.ID{Local: f.VIP, Remote: f.Client, Cookie: f.uid} }

// Limited is the share of its busy time that a flow waited for its client, in
// 0 to 1 (tcpi_rwnd_limited of tcpi_busy_time).
func (f *Flow) Limited() float64 {
	if f.Busy <= 0 {
		return 0
	}
	return min(1, float64(f.Receiver)/float64(f.Busy))
}
