package gobgp_test

import (
	"path/filepath"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/catchment/catchment/bgp/gobgp"
)

// TestSessionsAsInTheConfig: a route server's client has a table of its own
// that the own-prefix guard does not see, and v3 does not withdraw from a
// neighbor with add-paths what is withheld from it: there are none, however
// they are asked for.
func TestSessionsAsInTheConfig(t *testing.T) {
	t.Parallel()
	us, peer, _, _ := loopback4(63)
	socket := filepath.Join(t.TempDir(), "s")
	start(t, gobgp.Options{Config: config(t, us), APISocket: socket})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, rs := api.NewGobgpApiClient(conn), &api.RouteServer{RouteServerClient: true}
	group := &api.PeerGroup{Conf: &api.PeerGroupConf{PeerGroupName: "g", PeerAsn: asA}}
	if _, err := c.AddPeerGroup(t.Context(), &api.AddPeerGroupRequest{PeerGroup: group}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddPeer(t.Context(), &api.AddPeerRequest{Peer: &api.Peer{Conf: &api.PeerConf{NeighborAddress: peer.String(), PeerGroup: "g"}}}); err != nil {
		t.Fatal(err)
	}
	served := &api.PeerGroup{Conf: group.Conf, RouteServer: rs}
	more := &api.PeerGroup{Conf: &api.PeerGroupConf{PeerGroupName: "h", PeerAsn: asA}, RouteServer: rs}
	other := &api.Peer{Conf: &api.PeerConf{NeighborAddress: "127.1.63.9", PeerAsn: asA}, RouteServer: rs}
	many := &api.Peer{Conf: other.Conf, AfiSafis: []*api.AfiSafi{{
		Config:   &api.AfiSafiConfig{Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}, Enabled: true},
		AddPaths: &api.AddPaths{Config: &api.AddPathsConfig{SendMax: 2}},
	}}}
	for name, ask := range map[string]func() error{
		"add-paths": func() error { _, err := c.AddPeer(t.Context(), &api.AddPeerRequest{Peer: many}); return err },
		"AddPeer":   func() error { _, err := c.AddPeer(t.Context(), &api.AddPeerRequest{Peer: other}); return err },
		"AddPeerGroup": func() error {
			_, err := c.AddPeerGroup(t.Context(), &api.AddPeerGroupRequest{PeerGroup: more})
			return err
		},
		"UpdatePeerGroup": func() error {
			_, err := c.UpdatePeerGroup(t.Context(), &api.UpdatePeerGroupRequest{PeerGroup: served})
			return err
		},
	} {
		if err := ask(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
}
