// Package origin is the upstream side of the cache server: it decides which
// server is asked for what is not stored here (a peer in this POP, a parent in
// another POP, an origin), asks it, and asks again where that is allowed.
//
// It owns the connections to those servers, their health (passive: failures
// seen; active: probes), the cache of their addresses, and the fields that the
// next hop needs and must not see: hop-by-hop fields and those named by
// Connection (RFC 9110 §7.6.1), Via (§7.6.3), Forwarded (RFC 7239), CDN-Loop
// (RFC 8586) and our own mark of the hop. A response says where it came from,
// and an error says what kind of failure it was (RFC 9209 has the names).
//
// It never stores anything, never decides whether an answer may be stored
// (server/cache/rule does), never joins requests (server/cache/fill does), and
// never decodes a content coding: the bytes are the origin's. A body that ends
// before its framing says so ends with an error of kind Truncated, not io.EOF
// (RFC 9112 §8).
package origin
