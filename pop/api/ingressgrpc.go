package api

import (
	"context"

	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// ingressService is the route-controller mode over gRPC.
type ingressService struct {
	catchmentv1.UnimplementedIngressServer
	s *Server
}

func (v ingressService) Report(ctx context.Context, _ *catchmentv1.IngressRequest) (*catchmentv1.IngressReport, error) {
	return answer[catchmentv1.IngressReport](v.s.ingress(ctx))
}
