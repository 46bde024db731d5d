package gobgp_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// TestServicesBesideGoBGP: another service answers on GoBGP's own server, its
// single calls and its streams, and both are described there.
func TestServicesBesideGoBGP(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(71)
	socket := filepath.Join(t.TempDir(), "s")
	checks := health.NewServer()
	checks.SetServingStatus("web", healthv1.HealthCheckResponse_NOT_SERVING)
	start(t, gobgp.Options{Config: config(t, us), APISocket: socket,
		APIServices: func(r grpc.ServiceRegistrar) { healthv1.RegisterHealthServer(r, checks) }})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := api.NewGobgpApiClient(conn).GetBgp(t.Context(), &api.GetBgpRequest{}); err != nil {
		t.Errorf("GoBGP: %v", err)
	}
	c := healthv1.NewHealthClient(conn)
	r, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "web"})
	if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("single call: %v, %v", r, err)
	}
	if _, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "dns"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error of a single call: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.Watch(ctx, &healthv1.HealthCheckRequest{Service: "web"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthv1.HealthCheckResponse_ServingStatus{healthv1.HealthCheckResponse_NOT_SERVING, healthv1.HealthCheckResponse_SERVING} {
		if r, err := stream.Recv(); err != nil || r.GetStatus() != want {
			t.Errorf("stream: %v, %v, want %v", r, err, want)
		}
		checks.SetServingStatus("web", healthv1.HealthCheckResponse_SERVING)
	}
	if err := conn.Invoke(t.Context(), "/catchment.v9.Catchment/Status", &api.GetBgpRequest{}, &api.GetBgpResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a call that is not there: %v", err)
	}
	if got := listed(t, conn); !slices.Contains(got, "grpc.health.v1.Health") || !slices.Contains(got, api.GobgpApi_ServiceDesc.ServiceName) {
		t.Errorf("described: %v", got)
	}
}

// listed are the services that reflection tells of.
func listed(t *testing.T, conn *grpc.ClientConn) (names []string) {
	t.Helper()
	r, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		if err := r.Send(q); err != nil {
			t.Fatal(err)
		}
		a, err := r.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	all := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, s := range all.GetListServicesResponse().GetService() {
		a := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s.GetName()}})
		if len(a.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s has no descriptor", s.GetName())
		}
		names = append(names, s.GetName())
	}
	return names
}

// TestReadersChangeNothing: who may not change things reads, without the
// neighbors' passwords.
func TestReadersChangeNothing(t *testing.T) {
	t.Parallel()
	us, peer, _, _ := loopback4(72)
	for name, trusted := range map[string]bool{"reader": false, "operator": true} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			s := start(t, gobgp.Options{Config: config(t, us, session(us, peer, asA, passive, conf("config", "auth-password", "ssh-secret"))), APISocket: socket,
				SeesSecrets: func(context.Context) bool { return trusted },
				MayChange: func(_ context.Context, call string) error {
					if trusted {
						return nil
					}
					return errors.New("ann may not " + call)
				}})
			for deadline := time.Now().Add(bgptest.Timeout); len(s.Peers()) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			} // they come after Ready
			c := operator(t, socket)
			stream, err := c.ListPeer(t.Context(), &api.ListPeerRequest{})
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for {
				r, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: ListPeer: %v", name, err)
				}
				text.WriteString(r.String())
			}
			if got := strings.Contains(text.String(), "ssh-secret"); got != trusted || !strings.Contains(text.String(), peer.String()) {
				t.Errorf("%s sees %s", name, &text)
			}
			_, err = c.DisablePeer(t.Context(), &api.DisablePeerRequest{Address: peer.String()})
			if trusted != (err == nil) || !trusted && (status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "ann may not DisablePeer")) {
				t.Errorf("%s: DisablePeer: %v", name, err)
			}
			if down := s.Peers()[0].AdminDown; down != trusted {
				t.Errorf("%s: admin down %v", name, down)
			}
		})
	}
}
