package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

// http2 is a client of HTTP/2 in the clear with small windows for a port of
// the address.
func (p *pair) http2(port int) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 256 << 10}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
		}}
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(p.vip, uint16(port)).String())
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestResyncStreams: three downloads on one connection of HTTP/2 under a drain:
// the other POP knows of each, how far it is, and has what comes next of each
// before its client asks; all go on, and their connection jumps once at most.
func TestResyncStreams(t *testing.T) {
	p := newPair(t)
	c := p.http2(8080)
	get := func(c *http.Client, n, from int) io.ReadCloser {
		req, err := http.NewRequestWithContext(soon(t), "GET", fmt.Sprintf("http://www.example.com/film?n=%d", n), nil)
		if err != nil {
			t.Fatal(err)
		}
		if from > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
			req.Header.Set("If-Range", `"version-1"`)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.ProtoMajor != 2 || from > 0 && resp.StatusCode != http.StatusPartialContent {
			t.Fatalf("%s: %s", resp.Proto, resp.Status)
		}
		return resp.Body
	}
	read := []int{1 << 20, 3 << 20, 6 << 20}
	for i, n := range read {
		if _, err := io.CopyN(io.Discard, get(c, i, 0), int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	urls := map[string]int{}
	p.resyncs(p.away, "FRA knows how far each is", func(api.ResyncStatus) bool {
		flows, err := p.away.ResyncFlows(soon(t), api.ResyncQuery{From: "LON"})
		if err != nil || len(flows) != len(read) {
			return false
		}
		for _, f := range flows {
			var n int
			if _, err := fmt.Sscanf(f.URL, "http://www.example.com/film?n=%d", &n); err != nil {
				t.Fatal(f.URL)
			}
			// Not more than the client's window lets it have.
			if f.Offset > uint64(read[n])+256<<10 {
				t.Fatalf("%s is said to be at %d", f.URL, f.Offset)
			}
			if f.Offset+512<<10 < uint64(read[n]) {
				return false
			}
			urls[f.URL]++
		}
		return len(urls) == len(read)
	})
	if _, err := p.here.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA has what comes next of each", func(s api.ResyncStatus) bool {
		return s.Warmed.Wanted >= uint64(len(read)) && s.Warmed.Done == s.Warmed.Wanted
	})
	p.noted("state", "3 flows of "+p.vip.String()+" are handed over to FRA")
	next := p.http2(8081)
	for i, n := range read {
		rest := make([]byte, 1<<20)
		if _, err := io.ReadFull(get(next, i, n), rest); err != nil || !bytes.Equal(rest, p.body[n:n+len(rest)]) {
			t.Errorf("film %d goes on with other bytes, %v", i, err)
		}
	}
	p.resyncs(p.away, "all go on at FRA", func(s api.ResyncStatus) bool {
		shared := 0
		for _, r := range s.Jumps.Refused {
			if r.Reason == "shared" {
				shared = int(r.Flows)
			}
		}
		return s.Resumed == 3 && shared == 2
	})
	p.noted("state2", "beside another stream of its connection")
}

// TestResyncYoung: a flow that has begun since the last word on flows, which
// may be ten seconds ago, is told of when its address begins to move, with the
// word that says so.
func TestResyncYoung(t *testing.T) {
	p := newPairWith(t, "stated: 0", "10s")
	p.resyncs(p.here, "LON has a line to FRA", func(s api.ResyncStatus) bool { return len(s.POPs) == 1 && s.POPs[0].Up })
	resp := p.get(8080, 0)
	if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.here.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA hears that it moves", func(s api.ResyncStatus) bool {
		if len(s.POPs) != 1 || len(s.POPs[0].Moving) == 0 {
			return false
		}
		if s.POPs[0].Known != 1 {
			t.Fatalf("and knows %d flows", s.POPs[0].Known)
		}
		return true
	})
}
