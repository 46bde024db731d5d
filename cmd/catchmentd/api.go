package main

import (
	"context"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/web"
)

// buildAPI makes the control API. It comes before BGP: who connects to the
// gRPC server, and what they may do, is the control API's to say.
func (d *parts) buildAPI() (err error) {
	c := d.cfg.API
	d.server, err = api.New(api.Options{
		Socket: c.Socket, Group: c.Group, Listen: c.Listen, TLS: tlsOf(c.TLS), PlainChange: c.GoBGPChange,
		Page: web.Assets(), Backend: withCore{backend{d.controller, d}}, Core: d.coreAdmin(), Ingress: d.ingressOf(), Cache: d.cacheOf(), Resync: d.resyncOf(), DNS: d.dnsOf(), Slowness: d.slownessOf(), Cost: d.cost, Logger: d.log,
	})
	return err
}

func tlsOf(t *config.TLS) *api.TLS {
	if t == nil {
		return nil
	}
	files := api.TLS(*t)
	return &files
}

// withAPI puts the gRPC server of a speaker under the control API's rights,
// and our own service on it.
func (d *parts) withAPI(o gobgp.Options) gobgp.Options {
	c := d.cfg.API
	o.APISocket, o.APIListen, o.APIGroup = c.GoBGPSocket, c.GoBGPListen, d.server.Group()
	o.APICredentials, o.APIServices = d.server.Credentials(), d.server.Register
	o.MayChange = func(ctx context.Context, call string) error { return d.server.MayChange(ctx, "gobgp "+call) }
	o.SeesSecrets = api.Trusted
	return o
}
