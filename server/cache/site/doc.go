// Package site decides for whom a request is served: which customer's site its
// host, port, scheme and path belong to, under which key its object is stored,
// and what the customer allows (methods, tokens, rates, header edits).
//
// A Config is one site as it stands in the configuration, or as the control
// core hands it out: one object per site, in YAML or JSON. NewTable checks a
// list of them and builds an immutable Table; a Directory holds the current one
// behind a single pointer. A host that no site names is refused and never
// proxied (RFC 9110 section 15.5.20, 421).
//
// What is in the key is what the origin is asked: a query parameter that the
// key leaves out is not sent, so no request can put something into a shared
// object that other clients did not ask for. Paths are normalized as RFC 3986
// section 6.2.2 says, before anything is decided by them.
//
// The package owns the token buckets of the rate limits. It opens no
// connection, starts no goroutine and never reads a clock.
package site
