package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// foreignTLS is for a cluster that somebody else runs.
func foreignTLS(t config.CoreTLS) (*tls.Config, error) {
	bundle, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("core.tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("core.tls.ca: %s holds no certificate", t.CA)
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		return &c, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("core.tls: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, GetClientCertificate: load}, nil
}

// certify gives this POP a certificate of the authority that lives here.
func (h *Host) certify(ca *core.CA) error {
	key, err := keyOf(h.files.Key)
	if err != nil {
		return err
	}
	cert, err := ca.Issue(key.Public(), core.Subject{Name: h.cfg.Name, Hosts: h.hosts(), Voter: true}, 0)
	if err != nil {
		return err
	}
	t, err := ca.Trust()
	if err != nil {
		return err
	}
	return errors.Join(writeFile(h.files.CA, t.Bundle), writeFile(h.files.CRL, t.CRL), writeFile(h.files.Cert, cert))
}

// keepCertificate gets a new certificate when a third of the old one's life is
// left.
func (h *Host) keepCertificate(ctx context.Context) {
	for {
		left, err := h.lifeLeft()
		if err == nil && left < core.DefaultLife/3 {
			err = h.renew(ctx)
		}
		if err != nil && ctx.Err() == nil {
			h.log.Error("the certificate is not renewed", "err", err, "left", left)
			h.wrong("certificate", fmt.Sprintf("its certificate is not renewed, %v left: %v", left.Round(time.Hour), err))
		} else {
			h.right("certificate")
		}
		if !lapse.Of(ctx, time.Hour+rand.N(time.Hour)) {
			return
		}
	}
}

func (h *Host) renew(ctx context.Context) error {
	if ca := h.authority.Load(); ca != nil {
		return h.certify(ca)
	}
	f, err := h.known()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(h.files.Cert, h.files.Key)
	if err != nil {
		return err
	}
	bundle, err := os.ReadFile(h.files.CA)
	if err != nil {
		return err
	}
	key, err := keyOf(h.files.Key)
	if err != nil {
		return err
	}
	err = errors.New("nobody is known who could")
	for _, addr := range f.Joins {
		var w core.Welcome
		if w, err = core.Renew(ctx, addr, pair, bundle, key); err == nil {
			h.log.Info("the certificate is renewed", "by", addr)
			return writeFile(h.files.Cert, w.Certificate)
		}
	}
	return err
}

// followTrust keeps authority and revocations on disk those of now. The
// authority's own POP publishes them first.
func (h *Host) followTrust(ctx context.Context) {
	for {
		err := h.publishTrust(ctx)
		if err == nil {
			err = core.FollowTrust(ctx, h.core, h.files)
		}
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("whose certificates count is not followed", "err", err)
		if !lapse.Of(ctx, retry) {
			return
		}
	}
}

func (h *Host) publishTrust(ctx context.Context) error {
	ca := h.authority.Load()
	if ca == nil {
		return nil
	}
	t, err := ca.Trust()
	if err != nil {
		return err
	}
	var now core.Trust
	if o, err := h.core.Get(ctx, core.Key{Kind: core.KindTrust, Name: "fleet"}); err == nil && o.Into(&now) == nil && now.Number >= t.Number {
		return nil
	}
	return ca.Publish(ctx, h.core, h.Write("the authority's certificates"))
}

// where is what a member says of itself: where it answers clients, and joins.
type where struct {
	Clients string `json:"clients,omitempty"`
	Joins   string `json:"joins,omitempty"`
}

const wherePrefix = "where/"

// publish puts into the core where this member answers others.
func (h *Host) publish(ctx context.Context) {
	k := core.Key{Kind: core.KindMember, Name: wherePrefix + h.cfg.Name}
	want := where{h.cfg.Clients.Advertise, h.cfg.Joins.Advertise}
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		var is where
		o, err := h.core.Get(ctx, k)
		if err == nil {
			err = o.Into(&is)
		}
		if is == want && (err == nil || errors.Is(err, core.NotFound)) {
			return
		}
		v, _ := core.Marshal(want) // two texts
		if _, err = h.core.Put(ctx, h.Write("where this member answers"), k, v, core.Any); err == nil {
			return
		}
		if !lapse.Of(ctx, pause) {
			return
		}
	}
}

// followMembers keeps where members answer on disk and in the engine.
func (h *Host) followMembers(ctx context.Context) {
	table := core.NewTable[where](h.core, core.KindMember, nil)
	for {
		err := table.Follow(ctx, wherePrefix, func(items map[string]core.Item[where], _ int64) error {
			f, err := h.known()
			if err != nil {
				return err
			}
			next := fleet{First: f.First}
			for _, name := range slices.Sorted(maps.Keys(items)) {
				next = next.with(items[name].V)
			}
			if len(next.Endpoints) == 0 || slices.Equal(next.Endpoints, f.Endpoints) && slices.Equal(next.Joins, f.Joins) {
				return nil
			}
			urls := asURLs(next.Endpoints)
			h.endpoints.Store(&urls)
			b, err := json.Marshal(next)
			if err != nil {
				return err
			}
			return writeFile(h.fleetFile(), b)
		})
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("where members answer is not followed", "err", err)
		if !lapse.Of(ctx, retry) {
			return
		}
	}
}

func (f fleet) with(w where) fleet {
	if w.Clients != "" {
		f.Endpoints = append(f.Endpoints, w.Clients)
	}
	if w.Joins != "" {
		f.Joins = append(f.Joins, w.Joins)
	}
	return f
}

// serveJoins lets POPs in that have a token, and renews certificates.
func (h *Host) serveJoins(ctx context.Context) {
	host, _, _ := net.SplitHostPort(h.cfg.Joins.Advertise) // the configuration has judged it
	for {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Joins.Listen)
		if err == nil {
			h.right("joins")
			s := &core.JoinServer{CA: h.authority.Load(), Core: h.core, Name: h.cfg.Name, Hosts: []string{host}, Fleet: h.welcome}
			err = s.Serve(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		h.wrong("joins", fmt.Sprintf("POPs cannot join here: %v", err))
		h.log.Error("POPs cannot join here", "err", err)
		if !lapse.Of(ctx, retry) {
			return
		}
	}
}

// welcome is what a POP that was let in has to know; a member is admitted.
func (h *Host) welcome(ctx context.Context, s core.Subject) (json.RawMessage, error) {
	var f fleet
	table := core.NewTable[where](h.core, core.KindMember, nil)
	items, _, _, err := table.List(ctx, wherePrefix)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		f = f.with(it.V)
	}
	if s.Voter && s.Address != "" {
		f.First, err = h.core.Admit(ctx, core.Write{Who: "pop " + s.Name, Why: "joins as a member with a token"}, s.Name, s.Address)
		if err != nil {
			return nil, &core.Error{Code: core.Unavailable, Op: "admit", Key: s.Name, Err: err}
		}
	}
	if !s.Voter && len(f.Endpoints) == 0 && !h.relays {
		return nil, &core.Error{Code: core.Unavailable, Op: "join", Key: s.Name, Err: errors.New("no member answers clients (core.clients.listen), nor can this POP be followed (relay.listen)")}
	}
	return json.Marshal(f)
}

// Token makes a token with which a POP joins: as a member that others reach at
// address (host:port), or to follow if address is empty. hosts are what else
// its certificate is to be good for.
func (h *Host) Token(ctx context.Context, w core.Write, name, address string, hosts []string, life time.Duration) (core.Token, error) {
	ca := h.authority.Load()
	if ca == nil {
		return core.Token{}, &core.Error{Code: core.Denied, Op: "token", Key: name, Err: h.elsewhere(ctx)}
	}
	s := core.Subject{Name: name, Hosts: hosts, Voter: address != "", Address: address}
	if address != "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return core.Token{}, &core.Error{Code: core.Invalid, Op: "token", Key: name, Err: err}
		}
		if !slices.Contains(hosts, host) {
			s.Hosts = append(s.Hosts, host)
		}
	}
	return ca.NewToken(ctx, h.core, w, s, h.cfg.Joins.Advertise, life)
}

// elsewhere says which POP keeps the authority.
func (h *Host) elsewhere(ctx context.Context) error {
	table := core.NewTable[where](h.core, core.KindMember, nil)
	items, _, _, err := table.List(ctx, wherePrefix, core.Stale())
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.V.Joins != "" {
			return fmt.Errorf("the fleet's authority is kept at %s: ask there", strings.TrimPrefix(it.Key.Name, wherePrefix))
		}
	}
	return errors.New("no POP keeps a certificate authority for the fleet (core.joins)")
}
