package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/journal"
)

// pair are two daemons on one host, with a router each: LON's cache server on
// one port of an address that both announce, FRA's on another, before one
// origin. A client that goes from one port to the other is one whose route has
// flipped.
type pair struct {
	*world
	vip        netip.Addr
	body       []byte
	origins    map[string]string // by POP
	fraAsked   atomic.Int64
	interval   string // resync.interval
	lon, fra   *process
	here, away *api.Client // LON's and FRA's
}

// bodySize is more than what sockets hold on the way.
const bodySize = 48 << 20

func newPair(t *testing.T) *pair { return newPairWith(t, "stated: 0", "100ms") }

// newPairWith is one whose FRA has a further key in resync.jump, and both an
// interval.
func newPairWith(t *testing.T, jump, interval string) *pair {
	w := newWorld(t)
	p := &pair{world: w, interval: interval, origins: map[string]string{}, vip: netip.AddrFrom4([4]byte{192, 0, 2, byte(w.n)}), body: make([]byte, bodySize)}
	rand.Read(p.body)
	for _, pop := range []string{"LON", "FRA"} {
		origin := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if pop == "FRA" {
				p.fraAsked.Add(1)
			}
			out.Header().Set("Cache-Control", "max-age=3600")
			out.Header().Set("Etag", `"version-1"`)
			http.ServeContent(out, r, "", time.Unix(1e9, 0), bytes.NewReader(p.body))
		}))
		t.Cleanup(origin.Close)
		p.origins[pop] = origin.URL
	}
	p.certificates("LON", "FRA")
	fra := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	router := startRouter(t, fra.Next())
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`, "web": `{listen: ""}`,
		"api": fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp": fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, fra, neighbor(fra, router.addr)),
	}
	p.common("FRA", fra, "LON", w.us4, 8081, jump)
	w.configureAs("fra.yaml", p.service())
	w.sections = lon
	p.common("LON", w.us4, "FRA", fra, 8080, "stated: 0")
	w.configure(p.service())
	w.up("web")
	p.lon, p.fra = w.start(nil), w.start(nil, "--config", w.file("fra.yaml"))
	p.lon.says("msg=ready")
	p.fra.says("msg=ready")
	p.here, p.away = w.client(), api.NewClient(w.file("a2.sock"))
	t.Cleanup(p.away.Close)
	return p
}

// common are the sections of both.
func (p *pair) common(pop string, at netip.Addr, peer string, peerAt netip.Addr, port int, jump string) {
	p.sections["web"] = `{listen: ""}`
	p.sections["guards"] = "{stale: 2s}" // a busy machine is no dead POP
	p.sections["fleet"] = fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, at, p.file("secret"), peer, peerAt)
	p.sections["cache"] = fmt.Sprintf(`{name: %s, h2c: true, listen: ["%s:%d"], store: {ram: 16MiB, disk: %s, size: 256MiB}, sites: [{name: www, hosts: [www.example.com], upstream: {origins: [{url: "%s"}]}}]}`, pop, p.vip, port, p.file("store"+pop), p.origins[pop])
	p.sections["resync"] = fmt.Sprintf(`{listen: "%s:9792", interval: %s, reset-after: 300ms, tls: {certificate: %s, key: %s, ca: %s}, jump: {services: ["*"], pin: "", %s}}`,
		at, p.interval, p.file(pop+".pem"), p.file(pop+".key"), p.file("ca.pem"), jump)
}

func (p *pair) service() string {
	return p.web(fmt.Sprintf("vips: {addresses: [%s]}", p.vip), "drain: {wait: 4s}") // time to be looked at on a busy machine
}

// certificates makes those of POPs.
func (p *pair) certificates(pops ...string) {
	p.t.Helper()
	ca, err := core.OpenCA(p.file("authority"), "lab")
	if err != nil {
		p.t.Fatal(err)
	}
	trust, err := ca.Trust()
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("ca.pem", string(trust.Bundle))
	for _, pop := range pops {
		key, text, err := core.NewKey()
		if err != nil {
			p.t.Fatal(err)
		}
		cert, err := ca.Issue(key.Public(), core.Subject{Name: pop}, time.Hour)
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(pop+".pem", string(cert))
		p.write(pop+".key", string(text))
	}
}

// http is a client with a small window for a port of the address.
func (p *pair) http(port int) *http.Client {
	tr := &http.Transport{ReadBufferSize: 4 << 10, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
		}}
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(p.vip, uint16(port)).String())
	}}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// get asks for the film at a port of the address, from an offset on.
func (p *pair) get(port int, from int) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(soon(p.t), "GET", "http://www.example.com/film", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", `"version-1"`)
	}
	resp, err := p.http(port).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// resyncs waits until the status of resync at a POP pleases.
func (p *pair) resyncs(c *api.Client, what string, ok func(api.ResyncStatus) bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		st, err := c.ResyncStatus(soon(p.t))
		if err == nil && ok(st) {
			return
		}
		if time.Now().After(deadline) {
			own, _ := p.here.ResyncStatus(p.t.Context())
			p.t.Fatalf("%s: %+v, %v; LON: %+v", what, st, err, own)
		}
	}
}

// noted waits for a line about flows in the journal of a POP.
func (p *pair) noted(state, words string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		entries, err := journal.ReadDir(p.file(state)+"/journal", journal.Filter{Kind: journal.Resync})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
		var have []string
		for _, e := range entries {
			if strings.Contains(e.Text, words) {
				return
			}
			have = append(have, e.Text)
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q in the journal of %s: %q", words, state, have)
		}
	}
}

// TestResyncDrain: a download under a drain. The other POP knows of it, has
// what comes next before the client asks, and serves the rest; what is left at
// the first is reset; all of it is journaled.
func TestResyncDrain(t *testing.T) {
	p := newPair(t)
	resp := p.get(8080, 0)
	got := make([]byte, 9<<20)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA hears of the flow", func(s api.ResyncStatus) bool {
		return len(s.POPs) == 1 && s.POPs[0].POP == "LON" && s.POPs[0].Known == 1 && s.POPs[0].Up
	})
	flows, err := p.away.ResyncFlows(soon(t), api.ResyncQuery{From: "LON"})
	if err != nil || len(flows) != 1 || flows[0].URL != "http://www.example.com/film" || flows[0].ETag != `"version-1"` || flows[0].Offset > 16<<20 || flows[0].Rate == 0 {
		t.Errorf("FRA knows %+v, %v", flows, err)
	}
	if n := p.fraAsked.Load(); n != 0 {
		t.Errorf("FRA has asked the origin %d times before anything moves", n)
	}
	if _, err := p.here.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA has what comes next", func(s api.ResyncStatus) bool {
		return len(s.POPs) == 1 && len(s.POPs[0].Moving) == 1 && s.POPs[0].Moving[0] == p.vip.String() && s.Warmed.Wanted > 0 && s.Warmed.Done == s.Warmed.Wanted
	})
	asked := p.fraAsked.Load()
	if asked == 0 {
		t.Error("FRA has fetched nothing ahead")
	}
	p.noted("state", "1 flows of "+p.vip.String()+" are handed over to FRA")

	// The drain's time is over: reset, and the rest elsewhere.
	p.noted("state", "1 connections to "+p.vip.String()+" are reset")
	rest, err := io.ReadAll(resp.Body)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the withdraw %d bytes more came, and %v", len(rest), err)
	}
	got = append(got, rest...)
	next := p.get(8081, len(got))
	if next.StatusCode != http.StatusPartialContent {
		t.Fatalf("FRA says %s", next.Status)
	}
	rest, err = io.ReadAll(next.Body)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, p.body) {
		t.Errorf("%d bytes of %d, %v", len(got), len(p.body), err)
	}
	p.resyncs(p.away, "the client goes on at FRA", func(s api.ResyncStatus) bool { return s.Resumed == 1 })
	p.noted("state2", "goes on from LON")
}

// TestResyncTakenBack: a drain that is taken back resets nobody, and others
// hear that nothing moves.
func TestResyncTakenBack(t *testing.T) {
	p := newPair(t)
	resp := p.get(8080, 0)
	got := make([]byte, 2<<20)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		t.Fatal(err)
	}
	moving := func(n int) func(api.ResyncStatus) bool {
		return func(s api.ResyncStatus) bool {
			return len(s.POPs) == 1 && s.POPs[0].Known == 1 && len(s.POPs[0].Moving) == n
		}
	}
	p.resyncs(p.away, "FRA hears of the flow", moving(0))
	if _, err := p.here.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA hears that it moves", moving(1))
	if _, err := p.here.Undrain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA hears that it stays", moving(0))
	p.noted("state", "flows stay")
	rest, err := io.ReadAll(resp.Body)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, p.body) {
		t.Errorf("%d bytes of %d, %v", len(got), len(p.body), err)
	}
	if s, err := p.here.ResyncStatus(soon(t)); err != nil || s.Reset != 0 {
		t.Errorf("%d connections were reset, %v", s.Reset, err)
	}
}

// TestResyncDeath: a POP dies; the other wakes its clients, once the fleet
// says that it is gone, and only then.
func TestResyncDeath(t *testing.T) {
	p := newPair(t)
	resp := p.get(8080, 0)
	if _, err := io.ReadFull(resp.Body, make([]byte, 2<<20)); err != nil {
		t.Fatal(err)
	}
	p.resyncs(p.away, "FRA hears of the flow and announces", func(s api.ResyncStatus) bool {
		return len(s.POPs) == 1 && s.POPs[0].Known == 1 && len(s.Announced) == 1 && !s.POPs[0].Gone && len(s.Takeovers) == 0
	})
	p.lon.cmd.Process.Kill()
	p.resyncs(p.away, "FRA takes over", func(s api.ResyncStatus) bool {
		return len(s.Takeovers) == 1 && s.Takeovers[0].POP == "LON" && s.Takeovers[0].Flows == 1 && s.Takeovers[0].Woken == 1 && s.POPs[0].Gone && s.Probes.Sent > 0
	})
	p.noted("state2", "the clients of LON, which is gone, are woken: 1 of the 1 flows")
	next := p.get(8081, 2<<20)
	if next.StatusCode != http.StatusPartialContent {
		t.Fatalf("FRA says %s", next.Status)
	}
	p.resyncs(p.away, "the client that came is let be", func(s api.ResyncStatus) bool {
		return s.Resumed == 1 && s.Probes.Done == 1 && s.Probes.Waiting == 0
	})
}
