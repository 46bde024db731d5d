// Package dns is the authoritative rendezvous DNS server: it answers for the
// zones it is given, over UDP, TCP and TLS (RFC 1035, 7766, 7858), and tells
// clients the addresses that a [zone.Chooser] picks for them by their address
// or EDNS client subnet (RFC 7871).
//
// It decides what one message is answered with: EDNS (RFC 6891), cookies (RFC
// 7873, 9018), NSID (RFC 5001), extended errors (RFC 8914), minimal ANY (RFC
// 8482), response rate limits, transfers out (RFC 5936, 1995) with TSIG (RFC
// 8945), NOTIFY (RFC 1996). Which POP is good for a client is not decided here;
// it never asks another server and is no resolver.
//
// A [Server] owns its sockets and goroutines: for each UDP address one loop a
// core on a socket of its own, a goroutine a TCP connection, one that looks
// after zone files. A plain question for a name without surprises is answered
// by the fast path: own parser, ready-made answers; all else goes through
// github.com/miekg/dns. A fuzz test keeps both the same.
package dns
