package gobgp_test

import (
	"path/filepath"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/catchment/catchment/bgp/gobgp"
)

// TestMalformedRequests: none of these ends the process, as each of them does
// gobgpd v3.37.0.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	us, peer, _, _ := loopback4(62)
	socket := filepath.Join(t.TempDir(), "s")
	start(t, gobgp.Options{Config: config(t, us), APISocket: socket})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	capability, err := anypb.New(&api.MultiProtocolCapability{})
	if err != nil {
		t.Fatal(err)
	}
	families := []*api.AfiSafi{{Config: &api.AfiSafiConfig{Enabled: true}}}
	statement := func(actions *api.Actions) *api.Statement { return &api.Statement{Name: "s", Actions: actions} }
	both := &api.Actions{Med: &api.MedAction{Value: 3}, LocalPref: &api.LocalPrefAction{Value: 4}}
	labelled := &api.Path{Family: &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_MPLS_LABEL}, NlriBinary: []byte("/\x0bZf\xa4\xa9\x12")}
	refused := codes.InvalidArgument
	for _, tc := range []struct {
		call string
		in   proto.Message
		want codes.Code
	}{
		{"DeleteDynamicNeighbor", &api.DeleteDynamicNeighborRequest{PeerGroup: "none", Prefix: "10.0.0.0/8"}, refused},
		{"AddDynamicNeighbor", &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{PeerGroup: "none", Prefix: "10.0.0.0/8"}}, refused},
		{"AddPeerGroup", &api.AddPeerGroupRequest{PeerGroup: &api.PeerGroup{Conf: &api.PeerGroupConf{PeerGroupName: "g"}, AfiSafis: families}}, refused},
		{"UpdatePeerGroup", &api.UpdatePeerGroupRequest{PeerGroup: &api.PeerGroup{Conf: &api.PeerGroupConf{PeerGroupName: "g"}, AfiSafis: families}}, refused},
		{"AddPeer", &api.AddPeerRequest{Peer: &api.Peer{Conf: &api.PeerConf{NeighborAddress: peer.String(), PeerAsn: asA}, AfiSafis: families}}, refused},
		{"UpdatePeer", &api.UpdatePeerRequest{Peer: &api.Peer{Conf: &api.PeerConf{NeighborAddress: peer.String(), PeerAsn: asA},
			State: &api.PeerState{RemoteCap: []*anypb.Any{capability}}}}, refused},
		{"EnableMrt", &api.EnableMrtRequest{Type: api.EnableMrtRequest_TABLE, Filename: filepath.Join(t.TempDir(), "mrt"), DumpInterval: 1 << 40}, refused},
		{"AddStatement", &api.AddStatementRequest{Statement: statement(both)}, codes.OK},
		{"DeleteStatement", &api.DeleteStatementRequest{Statement: statement(both)}, refused},
		{"DeleteStatement", &api.DeleteStatementRequest{Statement: statement(&api.Actions{Med: both.Med})}, codes.OK},
		{"AddPath", &api.AddPathRequest{Path: labelled}, refused},
		{"DeletePath", &api.DeletePathRequest{Path: labelled}, refused},
		{"AddPeerGroup", &api.AddPeerGroupRequest{PeerGroup: &api.PeerGroup{Conf: &api.PeerGroupConf{PeerGroupName: "g"}}}, codes.OK},
		{"AddDynamicNeighbor", &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{PeerGroup: "g", Prefix: "10"}}, refused},
		{"AddDynamicNeighbor", &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{PeerGroup: "g", Prefix: "10.0.0.0/8"}}, codes.OK},
		{"DeleteDynamicNeighbor", &api.DeleteDynamicNeighborRequest{PeerGroup: "g", Prefix: "10.0.0.0/8"}, codes.OK},
	} {
		err := conn.Invoke(t.Context(), "/"+api.GobgpApi_ServiceDesc.ServiceName+"/"+tc.call, tc.in, &emptypb.Empty{})
		if status.Code(err) != tc.want {
			t.Errorf("%s %v: %v, want %v", tc.call, tc.in, err, tc.want)
		}
	}
	if _, err := api.NewGobgpApiClient(conn).GetBgp(t.Context(), &api.GetBgpRequest{}); err != nil {
		t.Error(err)
	}
}
