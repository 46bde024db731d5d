// Package checkpoint brings what a POP knows of its flows to the POPs that
// would get their clients if its routes went: who downloads what, how far, how
// fast. With that another POP can wake clients that only wait, warm what they
// will ask for, and let them go on at their speed.
//
// A POP speaks to each of the others over one connection with certificates on
// both sides; Sender writes and Book keeps what was received. What is sent of
// a flow once is sent again only as changes. A Book is bounded in flows and in
// bytes for each POP, what is in it expires, and a POP can only speak of VIPs
// that its Book was made for: whoever has a POP's key can say much of that
// POP's flows, and nothing of others'.
package checkpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ID names a flow on one connection of two POPs; the sender chooses it.
type ID uint64

// Flow is a flow at some moment.
type Flow struct {
	Client, VIP netip.AddrPort
	// Object is what is downloaded; its zero value: not known, the server is
	// not ours.
	Object Object
	// Offset is how much of the object the client has, from its beginning:
	// where it will go on. Without an object it is the bytes acknowledged.
	Offset uint64
	Rate   uint64        // delivery rate, bytes a second
	RTT    time.Duration // smoothed
	// ClientLimited: the client's receive window was the limit for the most
	// part, and not the path.
	ClientLimited bool
	// Stamp is a time stamp that the connection's segments to the client have
	// passed (RFC 7323 §3), with which the client can be asked for a sign of
	// life and can take nothing for data. 0: the connection has none, or it is
	// not known.
	Stamp uint32
	// Stream tells flows of one connection apart for the Encoder; others are
	// not told of it. 0 where the connection has one at a time.
	Stream uint32
	// Streams is of how many flows of its connection, up to MaxStreams, this is
	// one; Rate is its part of the connection's. 0: it is the only one.
	Streams int
}

// MaxStreams is how many flows of one connection are told.
const MaxStreams = 8

// Object names one version of a representation, the same in all POPs.
type Object struct {
	URL  [16]byte // the first half of the SHA-256 of the cache key
	ETag string   // strong, as in the field: with its quotes; at most MaxETag bytes
	Size uint64   // of the whole, 0: not known
	// Link is the URL itself, with which the object can be fetched before its
	// client asks; empty: it cannot, or is longer than MaxLink.
	Link string
}

// MaxETag is the longest validator that is sent; a flow of an object with a
// longer one is sent without its object. MaxLink is the longest URL.
const (
	MaxETag = 128
	MaxLink = 1024
)

// Errors of a peer that does not keep to the protocol: its connection is
// closed, and what it said before stays until it expires.
var (
	errMalformed = errors.New("malformed")
	errVersion   = errors.New("another version of the protocol")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("checkpoint: %w: %s", errMalformed, fmt.Sprintf(format, args...))
}
