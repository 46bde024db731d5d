package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestRemote: every command works on a daemon elsewhere, by a certificate, and
// says what is missing.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	ca := apitest.NewAuthority(t, "ours")
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := ca.Issue(t, "lon", 2)
	own, ownKey := ca.Issue(t, "ann", 3)
	files := api.TLS{Certificate: file("c", cert), Key: file("k", key), ClientCA: file("ca", ca.PEM), Change: []string{"ann"}}
	file("own", own)
	file("own.key", ownKey)
	b := apitest.World()
	srv, err := api.New(api.Options{Socket: filepath.Join(dir, "s"), Listen: "127.0.0.1:0", TLS: &files, Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-srv.Ready()
	us := "--tls-ca-file " + dir + "/ca --tls-client-cert-file " + dir + "/own --tls-client-key-file " + dir + "/own.key "
	there := "--address " + srv.Addr().String() + " "
	for line, want := range map[string]struct {
		status    int
		out, errs string
	}{
		there + us + "status":                    {exitOK, "POP LON", ""},
		there + us + "explain 192.0.2.0/24":      {exitOK, "192.0.2.0/24", ""},
		there + us + "hold web --why disks":      {exitOK, "hold", ""},
		us + "status":                            {exitUsage, "", "are for --address"},
		there + "status":                         {exitUsage, "", "the daemon wants to see a certificate: --tls-client-cert-file"},
		"--address 127.0.0.1:1 " + us + "status": {exitUnreachable, "", "no daemon answers on 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\nIs catchmentd running there, with api.listen"},
		there + strings.ReplaceAll(us, "/ca ", "/own.key ") + "status":             {exitFailed, "", "/own.key holds no certificate"},
		there + strings.ReplaceAll(us, "/own ", "/none ") + "status":               {exitFailed, "", "/none: no such file"},
		there + strings.ReplaceAll(us, "--tls-ca-file "+dir+"/ca ", "") + "status": {exitFailed, "", "certificate signed by unknown authority"},
	} {
		status, out, errs := catchment(t.Context(), filepath.Join(dir, "none"), strings.Fields(line)...)
		if status != want.status || !strings.Contains(out, want.out) || !strings.Contains(errs, want.errs) || (want.out == "") != (out == "") {
			t.Errorf("%s: %d\n%s\n%s", strings.ReplaceAll(line, dir, ""), status, out, errs)
		}
	}
	if len(b.Intents) != 1 || b.Intents[0].By != "certificate ann (127.0.0.1)" {
		t.Errorf("intents %+v", b.Intents)
	}
}
