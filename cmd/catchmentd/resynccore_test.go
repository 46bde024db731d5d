package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
)

// TestResyncCore: two POPs whose resync names no certificate tell each other of
// flows by those of the core, which FRA has joined by a token. A certificate of
// another authority is refused and counted, though it bears FRA's name; and so
// is FRA's own once it is revoked.
func TestResyncCore(t *testing.T) {
	w := newWorld(t)
	sections := func(i int, peer string, peerAt int) []string {
		return []string{w.plain(i), fmt.Sprintf(`resync: {listen: "%s", peers: [{pop: %s, address: "%s"}]}`, w.addr(i, 9792), peer, w.addr(peerAt, 9792))}
	}
	lon := w.node("LON", fmt.Sprintf(`{mode: embedded, rtt: 100ms, listen: "%s", clients: {listen: "%s"}, joins: {listen: "%s"}}`,
		w.addr(1, 9795), w.addr(1, 9794), w.addr(1, 9793)), sections(1, "FRA", 2)...)
	lon.core("a core", voters(1))
	w.write("FRA.token", lon.do("token", api.CoreChange{Name: "FRA"}).Token)
	fra := w.node("FRA", "{mode: follow, token-file: "+w.file("FRA.token")+"}", sections(2, "LON", 1)...)
	resync := func(d *node, what string, ok func(s api.ResyncStatus, other api.ResyncPOP) bool) {
		t.Helper()
		until(t, d.name+": "+what, func() (api.ResyncStatus, error) { return d.c.ResyncStatus(soon(t)) }, func(s api.ResyncStatus) bool {
			return len(s.POPs) == 1 && ok(s, s.POPs[0])
		})
	}
	for _, d := range []*node{lon, fra} {
		resync(d, "tells and hears the other", func(_ api.ResyncStatus, p api.ResyncPOP) bool { return p.Up && p.Talking && p.Error == "" })
	}

	before, err := lon.c.ResyncStatus(soon(t)) // FRA may have come before it was known who it is
	if err != nil {
		t.Fatal(err)
	}
	mallory, err := core.OpenCA(w.file("mallory"), "lab")
	if err != nil {
		t.Fatal(err)
	}
	key, text, err := core.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := mallory.Issue(key.Public(), core.Subject{Name: "FRA"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := tls.X509KeyPair(cert, text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", w.addr(1, 9792), &tls.Config{Certificates: []tls.Certificate{forged}, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.Copy(io.Discard, c); err == nil { // TLS 1.3: the answer to a certificate comes as an alert
		t.Error("LON hears who has a certificate of another authority")
	}
	resync(lon, "it is refused and counted", func(s api.ResyncStatus, p api.ResyncPOP) bool {
		return s.Refused == before.Refused+1 && p.Talking
	})

	lon.do("revoke", api.CoreChange{Name: "FRA"})
	until(t, "LON knows that FRA's is revoked", func() (bool, error) { return revokedAt(w.file("LON"), w.file("FRA")) }, func(yes bool) bool { return yes })
	fra.kill()
	fra.start()
	resync(lon, "FRA is refused once it is revoked", func(s api.ResyncStatus, p api.ResyncPOP) bool {
		return s.Refused > before.Refused+1 && !p.Up && !p.Talking
	})
	st, err := lon.c.ResyncStatus(soon(t))
	if err != nil || slices.ContainsFunc(st.POPs, func(p api.ResyncPOP) bool { return p.Error == "" }) {
		t.Errorf("LON does not say why it tells FRA nothing: %+v, %v", st.POPs, err)
	}
}
