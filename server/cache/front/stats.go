package front

import "sync/atomic"

// Stats is a snapshot of counters since New. All only grow, except the two gauges named so.
type Stats struct {
	Accepted      uint64 // connections
	Open          uint64 // gauge: connections now
	RefusedAll    uint64 // connections over Limits.Conns
	RefusedClient uint64 // connections over Limits.ConnsClient
	RefusedLeft   uint64 // connections to addresses of Refuse, of those that the kernel has not refused
	AcceptErrors  uint64
	Handshakes    uint64 // TLS, finished
	BadHandshakes uint64
	Fast          uint64 // requests answered by the fast path
	General       uint64 // requests given to the http.Handler
	HandedOver    uint64 // connections that went to net/http for the first time
	Bad           uint64 // requests refused by the strict parser or a limit (4xx, 5xx of front itself)
	BadAnswers    uint64 // answers of the Hitter that could not be sent as they were
	Slow          uint64 // transfers cut because the client took too little
	SlowBodies    uint64 // request bodies cut because they came too slowly
	SlowHeads     uint64 // heads that were not complete in time
	Panics        uint64 // of Hitter and http.Handler, each ending one connection or stream
	Resets        uint64 // streams reset by clients before the answer was complete
	Abusers       uint64 // connections closed for too many resets
	BytesIn       uint64 // of TCP connections, read
	BytesOut      uint64 // of TCP connections, taken by the kernel
	Sendfile      uint64 // sendfile calls
	SendfileBytes uint64
	CopiedBytes   uint64 // bytes of files that had to be copied through memory (TLS, HTTP/2 and 3, chunked)
	Drained       uint64 // connections that ended by themselves during Drain
	Cut           uint64 // connections closed with a request at work, by Drain's deadline or Close
}

// counters are the live ones of Stats.
type counters struct {
	accepted, refusedAll, refusedClient, refusedLeft, acceptErrors, handshakes, badHandshakes atomic.Uint64
	fast, general, handed, bad, badAnswers, slow, slowBodies, slowHeads                       atomic.Uint64
	resets, abusers, bytesIn, bytesOut, sendfile, sendfileBytes, copied, drained              atomic.Uint64
	cut, panics                                                                               atomic.Uint64
}

// Stats reads all counters.
func (f *Front) Stats() Stats {
	c := &f.stats
	return Stats{
		Accepted: c.accepted.Load(), Open: uint64(f.reg.len()), RefusedAll: c.refusedAll.Load(),
		RefusedClient: c.refusedClient.Load(), RefusedLeft: c.refusedLeft.Load(), AcceptErrors: c.acceptErrors.Load(),
		Handshakes: c.handshakes.Load(), BadHandshakes: c.badHandshakes.Load(),
		Fast: c.fast.Load(), General: c.general.Load(), HandedOver: c.handed.Load(), Bad: c.bad.Load(),
		BadAnswers: c.badAnswers.Load(), Slow: c.slow.Load(), SlowBodies: c.slowBodies.Load(),
		SlowHeads: c.slowHeads.Load(), Panics: c.panics.Load(), Resets: c.resets.Load(), Abusers: c.abusers.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Sendfile: c.sendfile.Load(),
		SendfileBytes: c.sendfileBytes.Load(), CopiedBytes: c.copied.Load(), Drained: c.drained.Load(), Cut: c.cut.Load(),
	}
}
