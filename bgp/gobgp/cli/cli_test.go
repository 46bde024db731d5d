package cli_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/catchment/catchment/bgp/gobgp/cli"
)

// TestTakes: which command lines are the stock client's, beside words of ours.
func TestTakes(t *testing.T) {
	ours := []string{"status", "plan", "pop", "reload", "release", "version", "n"}
	others := pflag.NewFlagSet("ours", pflag.ContinueOnError)
	others.String("socket", "", "")
	others.String("color", "", "")
	for line, want := range map[string]bool{
		"":                            false,
		"global":                      true,
		"global rib":                  true,
		"glo rib":                     true,
		"-j global":                   true,
		"-u 10.0.0.1 -p 1 neighbor":   true,
		"--target unix:///x neighbor": true,
		"--target=unix:///x neighbor": true,
		"-a ipv6 global rib":          true,
		"--reason why neighbor":       true,
		"--tls -j -q vrf":             true,
		"--bogus global":              true,
		"v":                           true,  // vrf: we have version, but shorten nothing
		"p":                           true,  // policy
		"n":                           false, // is ours
		"m":                           false, // monitor or mrt
		"mo":                          true,
		"status":                      false,
		"pop":                         false,
		"--socket global status":      false,
		"--socket /run/x.sock global": true,
		"--color global rib":          false,
		"--color never global rib":    true,
		"-j status":                   false,
		"help global":                 false,
		"-- global":                   false,
		"globally":                    false,
		"-u":                          false,
		"--target":                    false,
		"-u global":                   false,
		"log":                         true,
		"completion bash":             false,
	} {
		if got := cli.Takes(strings.Fields(line), func(w string) bool { return slices.Contains(ours, w) }, others); got != want {
			t.Errorf("%q: %t, want %t", line, got, want)
		}
	}
}

// daemon answers some calls and remembers what came with them.
type daemon struct {
	api.UnimplementedGobgpApiServer
	name string
	meta metadata.MD
	path *api.Path
}

func (d *daemon) GetBgp(context.Context, *api.GetBgpRequest) (*api.GetBgpResponse, error) {
	return &api.GetBgpResponse{Global: &api.Global{Asn: 64500, RouterId: d.name}}, nil
}

func (d *daemon) AddPath(ctx context.Context, r *api.AddPathRequest) (*api.AddPathResponse, error) {
	d.meta, _ = metadata.FromIncomingContext(ctx)
	d.path = r.Path
	if len(d.meta.Get(cli.ForceKey)) == 0 {
		return nil, status.Error(codes.PermissionDenied, "AddPath refused by catchmentd: ours")
	}
	return &api.AddPathResponse{}, nil
}

func (d *daemon) DeletePath(ctx context.Context, r *api.DeletePathRequest) (*emptypb.Empty, error) {
	d.meta, _ = metadata.FromIncomingContext(ctx)
	return &emptypb.Empty{}, nil
}

func (d *daemon) serve(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	api.RegisterGobgpApiServer(s, d)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

type said struct {
	status    int
	out, errs string
}

func do(t *testing.T, o cli.Options, args ...string) said {
	t.Helper()
	var out, errs bytes.Buffer
	o.Out, o.Err = &out, &errs
	if o.Name == "" {
		o.Name = "catchment"
	}
	return said{cli.Run(t.Context(), o, args), out.String(), errs.String()}
}

// TestTarget: the daemon's socket if it is there and no flag says otherwise.
func TestTarget(t *testing.T) {
	dir := t.TempDir()
	ours := (&daemon{name: "1.1.1.1"}).serve(t, "unix", filepath.Join(dir, "ours.sock"))
	other := (&daemon{name: "2.2.2.2"}).serve(t, "unix", filepath.Join(dir, "other.sock"))
	tcp := (&daemon{name: "3.3.3.3"}).serve(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(tcp)
	usual := (&daemon{name: "4.4.4.4"}).serve(t, "tcp", "127.0.0.1:50051")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "1.1.1.1"},
		{[]string{"--target", "unix://" + other}, "2.2.2.2"},
		{[]string{"--target", tcp}, "3.3.3.3"},
		{[]string{"-p", port}, "3.3.3.3"},
		{[]string{"-u", "127.0.0.1"}, "4.4.4.4"},
		{[]string{"-p", "50051"}, "4.4.4.4"},
	} {
		got := do(t, cli.Options{Socket: ours}, append(c.args, "global")...)
		if want := "AS:        64500\nRouter-ID: " + c.want + "\n"; got != (said{0, want, ""}) {
			t.Errorf("%q: %+v", c.args, got)
		}
	}
	if got := do(t, cli.Options{Socket: filepath.Join(dir, "none.sock")}, "global"); !strings.Contains(got.out, "4.4.4.4") {
		t.Errorf("no socket, %s: %+v", usual, got)
	}
}

// TestUnreachable: stdout and status are the stock client's; stderr says
// which address was tried and what to do.
func TestUnreachable(t *testing.T) {
	for target, why := range map[string]string{
		"unix:///nowhere/x.sock": "no such file or directory",
		"127.0.0.1:1":            "connection refused",
	} {
		got := do(t, cli.Options{}, "--target", target, "global")
		if got.status != 1 || got.out != "context deadline exceeded\n" {
			t.Errorf("%s: %+v", target, got)
		}
		for _, s := range []string{"tried " + target, why, "systemctl start catchmentd", "--target"} {
			if !strings.Contains(got.errs, s) {
				t.Errorf("%s: stderr lacks %q:\n%s", target, s, got.errs)
			}
		}
	}
}

// TestForce: an operator who means it says so in the call's metadata, and is
// told how where the daemon refuses.
func TestForce(t *testing.T) {
	d := &daemon{}
	socket := d.serve(t, "unix", filepath.Join(t.TempDir(), "x.sock"))
	o := cli.Options{Socket: socket}

	got := do(t, o, "global", "rib", "add", "192.0.2.0/24")
	if got.status != 1 || !strings.Contains(got.out, "refused by catchmentd") || !strings.Contains(got.errs, "catchment drain") {
		t.Errorf("without: %+v", got)
	}
	if v := d.meta.Get(cli.ForceKey); v != nil {
		t.Errorf("without: metadata %q", v)
	}
	if got := do(t, o, "global", "rib", "add", "192.0.2.0/24", "--force", "--why", "ticket 4711"); got != (said{}) {
		t.Errorf("with: %+v", got)
	}
	if f, w := d.meta.Get(cli.ForceKey), d.meta.Get(cli.WhyKey); !slices.Equal(f, []string{"1"}) || !slices.Equal(w, []string{"ticket 4711"}) {
		t.Errorf("metadata %q %q", f, w)
	}
	if got := do(t, o, "global", "rib", "del", "192.0.2.0/24", "--force"); got != (said{}) || d.meta.Get(cli.ForceKey) == nil {
		t.Errorf("del: %+v", got)
	}
	if got := do(t, cli.Options{Name: cli.StockName, Socket: socket}, "global", "rib", "add", "192.0.2.0/24", "--force"); got != (said{}) {
		t.Errorf("as gobgp: %+v", got)
	}
}

// TestHelp: ours describe and have examples, in our name; the stock client's
// stay as they are.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"global", "--help"}, {"global", "rib", "--help"}, {"neighbor", "-h"}, {"policy", "-h"},
		{"policy", "statement", "-h"}, {"vrf", "-h"}, {"monitor"}, {"mrt"}, {"rpki"}, {"bmp", "-h"}, {"log-level"}} {
		got := do(t, cli.Options{}, args...)
		if got.status != 0 || !strings.Contains(got.out, "Examples:\n  catchment "+args[0]) {
			t.Errorf("%q: %+v", args, got)
		}
		if got := do(t, cli.Options{Name: cli.StockName}, args...); got.status != 0 || strings.Contains(got.out, "Examples:") {
			t.Errorf("gobgp %q: %+v", args, got)
		}
	}
	if got := do(t, cli.Options{}, "global", "rib", "--bogus"); got.status != 0 || got.out != "" ||
		!strings.HasPrefix(got.errs, "Error: unknown flag: --bogus\nUsage:\n  catchment global rib [flags]\n") {
		t.Errorf("unknown flag: %+v", got)
	}
}

// TestDifferencesAreSaid: the topic has them all.
func TestDifferencesAreSaid(t *testing.T) {
	long := strings.Join(strings.Fields(cli.DifferencesHelp().Long), " ")
	for _, d := range cli.Differences {
		if d.What == "" || d.How == "" || d.Why == "" || !strings.Contains(long, d.What) || !strings.Contains(long, d.Why) {
			t.Errorf("%+v", d)
		}
	}
}

// TestCommands: for another program's root, with a description each.
func TestCommands(t *testing.T) {
	var names []string
	for _, c := range cli.Commands("catchment") {
		names = append(names, c.Name())
		if c.Short == "" {
			t.Errorf("%s has no description", c.Name())
		}
		if c.PersistentFlags().Lookup("target") == nil {
			t.Errorf("%s does not complete --target", c.Name())
		}
	}
	if want := []string{"bmp", "global", "log-level", "monitor", "mrt", "neighbor", "policy", "rpki", "vrf"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
}
