package origin

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Request is what is asked of an upstream. It is not changed, and may be used
// again if it has no body.
type Request struct {
	Method string
	// URL gives path and query only; they go out as they are.
	URL *url.URL
	// Host and Scheme are the client's; Scheme "http" if empty.
	Host, Scheme string
	// Header holds end-to-end fields; hop-by-hop ones are left out when sent. A
	// Range or a condition in it goes to the upstream as it is.
	Header http.Header
	// Body is sent once, but a *bytes.Reader as often as need be, from where it is; Length is its length, -1 if not known. A
	// nil Body is none.
	Body   io.Reader
	Length int64
	// Key picks the owner among the peers and the server of a rank of parents.
	// The zero key has no owner: no peer is asked.
	Key [32]byte
	// Proto is the version the client spoke, for Via: "1.0", "1.1" (also if empty),
	// "2" or "3".
	Proto string
	// Hop is what Identity.ReadHop made of the client's request.
	Hop Hop
	// Client is the address of the client, for Forwarded.
	Client netip.Addr
	// Direct leaves out peers; parents are never left out by a request.
	Direct bool
	// Interim gets the 1xx responses as they come, on another goroutine, before
	// Do returns; nil ignores them.
	Interim func(status int, h http.Header)
}

func (r *Request) scheme() string {
	switch {
	case r.Hop.Scheme != "":
		return r.Hop.Scheme
	case r.Scheme != "":
		return r.Scheme
	}
	return "http"
}

func (r *Request) proto() string {
	if r.Proto == "" {
		return "1.1"
	}
	return r.Proto
}

func (r *Request) client() netip.Addr {
	if r.Hop.Client.IsValid() {
		return r.Hop.Client
	}
	return r.Client
}

// again tells whether it may be sent twice (RFC 9110 §9.2.2). A request with
// Idempotency-Key says of itself that it may.
func (r *Request) again() bool {
	if _, ok := r.Body.(*bytes.Reader); r.Body != nil && !ok {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return len(r.Header["Idempotency-Key"]) > 0
}

// Response is a response's header and the body to be read. Body must be closed.
type Response struct {
	Status int
	// Proto is "HTTP/1.1" or the like.
	Proto string
	// Header has no hop-by-hop fields. Trailer is filled when Body is at its end.
	Header, Trailer http.Header
	// Length is the body's length, -1 if not known.
	Length int64
	// Body ends with io.EOF only if the message was whole; else with an *Error.
	Body io.ReadCloser
	// Framed is false for a body that ends with the connection (HTTP/1.0): its end
	// cannot be told from a break, but for TLS.
	Framed bool
	From   From
	// Sent and Received are request_time and response_time of RFC 9111 §4.2.3.
	Sent, Received time.Time
}

// send puts the body into what is sent.
func (r *Request) send(out *http.Request) {
	if r.Body == nil || r.Length == 0 {
		return
	}
	out.Body, out.ContentLength = io.NopCloser(r.Body), r.Length
	if kept, ok := r.Body.(*bytes.Reader); ok {
		from := *kept
		out.GetBody = func() (io.ReadCloser, error) {
			b := from
			return io.NopCloser(&b), nil
		}
		out.Body, _ = out.GetBody()
	}
}

// Tier is the kind of a server.
type Tier uint8

const (
	// Origin is a server of the customer.
	Origin Tier = iota
	// Parent is a cache server in another POP.
	Parent
	// Peer is a cache server of this POP.
	Peer
)

func (t Tier) String() string {
	return [...]string{"origin", "parent", "peer"}[t]
}

// From says where a response came from.
type From struct {
	Tier Tier
	// Name is the server's; Addr the address that was connected to.
	Name string
	Addr netip.AddrPort
	// Rank is the parent's rank, from 0.
	Rank int
	// Attempts counts the requests made until this answer, 1 or more.
	Attempts int
	// Reused tells that the connection was there already.
	Reused bool
}

// String is "parent/FRA-a".
func (f From) String() string {
	return f.Tier.String() + "/" + f.Name
}
