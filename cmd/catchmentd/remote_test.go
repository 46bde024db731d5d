package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catchment/catchment/bgp/gobgp/cli"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// TestRemoteAPI: over TCP the stock gobgp client, our gRPC service and our
// HTTP API are all there for who holds a certificate; to change something
// takes one that is named.
func TestRemoteAPI(t *testing.T) {
	w := newWorld(t)
	ca := apitest.NewAuthority(t, "ours")
	cert, key := ca.Issue(t, "lon.example.net", 2)
	w.write("cert.pem", string(cert))
	w.write("key.pem", string(key))
	w.write("ca.pem", string(ca.PEM))
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port+w.n) }
	w.sections["api"] = fmt.Sprintf(`{socket: %s, gobgp-socket: %s, gobgp-listen: "%s", listen: "%s",
  tls: {certificate: %s, key: %s, client-ca: %s, change: [ann]}}`, w.file("api.sock"), w.file("gobgp.sock"), at(51000), at(52000),
		w.file("cert.pem"), w.file("key.pem"), w.file("ca.pem"))
	w.configure(w.web())
	w.up("web")
	w.start(nil)
	w.r4.await(0, "announce "+web4)

	for name, mayChange := range map[string]bool{"ann": true, "bob": false} {
		own := ca.Client(t, ca, name)
		c := api.NewRemoteClient(at(52000), own)
		defer c.Close()
		if st, err := c.Status(soon(t)); err != nil || st.POP != "LON" {
			t.Errorf("%s: %v, %v", name, st.POP, err)
		}
		if _, err := c.Hold(soon(t), api.Change{Service: "web", Why: "by TCP"}); mayChange != (err == nil) {
			t.Errorf("%s holds: %v", name, err)
		}
		conn, err := grpc.NewClient(at(51000), grpc.WithTransportCredentials(credentials.NewTLS(own)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		g := catchmentv1.NewCatchmentClient(conn)
		watch, err := g.Watch(soon(t), &catchmentv1.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := watch.Recv(); err != nil || e.GetStatus().GetPop() != "LON" {
			t.Errorf("%s watches: %v, %v", name, e, err)
		}
		if _, err := g.Release(soon(t), &catchmentv1.Change{Service: "web"}); mayChange != (err == nil) {
			t.Errorf("%s releases: %v", name, err)
		}
	}
	c := api.NewRemoteClient(at(52000), ca.Client(t, ca, ""))
	defer c.Close()
	if _, err := c.Status(soon(t)); err == nil {
		t.Error("an answer without a certificate")
	}
	var gone *api.Unreachable
	nobody := api.NewRemoteClient(at(53000), ca.Client(t, ca, "ann"))
	defer nobody.Close()
	if _, err := nobody.Status(soon(t)); !errors.As(err, &gone) || gone.Where != at(53000) {
		t.Errorf("nobody there: %v", err)
	}

	stock := stockClient(t)
	for name, mayChange := range map[string]bool{"ann": true, "bob": false} {
		cert, key := ca.Issue(t, name, 3)
		w.write(name+".pem", string(cert))
		w.write(name+".key", string(key))
		host, port, _ := strings.Cut(at(51000), ":")
		run := func(args ...string) (string, error) {
			args = append([]string{"-u", host, "-p", port, "--tls", "--tls-ca-file", w.file("ca.pem"),
				"--tls-client-cert-file", w.file(name + ".pem"), "--tls-client-key-file", w.file(name + ".key")}, args...)
			out, err := exec.CommandContext(soon(t), stock, args...).CombinedOutput()
			var ours bytes.Buffer
			if status := cli.Run(soon(t), cli.Options{Name: "catchment", Out: &ours, Err: &ours}, args); (status == 0) != (err == nil) || ages.ReplaceAllString(ours.String(), "") != ages.ReplaceAllString(string(out), "") {
				t.Errorf("%q: the stock client says %v\n%s\nours %d\n%s", args, err, out, status, &ours)
			}
			return string(out), err
		}
		if out, err := run("global", "rib"); err != nil || !strings.Contains(out, web4) {
			t.Errorf("%s: gobgp global rib: %v\n%s", name, err, out)
		}
		if out, err := run("neighbor", w.r4.addr.String(), "softresetout"); mayChange != (err == nil) || !mayChange && !strings.Contains(out, "certificate bob (127.0.0.1) may read but not change") {
			t.Errorf("%s: gobgp softresetout: %v\n%s", name, err, out)
		}
	}
	e, err := w.client().Explain(soon(t), sliceOf(t, web4))
	if err != nil || e.Slice.Stance.Action != policy.Announce {
		t.Errorf("%+v, %v", e.Slice, err)
	}
}

// ages of routes differ from one call to the next.
var ages = regexp.MustCompile(`\d\d:\d\d:\d\d`)

// stockClient builds GoBGP's own client of the pinned module.
func stockClient(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "gobgp")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", bin, "github.com/osrg/gobgp/v3/cmd/gobgp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build gobgp: %v\n%s", err, out)
	}
	return bin
}
