package gobgp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/bgp/gobgp/cli"
)

// insistent takes forced changes as a controller would: they come back by Set.
type insistent struct {
	mu  sync.Mutex
	s   *speaker
	got []gobgp.Forced
	err error
}

func (i *insistent) onForced(ctx context.Context, f gobgp.Forced) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return "", i.err
	}
	i.got = append(i.got, f)
	set := slices.DeleteFunc(i.s.Announced(), func(a bgp.Announcement) bool { return a.Prefix == f.Prefix })
	if !f.Withdraw {
		set = append(set, bgp.Announcement{Prefix: f.Prefix, Attributes: f.Attributes})
	}
	return "taken: Größe", i.s.Set(ctx, set)
}

// TestForce: our own client's words, a speaker, and a neighbor that hears what
// was asked for by force, and nothing of what is refused.
func TestForce(t *testing.T) {
	t.Parallel()
	us, peer, _, _ := loopback4(33)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peer, Peers: []map[string]any{session(peer, us, ourAS, passive)}})
	i := &insistent{}
	socket := filepath.Join(t.TempDir(), "s")
	s := start(t, gobgp.Options{Config: config(t, us, session(us, peer, asA)), APISocket: socket, OnForced: i.onForced})
	i.s = s
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		n := cli.Run(t.Context(), cli.Options{Name: "catchment", Socket: socket, Out: &out, Err: &errs}, append([]string{"global", "rib"}, args...))
		return n, out.String(), errs.String()
	}
	s.set(t, announce(web4))
	a.AwaitRoute(web4, nil)

	if n, out, _ := run("add", web4.String(), "med", "50"); n != 1 || !strings.Contains(out, "refused by catchmentd") || !strings.Contains(out, "--force") {
		t.Errorf("without --force: %d %s", n, out)
	}
	if n, out, _ := run("add", "192.0.2.1/24"); n != 1 || !strings.Contains(out, "192.0.2.0/24 is announced by catchmentd") {
		t.Errorf("with host bits: %d %s", n, out)
	}
	n, out, errs := run("add", web4.String(), "med", "50", "aspath", "64500 64500", "community", "64500:7,65535:0", "large-community", "64500:1:2",
		"--force", "--why", "Ticket 4711: Überlast")
	if n != 0 || out != "" || errs != "catchment: taken: Größe\n" {
		t.Errorf("add: %d %q %q", n, out, errs)
	}
	a.AwaitRoute(web4, func(p bgp.Path) bool {
		return p.MED != nil && *p.MED == 50 && slices.Equal(p.ASPath, []uint32{ourAS, ourAS, ourAS}) &&
			slices.Equal(p.Communities, []bgp.Community{64500<<16 | 7, bgp.GracefulShutdown}) &&
			slices.Equal(p.LargeCommunities, []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 2}})
	})
	for _, add := range [][]string{
		{"aspath", "64501"}, {"aspath", "{64500}"}, {"origin", "egp"}, {"origin", "incomplete"}, {"aggregator", "64500:10.0.0.1"},
		{"rt", "64500:1"}, {"aigp", "metric", "5"}, {"identifier", "7"}, {"large-community", "4294967295:1:2"}, {"nexthop", "2001:db8::1"},
		{"community", manyCommunities(1100)}, // 4400 bytes: no UPDATE holds them
		{"--why", "two\nlines"}, {"--why", strings.Repeat("x", 2000)},
	} {
		if n, out, errs := run(slices.Concat([]string{"add", web4.String()}, add, []string{"--force"})...); n != 1 || !strings.Contains(out, "AddPath: 192.0.2.0/24 by force: ") {
			t.Errorf("%q: %d %s%s", add, n, out, errs)
		}
	}
	if n, out, _ := run("add", alien4.String(), "--force"); n != 0 { // GoBGP's table takes it, nobody hears of it
		t.Errorf("foreign prefix: %d %s", n, out)
	}
	i.err = errors.New("not today")
	if n, out, _ := run("del", web4.String(), "--force"); n != 1 || !strings.Contains(out, "not today") {
		t.Errorf("refused: %d %s", n, out)
	}
	i.err = nil
	if n, out, _ := run("del", web4.String(), "--force"); n != 0 {
		t.Errorf("del: %d %s", n, out)
	}
	a.AwaitNone(web4)
	if got := a.All(); len(got) != 0 {
		t.Errorf("the neighbor has %v", got)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.got) != 2 || i.got[0].Why != "Ticket 4711: Überlast" || i.got[0].By == "" || i.got[0].Withdraw || !i.got[1].Withdraw || i.got[1].Prefix != web4 {
		t.Errorf("taken: %+v", i.got)
	}
}

func manyCommunities(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("64500:%d", i)
	}
	return strings.Join(all, ",")
}

// TestForceIsOfOneGlobalRoute: what is not one route of the global table is
// refused, forced or not, and so is all where nobody takes it.
func TestForceIsOfOneGlobalRoute(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(34)
	i := &insistent{}
	for name, on := range map[string]func(context.Context, gobgp.Forced) (string, error){"taken": i.onForced, "nobody": nil} {
		socket := filepath.Join(t.TempDir(), "s")
		i.s = start(t, gobgp.Options{Config: config(t, us), APISocket: socket, OnForced: on})
		conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx := metadata.AppendToOutgoingContext(t.Context(), cli.ForceKey, "1")
		c := api.NewGobgpApiClient(conn)
		path := pathOf(t, web4)
		_, err = c.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path})
		if (err == nil) != (on != nil) {
			t.Errorf("%s: AddPath: %v", name, err)
		}
		gone := pathOf(t, web4)
		gone.IsWithdraw = true // which AddPath takes for a deletion
		if _, err := c.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: gone}); (err == nil) != (on != nil) {
			t.Errorf("%s: AddPath of a withdrawal: %v", name, err)
		}
		if n := len(i.got); on != nil && (n == 0 || !i.got[n-1].Withdraw) {
			t.Errorf("%s: a withdrawal is taken for %+v", name, i.got)
		}
		if _, err := c.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_VRF, VrfId: "red", Path: path}); err == nil {
			t.Errorf("%s: a VRF's route is taken", name)
		}
		if _, err := c.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL}); err == nil {
			t.Errorf("%s: all routes were deleted", name)
		}
		stream, err := c.AddPathStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&api.AddPathStreamRequest{TableType: api.TableType_GLOBAL, Paths: []*api.Path{path}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.CloseAndRecv(); err == nil || !strings.Contains(err.Error(), "refused by catchmentd") {
			t.Errorf("%s: a stream's route: %v", name, err)
		}
		i.s.cancel()
		if err := <-i.s.done; err != nil {
			t.Error(err)
		}
		i.s.done <- nil
	}
}

func pathOf(t *testing.T, p netip.Prefix) *api.Path {
	t.Helper()
	path, err := gobgp.PathForTest(p)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
