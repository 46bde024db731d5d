// Package get downloads over HTTP so that a broken, silent or moved connection
// is not the end of it: what is missing is asked for by a range request under
// the same validator (RFC 9110 §13.1.5, §14), and goes on at the byte where it
// stopped. It is what `catchment get` is made of.
//
// Transport is an http.RoundTripper whose answers to GET have bodies that do
// this by themselves; who reads one notices a pause at most. File downloads to
// a file, keeps what is there after a failure, goes on with it the next time,
// and checks the digest of the whole. Any server that answers ranges with
// strong validators will do; with Catchment the validators are the same in all
// POPs, so that any of them can go on where another one stopped.
//
// Where an http.Client has followed redirects, attempts to go on ask the server
// that they led to and the first URL in turn: the one may be gone, and the other
// lead elsewhere by now.
//
// Bytes of two versions of an object are never mixed: when the validator has
// changed a body ends with ErrChanged.
package get

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dunglas/httpsfv"
	"golang.org/x/sys/unix"
)

// Options of a Transport. Zero fields mean the defaults.
type Options struct {
	// Base carries the requests; NewBase(0).
	Base http.RoundTripper
	// Again carries the requests that go on. It must not use connections that
	// the broken one may have shared: an idle one or an HTTP/2 connection to a
	// POP that is gone would be as silent. The default is a copy of Base where
	// that is an http.Transport, without keep-alive and HTTP/2; else Base.
	Again http.RoundTripper
	// Stall is how long nothing may come before another connection is tried
	// beside the silent one, at least; 500 ms. It grows with the gaps that
	// are usual on the connection. The one that speaks first is kept.
	Stall time.Duration
	// Patience is how long a body tries without a single byte before it gives
	// up with an error; 2 min.
	Patience time.Duration
	// OnEvent, if not nil, hears what happens to a body, from the goroutine
	// that reads it.
	OnEvent func(Event)
}

// Event is something that happened to a body.
type Event struct {
	Kind   Kind
	Offset int64         // of the object: where it goes on
	POP    string        // that answers: the last cache of Cache-Status (RFC 9211), or ""
	Addr   string        // of the server, where it is known
	Gap    time.Duration // with Resumed: since the last byte
	Err    error         // why it broke, or why an attempt failed
}

// Kind of an Event.
type Kind string

// Kinds.
const (
	Started Kind = "started" // the first answer
	Stalled Kind = "stalled" // nothing comes: another connection is tried beside it
	Broken  Kind = "broken"  // the connection ended early
	Failed  Kind = "failed"  // an attempt to go on was in vain; the next follows
	Resumed Kind = "resumed" // it goes on, on another connection
	Awake   Kind = "awake"   // it goes on, on the same connection
)

// ErrChanged: what is there now is another version than what was begun.
var ErrChanged = errors.New("the object has changed")

var _ http.RoundTripper = (*Transport)(nil)

// Transport resumes bodies. It may be used by many goroutines.
type Transport struct{ opt Options }

// New makes a Transport.
func New(o Options) *Transport {
	o.Stall, o.Patience = cmp.Or(o.Stall, 500*time.Millisecond), cmp.Or(o.Patience, 2*time.Minute)
	if o.Base == nil {
		o.Base = NewBase(0)
	}
	if base, ok := o.Base.(*http.Transport); o.Again == nil && ok {
		again := base.Clone()
		again.DisableKeepAlives, again.ForceAttemptHTTP2 = true, false
		again.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if again.TLSClientConfig != nil {
			again.TLSClientConfig.NextProtos = nil
		}
		o.Again = again
	}
	if o.Again == nil {
		o.Again = o.Base
	}
	return &Transport{opt: o}
}

// NewBase is an http.Transport for large downloads: each connection asks for a
// receive buffer of that many bytes (0: 4 MiB) before it is made, so that its
// window is no limit from the first round trip on, and nothing is decompressed.
func NewBase(buffer int) *http.Transport {
	buffer = cmp.Or(buffer, 4<<20)
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // a wish
		})
	}}
	d.SetMultipathTCP(false)
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext, t.DisableCompression, t.ResponseHeaderTimeout = d.DialContext, true, 30*time.Second
	return t
}

// RoundTrip implements http.RoundTripper. Answers to GET that can be resumed
// have a body that does so; all others are those of Base.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var addr string
	resp, err := t.opt.Base.RoundTrip(traced(req, req.Context(), &addr, new(atomic.Bool)))
	if err != nil {
		return nil, err
	}
	resp.Request = req
	w, ok := resumable(req, resp)
	if !ok {
		return resp, nil
	}
	b := newBody(t.opt, req, resp, w, addr)
	resp.Body = b
	b.tell(Event{Kind: Started, Offset: w.start, POP: POP(resp.Header), Addr: b.cur.addr})
	return resp, nil
}

// POP is the name of the cache nearest to the client: the last one that
// Cache-Status lists (RFC 9211 §2); "" where there is none.
func POP(h http.Header) string {
	list, err := httpsfv.UnmarshalList(h.Values("Cache-Status"))
	if err != nil || len(list) == 0 {
		return ""
	}
	item, ok := list[len(list)-1].(httpsfv.Item)
	if !ok {
		return ""
	}
	switch v := item.Value.(type) {
	case string:
		return v
	case httpsfv.Token:
		return string(v)
	}
	return ""
}

// validator is what If-Range gets: a strong entity tag, or a date that is
// strong because the object was a minute old when it was sent (RFC 9110
// §8.8.2.2); "" where there is neither.
func validator(h http.Header) string {
	if tag := h.Get("Etag"); len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"' {
		return tag
	} else if strings.HasPrefix(tag, "W/") {
		return ""
	}
	modified, err1 := http.ParseTime(h.Get("Last-Modified"))
	date, err2 := http.ParseTime(h.Get("Date"))
	if err1 != nil || err2 != nil || date.Sub(modified) < time.Minute {
		return ""
	}
	return h.Get("Last-Modified")
}
