package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func (c *client) checkReason() error {
	if n := bgp.BGP_ERROR_ADMINISTRATIVE_COMMUNICATION_MAX; len(c.flags.reason) > n {
		return fmt.Errorf("too long reason for shutdown communication (max %d bytes)", n)
	}
	return nil
}

// addressedOrAll is addressed, where "all" stands for all neighbors.
func (c *client) addressedOrAll(args []string) (string, error) {
	if name, _ := last(args); name == "all" {
		return name, nil
	}
	address, _, err := c.addressed(args)
	return address, err
}

// reset closes a session, or has routes sent again in one or both directions.
func (c *client) reset(how string, args []string) error {
	address, err := c.addressedOrAll(args)
	if err != nil {
		return err
	}
	if err := c.checkReason(); err != nil {
		return err
	}
	req := &api.ResetPeerRequest{Address: address, Soft: how != "reset", Direction: api.ResetPeerRequest_BOTH}
	switch how {
	case "reset":
		req.Communication = c.flags.reason
	case "softresetin":
		req.Direction = api.ResetPeerRequest_IN
	case "softresetout":
		req.Direction = api.ResetPeerRequest_OUT
	}
	_, err = c.api.ResetPeer(c.ctx, req)
	return err
}

func (c *client) setState(how string, args []string) (err error) {
	var address string
	if how == "shutdown" {
		address, err = c.addressedOrAll(args)
	} else {
		address, _, err = c.addressed(args)
	}
	if err != nil {
		return err
	}
	if err := c.checkReason(); err != nil {
		return err
	}
	switch how {
	case "shutdown":
		c.println("WARNING: command `shutdown` is deprecated. use `disable` instead")
		_, err = c.api.ShutdownPeer(c.ctx, &api.ShutdownPeerRequest{Address: address, Communication: c.flags.reason})
	case "enable":
		_, err = c.api.EnablePeer(c.ctx, &api.EnablePeerRequest{Address: address})
	case "disable":
		_, err = c.api.DisablePeer(c.ctx, &api.DisablePeerRequest{Address: address})
	}
	return err
}

// changeNeighbor adds, updates or deletes a neighbor, by address or, for
// IPv6 link-local ones, by interface.
func (c *client) changeNeighbor(op string, args []string) error {
	takes := map[string]arity{"interface": one}
	if op != "del" {
		for word, n := range neighborWords {
			takes[word] = n
		}
	}
	m, err := keywords(args, takes)
	if err != nil || len(m[""]) != 1 && len(m["interface"]) != 1 {
		return c.neighborUsage(op)
	}
	var address, device string
	if len(m["interface"]) > 0 {
		device = m["interface"][0]
		if address, err = oc.GetIPv6LinkLocalNeighborAddress(device); err != nil {
			return err
		}
	} else {
		address = m[""][0]
		if _, err := net.ResolveIPAddr("ip", address); err != nil {
			return err
		}
	}
	var p *api.Peer
	if op == "update" {
		if p, err = c.neighbor(address, false); err != nil {
			return err
		}
	} else {
		p = newPeer(address, device)
	}
	if op == "del" {
		_, err := c.api.DeletePeer(c.ctx, &api.DeletePeerRequest{Address: p.Conf.NeighborAddress, Interface: p.Conf.NeighborInterface})
		return err
	}
	if err := configure(p, m); err != nil {
		return err
	}
	if op == "add" {
		_, err = c.api.AddPeer(c.ctx, &api.AddPeerRequest{Peer: p})
	} else {
		_, err = c.api.UpdatePeer(c.ctx, &api.UpdatePeerRequest{Peer: p, DoSoftResetIn: true})
	}
	return err
}

func newPeer(address, device string) *api.Peer {
	p := &api.Peer{
		Conf:           &api.PeerConf{NeighborInterface: device},
		State:          &api.PeerState{NeighborAddress: address},
		RouteServer:    &api.RouteServer{},
		RouteReflector: &api.RouteReflector{},
	}
	if device == "" {
		p.Conf.NeighborAddress = address
	}
	return p
}

var neighborWords = map[string]arity{
	"as": one, "local-as": one, "family": one, "vrf": one, "route-reflector-client": one, "route-server-client": none,
	"allow-own-as": one, "remove-private-as": one, "replace-peer-as": none, "ebgp-multihop-ttl": one,
}

func (c *client) neighborUsage(op string) error {
	s := "neighbor " + op + " [ <neighbor-address> | interface <neighbor-interface> ]"
	switch op {
	case "add":
		s += " as <VALUE>"
	case "update":
		s += " [ as <VALUE> ]"
	}
	if op != "del" {
		s += " [ local-as <VALUE> | family <address-families-list> | vrf <vrf-name> | route-reflector-client [<cluster-id>]" +
			" | route-server-client | allow-own-as <num> | remove-private-as (all|replace) | replace-peer-as | ebgp-multihop-ttl <ttl>]"
	}
	return c.usagef("%s", s)
}

// configure changes p as the keywords say.
func configure(p *api.Peer, m map[string][]string) error {
	for _, n := range []struct {
		word string
		bits int
		set  func(uint32)
	}{
		{"as", 32, func(n uint32) { p.Conf.PeerAsn = n }},
		{"local-as", 32, func(n uint32) { p.Conf.LocalAsn = n }},
		{"allow-own-as", 8, func(n uint32) { p.Conf.AllowOwnAsn = n }},
		{"ebgp-multihop-ttl", 32, func(n uint32) { p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: n} }},
	} {
		v, ok := m[n.word]
		if !ok {
			continue
		}
		i, err := strconv.ParseUint(v[0], 10, n.bits)
		if err != nil {
			return err
		}
		n.set(uint32(i))
	}
	if v, ok := m["family"]; ok {
		if err := setFamilies(p, v[0]); err != nil {
			return err
		}
	}
	if v, ok := m["vrf"]; ok {
		p.Conf.Vrf = v[0]
	}
	if v, ok := m["route-reflector-client"]; ok {
		p.RouteReflector.RouteReflectorClient, p.RouteReflector.RouteReflectorClusterId = true, v[0]
	}
	if _, ok := m["route-server-client"]; ok {
		p.RouteServer.RouteServerClient = true
	}
	if _, ok := m["replace-peer-as"]; ok {
		p.Conf.ReplacePeerAsn = true
	}
	switch v := m["remove-private-as"]; {
	case v == nil:
	case v[0] == "all":
		p.Conf.RemovePrivate = api.RemovePrivate_REMOVE_ALL
	case v[0] == "replace":
		p.Conf.RemovePrivate = api.RemovePrivate_REPLACE
	default:
		return errors.New("invalid remove-private-as value: all or replace")
	}
	return nil
}

// setFamilies replaces the families by a list with commas.
func setFamilies(p *api.Peer, list string) error {
	p.AfiSafis = nil
	for _, f := range strings.Split(list, ",") {
		rf, err := bgp.GetRouteFamily(f)
		if err != nil {
			return err
		}
		afi, safi := bgp.RouteFamilyToAfiSafi(rf)
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: apiutil.ToApiFamily(afi, safi)}})
	}
	return nil
}
