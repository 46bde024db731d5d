// Package steer makes the four-step choice of rendezvous DNS: which POP a
// client is sent to by the answer to a query, and how far that answer may be
// shared with other clients.
//
//  1. location: the longest prefix of a map (Nets) that has the client subnet
//     of the query (ECS, RFC 7871) or, without one or where the map does not
//     know it, the resolver; unknown: the POP that was asked;
//  2. destination: what the location means for this name or this customer;
//  3. POPs: the weighted list of the destination, or its list of cheap POPs for
//     slow networks and for names under the slow label ("slowpop.");
//  4. state: health, stance and headroom of the POPs, failover, and what POPs
//     hand to one another by reservation.
//
// The answer is up to eight addresses of caches of this POP, or the unicast
// name of another one (a CNAME).
//
// The caller's steps: build Nets from files, New from the configuration and
// the Nets, With whenever the state of a POP changes, and Choose for each
// query (or Place once, and Shares to make answers in advance). Explain is
// Choose with a Trace.
//
// Maps of overlapping networks are flattened into ranges of equal answers, so
// that the scope of an answer (RFC 7871 section 7.2.1) never covers a client
// that would get another one, and is not longer than that needs.
//
// The package is pure: it reads no file and no clock, rolls no dice (the caller
// gives a seed), and all it makes is immutable and can be used by any number of
// goroutines. It measures no slowness (pop/slowness) and judges no health.
package steer
