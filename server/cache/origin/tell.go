package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Other is another cache server of ours that this one asks: a peer in the POP,
// or a parent elsewhere.
type Other struct{ s *server }

// Others are the other servers of the POP.
func (p *Peers) Others() []Other { return others(p.all()) }

// Others are the upstream's parents, of all ranks.
func (u *Upstream) Others() []Other {
	var out []Other
	for _, p := range u.parents {
		out = append(out, others(p.servers)...)
	}
	return out
}

func others(servers []*server) []Other {
	out := make([]Other, 0, len(servers))
	for _, s := range servers {
		out = append(out, Other{s})
	}
	return out
}

// Name is the server's, for people.
func (o Other) Name() string { return o.s.Name }

// URL tells servers apart: two names may be of one.
func (o Other) URL() string { return o.s.base.Scheme + "://" + o.s.base.Host }

// Messages between our own caches. A client's request is never passed on to one
// of them under TellPath, and never proved by TellMethod, so that nobody can
// have a cache sign a message for him.
const (
	TellPath   = "/.well-known/catchment/purge"
	TellMethod = "catchment-purge" // in the place of the method in the proof

	tellTime = 3 * time.Second
	tellRead = 1 << 10 // of an answer, for people
)

// Tell posts a query to TellPath at the server, under our mark, on behalf of a
// message that came by hop (zero: it is our own). Nil: the server has done it,
// or it has been there before on this message's way. It is sent again where a
// kept connection turns out to be dead.
func (o Other) Tell(ctx context.Context, query url.Values, hop Hop) error {
	s := o.s
	if s.identity == nil {
		return errors.New("this cache has no name")
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	u := &url.URL{Scheme: s.base.Scheme, Host: s.base.Host, Path: TellPath, RawQuery: query.Encode()}
	host := s.base.Host
	if s.Host != "" {
		host = s.Host
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: u, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Idempotency-Key": nil}, // for net/http alone: not sent
	}).WithContext(ctx)
	s.identity.mark(req.Header, &Request{Method: TellMethod, Hop: hop}, s.tier, host, u.RequestURI())
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, tellRead))
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusLoopDetected {
		return nil
	}
	return fmt.Errorf("it answered %d: %s", resp.StatusCode, strings.TrimSpace(string(text)))
}
