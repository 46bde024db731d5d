package gobgp

import (
	"context"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Calls of the API that would take the daemon's work out of its hands, and
// what to do instead.
var refusedCalls = map[string]string{
	"StopBgp":                "stop catchmentd instead",
	"StartBgp":               "BGP is started by catchmentd's config",
	"SetPolicies":            "it would remove the own-prefix guard; put policies into the config and reload",
	"SetPolicyAssignment":    "the order of policies is catchmentd's; put it into the config and reload",
	"AddPolicyAssignment":    "the order of policies is catchmentd's; put it into the config and reload",
	"DeletePolicyAssignment": "the order of policies is catchmentd's; put it into the config and reload",
	"EnableZebra":            "catchmentd writes routes into the kernel itself (fib.install)",
	"AddVrf":                 "catchmentd announces unicast routes only",
}

// judge is asked before each call of the gRPC API.
func (s *Speaker) judge(ctx context.Context, method string, request any) (any, error) {
	if call := callName(method); s.opts.MayChange != nil && changes(call) {
		if err := s.opts.MayChange(ctx, call); err != nil {
			return nil, status.Error(codes.PermissionDenied, err.Error())
		}
	}
	if answer, err := s.force(ctx, callName(method), request); answer != nil || err != nil {
		return answer, err
	}
	if err := s.refuse(method, request); err != nil {
		return nil, err
	}
	return nil, s.malformed(ctx, callName(method), request)
}

// callName is the last part of a method: /gobgpapi.GobgpApi/AddPath.
func callName(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

// refuse tells what nobody may do by the gRPC API. All that reads is allowed,
// and so is what an operator does to neighbors; what is Catchment's is not,
// because reconciler and operator would fight over it.
func (s *Speaker) refuse(method string, request any) error {
	name := callName(method)
	if why, ok := refusedCalls[name]; ok {
		return denied(name, why)
	}
	switch r := request.(type) {
	case *api.AddPathRequest:
		return s.refusePath(name, r.GetPath())
	case *api.AddPathStreamRequest:
		for _, p := range r.GetPaths() {
			if err := s.refusePath(name, p); err != nil {
				return err
			}
		}
	case *api.DeletePathRequest:
		if r.GetPath() == nil && len(r.GetUuid()) == 0 {
			return denied(name, "it would withdraw our announcements; delete routes one by one")
		}
		return s.refusePath(name, r.GetPath())
	case *api.AddPolicyRequest:
		return refuseName(name, r.GetPolicy().GetName(), statementNames(r.GetPolicy())...)
	case *api.DeletePolicyRequest:
		return refuseName(name, r.GetPolicy().GetName(), statementNames(r.GetPolicy())...)
	case *api.AddStatementRequest:
		return refuseName(name, r.GetStatement().GetName())
	case *api.DeleteStatementRequest:
		return refuseName(name, r.GetStatement().GetName())
	case *api.AddDefinedSetRequest:
		return refuseName(name, r.GetDefinedSet().GetName())
	case *api.DeleteDefinedSetRequest:
		return refuseName(name, r.GetDefinedSet().GetName())
	case *api.AddPeerRequest:
		return s.refuseSession(name, r.GetPeer().GetRouteServer(), r.GetPeer().GetAfiSafis())
	case *api.UpdatePeerRequest:
		return s.refuseSession(name, r.GetPeer().GetRouteServer(), r.GetPeer().GetAfiSafis())
	case *api.AddPeerGroupRequest:
		return s.refuseSession(name, r.GetPeerGroup().GetRouteServer(), r.GetPeerGroup().GetAfiSafis())
	case *api.UpdatePeerGroupRequest:
		return s.refuseSession(name, r.GetPeerGroup().GetRouteServer(), r.GetPeerGroup().GetAfiSafis())
	}
	return nil
}

// refusePath keeps hands off our own prefixes. Routes of others may be added
// to the table to try things out; export policy lets none of them leave.
func (s *Speaker) refusePath(call string, p *api.Path) error {
	prefix, ok := prefixOfAPI(p)
	if !ok {
		return nil
	}
	if s.owns(prefix) {
		return denied(call, prefix.String()+" is announced by catchmentd; use its drain and hold, or insist with --force")
	}
	return nil
}

func refuseName(call, name string, more ...string) error {
	for _, n := range append([]string{name}, more...) {
		if strings.HasPrefix(n, prefixOurs) {
			return denied(call, n+" is part of catchmentd's guards")
		}
	}
	return nil
}

func statementNames(p *api.Policy) []string {
	var out []string
	for _, s := range p.GetStatements() {
		out = append(out, s.GetName())
	}
	return slices.Compact(out)
}

// refuseSession refuses of a neighbor or a peer group what the configuration
// may not say either.
func (s *Speaker) refuseSession(call string, r *api.RouteServer, families []*api.AfiSafi) error {
	if r.GetRouteServerClient() {
		return denied(call, "a route server's clients are past the own-prefix guard")
	}
	for _, f := range families {
		if f.GetAddPaths().GetConfig().GetSendMax() > 0 && !s.opts.Transit {
			return denied(call, "there is one path for each prefix, and v3 would not withdraw what is withheld from a neighbor with add-paths")
		}
	}
	return nil
}

func denied(call, why string) error {
	return status.Errorf(codes.PermissionDenied, "%s refused by catchmentd: %s", call, why)
}
