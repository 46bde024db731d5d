package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/rule"
)

// Flow is a transfer under way: which client reads which bytes of which version. It is what another POP needs to go on
// where this one stopped.
type Flow struct {
	Client, Local netip.AddrPort
	URL           string   // as in the key: scheme://host/path?query; empty if no site has it
	Digest        [32]byte // of the key
	ETag          string   // strong, or empty
	First         int64    // position of the transfer's first byte in the representation
	Sent          int64    // about how many bytes went since, the head counted
	Length        int64    // of the transfer; -1: not known
	Began         time.Time
	Conn          *front.Conn // Info gives the kernel's view
	// Stream tells flows of one connection apart (HTTP/2); Sent is then of the body alone, and what Conn.Held says of it is
	// still here. 0: it is the connection's only one.
	Stream uint32
}

// Flows gives the transfers under way that have at least this many bytes to send, those of one connection one after the other. It costs one look at each connection.
func (s *Server) Flows(least int64, yield func(Flow) bool) {
	if s.front == nil {
		return
	}
	for c := range s.front.Conns() {
		var of []Flow // all before the first is given: who gets it may ask the kernel then how much has arrived of each
		for _, t := range c.Transfers() {
			if t.Length >= least {
				of = append(of, s.flowOf(c, t))
			}
		}
		for i := range of {
			if !yield(of[i]) {
				return
			}
		}
	}
}

func (s *Server) flowOf(c *front.Conn, t *front.Transfer) Flow {
	f := Flow{
		Client: c.Remote(), Local: c.Local(), ETag: t.ETag, First: t.First, Sent: max(0, c.Out()-t.OutAt), Length: t.Length,
		Began: t.Began, Conn: c, Stream: t.Stream,
	}
	if t.Stream != 0 {
		f.Sent = t.Body()
	}
	scheme := "http://"
	if c.TLS() {
		scheme = "https://"
	}
	if st, k, err := s.resolve(scheme + t.Host + t.Target); err == nil && !st.NeedsHeaders() {
		f.URL, f.Digest = string(k.URL), sha256.Sum256(k.Bytes)
	}
	return f
}

// noteFlow tells the connection which bytes of which version it is about to send.
func (a *answer) noteFlow(first, length int64) {
	x := a.x
	if x.conn == nil || x.r.Method != http.MethodGet {
		return
	}
	tag := ""
	if a.e.valid.ETag.Strong() {
		tag = string(a.e.valid.ETag)
	}
	x.conn.NoteAnswer(x.w, &front.Transfer{
		Method: x.r.Method, Host: x.r.Host, Target: x.r.RequestURI, Began: x.began, First: first, Length: length, ETag: tag,
	})
}

// Warm brings bytes of a URL into the store, as if a client had asked for them: first to last, both counted; last -1 is to
// the end. It returns when they are there, or why they cannot be stored.
func (s *Server) Warm(ctx context.Context, rawURL string, first, last int64) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return fmt.Errorf("cache: warm %q: want a URL such as http://www.example.com/a.css", rawURL)
	}
	x, err := s.inner(ctx, http.MethodGet, u, http.Header{})
	if err != nil {
		return fmt.Errorf("cache: warm %s: %w", rawURL, err)
	}
	x.req = rule.PlainRequest()
	f := x.lookup()
	defer f.release()
	if f.decision.Action == rule.Fresh {
		return x.ensure(f.entry, first, last)
	}
	p := x.plan(f.entry, f.ok)
	span := &fill.Span{First: first, Last: last}
	if first == 0 && last < 0 {
		span = nil
	}
	out, err := s.fills.Lead(ctx, p.fillKey(f.fields, false), fill.Fetch{Source: p.source(), Range: span, Judge: p.judge})
	if err != nil {
		return fmt.Errorf("cache: warm %s: %w", rawURL, err)
	}
	defer out.Close()
	switch out.Kind {
	case fill.Failed:
		return fmt.Errorf("cache: warm %s: %w", rawURL, out.Err)
	case fill.Passed, fill.Released:
		return fmt.Errorf("cache: warm %s: not stored: %s", rawURL, out.Reason)
	case fill.Shared:
		f.release()
		if f = x.lookup(); !f.ok {
			return fmt.Errorf("cache: warm %s: changed meanwhile", rawURL)
		}
		return x.ensure(f.entry, first, last)
	}
	return out.Flight.Ensure(ctx, first, last)
}

// ensure has the bytes of a stored object fetched that are missing.
func (x *exchange) ensure(e entry, first, last int64) error {
	a := &answer{x: x, e: e, size: e.Size()}
	defer a.close()
	if e.Whole() {
		return nil
	}
	if err := a.fly().Ensure(x.context(), first, last); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cache: warm %s: %w", x.key.URL, err)
	}
	return nil
}

// inner makes an exchange without a client for a URL.
func (s *Server) inner(ctx context.Context, method string, u *url.URL, h http.Header) (*exchange, error) {
	r := &http.Request{
		Method: method, URL: u, Host: u.Host, RequestURI: u.RequestURI(), Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if u.Scheme == "https" {
		r.TLS = innerTLS
	}
	x := s.newExchange(nopWriter{}, r.WithContext(ctx))
	if !x.findSite() {
		return nil, errors.New(x.done.detail)
	}
	x.makeKey()
	return x, nil
}
