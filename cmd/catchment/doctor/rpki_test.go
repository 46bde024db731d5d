package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/bgp/rpki/rpkitest"
)

// rewrite changes a configuration, which must have the old words.
func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%v: no %q in %s", err, from, text)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, a string) {
	t.Helper()
	shell(t, "ip address add "+a+"/32 dev lo")
	t.Cleanup(func() { shell(t, "ip address del "+a+"/32 dev lo") })
}

// TestLookAtRPKI: without a daemon, by --rtr, by the configuration, or not.
func TestLookAtRPKI(t *testing.T) {
	address(t, "10.7.9.1")
	path := configure(t, "")
	h := see(t, Options{ConfigPath: path})
	if h.RPKI != nil || len(h.Skipped) != 1 || !strings.Contains(h.Skipped[0], "RPKI: bgp.rpki-servers names no cache; --rtr HOST:PORT asks one") {
		t.Errorf("%+v, skipped %q", h.RPKI, h.Skipped)
	}

	rpkitest.StayRTR(t, "10.7.9.1:8282", vrp("192.0.2.0/24", 24, 64999), vrp("203.0.113.0/24", 24, 64999))
	h = see(t, Options{ConfigPath: path, RTR: "10.7.9.1:8282"})
	for h.RPKI == nil || !h.RPKI.Known { // it has not read its file yet
		h = see(t, Options{ConfigPath: path, RTR: "10.7.9.1:8282"})
	}
	if f, ok := find(h, "roa", "192.0.2.0/24"); !ok || f.Severity != Bad || len(h.Skipped) > 0 || len(h.RPKI.VRPs) != 1 {
		t.Errorf("%v %+v, %+v", ok, f, h.RPKI)
	}
	if f, ok := find(h, "roa", "2001:db8:100::/48"); !ok || f.Severity != Warn {
		t.Errorf("%v %+v", ok, f)
	}

	c := rpkitest.Start(t, "10.7.9.1:0", vrp("192.0.2.0/24", 24, 64500), vrp("2001:db8::/32", 48, 64500))
	rewrite(t, path, "bgp:\n", fmt.Sprintf("bgp:\n  rpki-servers: [{config: {address: 10.7.9.1, port: %d}}]\n", c.Port()))
	h = see(t, Options{ConfigPath: path})
	if h.RPKI == nil || !h.RPKI.Known || has(h, "roa", "192.0.2.0/24") || has(h, "roa", "2001:db8:100::/48") {
		t.Errorf("%+v", h.RPKI)
	}
	c.Close()
	h = see(t, Options{ConfigPath: path})
	if h.RPKI.Known || !strings.Contains(strings.Join(h.Blind, "\n"), "RPKI: RTR cache "+c.Address) {
		t.Errorf("%+v, blind %q", h.RPKI, h.Blind)
	}

	rewrite(t, path, "as: 64500", "as: 64512")
	if h = see(t, Options{ConfigPath: path, RTR: c.Address}); h.RPKI != nil || len(h.Skipped) != 1 || !strings.Contains(h.Skipped[0], "private") {
		t.Errorf("private AS: %+v, skipped %q", h.RPKI, h.Skipped)
	}
}

// TestRPKIOfTheDaemon: by the sessions of the daemon's speaker.
func TestRPKIOfTheDaemon(t *testing.T) {
	address(t, "10.7.9.1")
	path := configure(t, "")
	dir := filepath.Dir(path)
	rewrite(t, path, `gobgp-socket: ""`, "gobgp-socket: "+dir+"/g.sock")
	serve(t, filepath.Join(dir, "c.sock"))
	c := rpkitest.Start(t, "10.7.9.1:0", vrp("192.0.2.0/24", 24, 64999), vrp("2001:db8::/32", 48, 64500))
	speak(t, dir+"/g.sock", c)
	h := see(t, Options{ConfigPath: path})
	for h.RPKI == nil || !h.RPKI.Known {
		h = see(t, Options{ConfigPath: path})
	}
	if !has(h, "roa", "192.0.2.0/24") || has(h, "roa", "2001:db8:100::/48") || has(h, "rtr", c.Address) {
		t.Errorf("%+v", h.RPKI)
	}
	c.Close()
	for !has(h, "rtr", c.Address) {
		h = see(t, Options{ConfigPath: path})
	}
	if h.RPKI.Known || has(h, "roa", "192.0.2.0/24") {
		t.Errorf("%+v", h.RPKI)
	}
}

// speak runs a speaker with an RTR session.
func speak(t *testing.T, socket string, c *rpkitest.Cache) {
	t.Helper()
	section := bgptest.Section(64500, "10.0.0.1", netip.MustParseAddr("10.7.9.1"), 0)
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	section["rpki-servers"] = []any{map[string]any{"config": map[string]any{"address": host, "port": c.Port()}}}
	config, err := gobgp.ParseConfig(section)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gobgp.New(gobgp.Options{Config: config, APISocket: socket})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
}
