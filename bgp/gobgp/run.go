package gobgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"
)

const (
	doubtAge   = 50 * time.Millisecond // a write that takes longer is looked into
	doubtPause = time.Second
	stopTime   = 5 * time.Second // for the end of Run, where no deadline is given
)

// Run speaks BGP until the context ends, or Stop or Leave has been called; it
// then returns nil. A failure to listen, and whatever GoBGP would have ended
// the process for, is its error. It can be called once. GoBGP's own main
// goroutine never ends (v3 has no way to ask it); all others are joined.
func (s *Speaker) Run(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	a, err := listenAPI(s.opts.APISocket, s.opts.APIListen)
	if err != nil {
		cancel()
		return fmt.Errorf("bgp: %w", err)
	}
	a.group = s.opts.APIGroup
	srv := server.NewBgpServer(append(a.options(s.judge, &s.opts), server.LoggerOption(s.glog))...)
	go srv.Serve()
	var tasks sync.WaitGroup
	defer func() {
		cancel()
		s.close(srv)
		a.remove()
		tasks.Wait()
	}()
	if err := a.publish(run, s.glog.fatal); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	if err := s.start(run, srv); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	close(s.ready)
	failed := make(chan error, 1)
	tasks.Go(func() { s.tend(run, srv) })
	tasks.Go(func() { s.followRPKI(run, srv) })
	tasks.Go(func() {
		if err := s.meet(run, srv); err != nil {
			failed <- err
		}
	})
	select {
	case <-ctx.Done():
		return nil
	case <-s.ended:
		return nil
	case err := <-failed:
		return fmt.Errorf("bgp: %w", err)
	case err := <-s.glog.fatal:
		return fmt.Errorf("bgp: %w", err)
	}
}

// start brings the server up: policies before anything can be sent, what has
// been Set so far before anybody can ask for it.
func (s *Speaker) start(ctx context.Context, srv *server.BgpServer) error {
	g := oc.NewGlobalFromConfigStruct(&s.config.set.Global)
	if err := srv.StartBgp(ctx, &api.StartBgpRequest{Global: g}); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := s.setPolicies(ctx, srv, s.config, s.scope, nil); err != nil {
		return err
	}
	if err := s.startExtras(ctx, srv); err != nil {
		return err
	}
	if err := s.watch(ctx, srv); err != nil {
		return err
	}
	s.calls.Lock()
	defer s.calls.Unlock()
	s.mu.Lock()
	if s.phase != idle {
		s.mu.Unlock()
		return errors.New("Run was called after Stop, Leave or another Run")
	}
	s.srv, s.phase = srv, running
	desired := s.desired
	s.mu.Unlock()
	if desired != nil {
		if err := s.apply(ctx, srv, desired); err != nil {
			s.log.Error("bgp: announce", "err", err)
		}
	}
	return nil
}

func (s *Speaker) setPolicies(ctx context.Context, srv *server.BgpServer, c *Config, sc scope, vs []*variant) error {
	r, err := sc.policies(c, vs)
	if err != nil {
		return err
	}
	// While sets and policies are replaced only ours are in force and nothing
	// else passes: an assignment that names a policy that is gone would leave
	// the table without any.
	if err := s.closeExport(ctx, srv); err != nil {
		return err
	}
	s.glog.trial.Store(true) // GoBGP calls Fatal for a bad set, and returns the error too
	err = srv.SetPolicies(ctx, r)
	s.glog.trial.Store(false)
	if err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	return assign(ctx, srv, c)
}

// closeExport takes the user's policies out of force and lets nothing pass.
// At the first start there are none of ours yet either.
func (s *Speaker) closeExport(ctx context.Context, srv *server.BgpServer) error {
	var ours []*api.Policy
	if _, err := s.server(); err == nil {
		ours = []*api.Policy{{Name: policyGuard}, {Name: policyVariants}, {Name: policyStrip}}
	}
	a := &api.PolicyAssignment{Name: "global", Direction: api.PolicyDirection_EXPORT, Policies: ours,
		DefaultAction: api.RouteAction_REJECT}
	if err := srv.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
		return fmt.Errorf("close export: %w", err)
	}
	in := &api.PolicyAssignment{Name: "global", Direction: api.PolicyDirection_IMPORT}
	if len(ours) > 0 {
		in.Policies = []*api.Policy{{Name: policyImport}}
	}
	if err := srv.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: in}); err != nil {
		return fmt.Errorf("close import: %w", err)
	}
	return nil
}

// startExtras starts the monitoring that a gobgpd config can ask for.
func (s *Speaker) startExtras(ctx context.Context, srv *server.BgpServer) error {
	for _, r := range s.config.set.RpkiServers {
		if err := srv.AddRpki(ctx, &api.AddRpkiRequest{Address: r.Config.Address, Port: r.Config.Port,
			Lifetime: r.Config.RecordLifetime}); err != nil {
			return fmt.Errorf("rpki server %s: %w", r.Config.Address, err)
		}
	}
	for _, b := range s.config.set.BmpServers {
		if err := srv.AddBmp(ctx, &api.AddBmpRequest{Address: b.Config.Address, Port: b.Config.Port,
			SysName: b.Config.SysName, SysDescr: b.Config.SysDescr,
			Policy:            api.AddBmpRequest_MonitoringPolicy(b.Config.RouteMonitoringPolicy.ToInt()),
			StatisticsTimeout: int32(b.Config.StatisticsTimeout)}); err != nil {
			return fmt.Errorf("bmp server %s: %w", b.Config.Address, err)
		}
	}
	for _, d := range s.config.set.MrtDump {
		if d.Config.FileName == "" {
			continue
		}
		if err := srv.EnableMrt(ctx, &api.EnableMrtRequest{Type: api.EnableMrtRequest_DumpType(d.Config.DumpType.ToInt()),
			Filename: d.Config.FileName, DumpInterval: d.Config.DumpInterval,
			RotationInterval: d.Config.RotationInterval}); err != nil {
			return fmt.Errorf("mrt dump %s: %w", d.Config.FileName, err)
		}
	}
	return nil
}

// meet adds the neighbors; with Restarting after the first Set.
func (s *Speaker) meet(ctx context.Context, srv *server.BgpServer) error {
	if s.opts.Restarting {
		select {
		case <-s.first:
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	d, err := s.greet(ctx, srv)
	s.stay(ctx, d)
	return err
}

func (s *Speaker) greet(ctx context.Context, srv *server.BgpServer) (*decoy, error) {
	s.calls.Lock()
	defer s.calls.Unlock()
	if _, err := s.server(); err != nil {
		return nil, nil // stopped meanwhile
	}
	s.met = true
	d := s.newDecoy(ctx, srv)
	return d, s.addNeighbors(ctx, srv, s.config)
}

func (s *Speaker) addNeighbors(ctx context.Context, srv *server.BgpServer, c *Config) error {
	for i := range c.set.PeerGroups {
		g := &c.set.PeerGroups[i]
		if err := srv.AddPeerGroup(ctx, &api.AddPeerGroupRequest{PeerGroup: oc.NewPeerGroupFromConfigStruct(g)}); err != nil {
			return fmt.Errorf("peer group %s: %w", g.Config.PeerGroupName, err)
		}
	}
	for _, d := range c.set.DynamicNeighbors {
		if err := srv.AddDynamicNeighbor(ctx, &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{
			Prefix: d.Config.Prefix, PeerGroup: d.Config.PeerGroup}}); err != nil {
			return fmt.Errorf("dynamic neighbors %s: %w", d.Config.Prefix, err)
		}
	}
	hood := &neighborhood{srv: srv, log: s.log}
	for _, n := range c.set.Neighbors {
		// In the copy: the restarting mark is for this start only.
		n.GracefulRestart.State.LocalRestarting = s.opts.Restarting && n.GracefulRestart.Config.Enabled
		s.expect(n)
		// An operator may have been faster, by the API.
		if err := hood.put(ctx, n.State.NeighborAddress, oc.NewPeerFromConfigStruct(&n), true); err != nil {
			return err
		}
	}
	return nil
}

// tend reports finished batches and looks into writes that do not come.
func (s *Speaker) tend(ctx context.Context, srv *server.BgpServer) {
	tick := time.NewTicker(doubtAge)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-s.wire.done:
			if s.opts.OnWritten != nil {
				s.opts.OnWritten(f.start, f.end.Sub(f.start))
			}
		case <-s.glog.synced: // at once: a late neighbor may be about to connect
			s.rearm(ctx, srv)
		case <-tick.C:
			s.doubt(ctx, srv)
			s.wake(ctx, srv)
			s.rearm(ctx, srv)
		}
	}
}

// doubt asks GoBGP whether the writes that take long are to come at all: a
// policy of the user's, or a family that was not negotiated, may hold them
// back. A neighbor that is still syncing after our restart gets them later.
func (s *Speaker) doubt(ctx context.Context, srv *server.BgpServer) {
	for addr, prefixes := range s.wire.doubtful(doubtAge, doubtPause) {
		exports := make(map[netip.Prefix]bool)
		for _, v6 := range []bool{false, true} {
			maps.Copy(exports, s.exports(ctx, srv, addr, prefixes, v6))
		}
		s.wire.excuse(addr, prefixes, exports, doubtAge)
	}
}

// exports lists which of the prefixes GoBGP's policies let out to a neighbor.
func (s *Speaker) exports(ctx context.Context, srv *server.BgpServer, addr netip.Addr, prefixes []netip.Prefix, v6 bool) map[netip.Prefix]bool {
	r := &api.ListPathRequest{TableType: api.TableType_ADJ_OUT, Name: addr.String(), Family: familyOf(v6)}
	for _, p := range prefixes {
		if p.Addr().Is6() == v6 {
			r.Prefixes = append(r.Prefixes, &api.TableLookupPrefix{Prefix: p.String()})
		}
	}
	out := make(map[netip.Prefix]bool)
	if len(r.Prefixes) == 0 {
		return out
	}
	// An error means that the neighbor is gone or lacks the family.
	_ = srv.ListPath(ctx, r, func(d *api.Destination) {
		if p, err := netip.ParsePrefix(d.Prefix); err == nil {
			out[p] = true
		}
	})
	return out
}

// Stop ends in the one safe order: all routes are withdrawn, the withdrawals
// are written to the sockets, and then the sessions are closed by a Cease
// (administrative shutdown). ctx bounds each step; sessions are closed
// whatever happens, and the error says what was not done in time.
func (s *Speaker) Stop(ctx context.Context) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	srv, err := s.server()
	if err != nil {
		s.end(stopping)
		return nil // never started, or over already
	}
	defer s.end(stopping) // only now: the end of Run drops what is not yet written
	errs := []error{s.apply(ctx, srv, nil)}
	errs = append(errs, s.wire.flush(ctx))
	if err := srv.ShutdownPeer(ctx, &api.ShutdownPeerRequest{Communication: "stopping"}); err == nil {
		// The Cease is queued behind the withdrawals, so what was late above
		// may still get out.
		errs = append(errs, s.wire.allDown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bgp: stop: %w", err)
	}
	return nil
}

// Leave ends without a word: what was Set is written, nothing is withdrawn or
// closed, and no NOTIFICATION is sent. v3 has no way to close a session
// without a Cease, so the sockets stay open until the process exits, which it
// should do at once; the kernel then closes them, and neighbors that help
// with graceful restart keep our routes. Neighbors without it drop them: the
// error, of type NoHelpers, names those.
func (s *Speaker) Leave(ctx context.Context) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if _, err := s.server(); err != nil {
		s.end(left)
		return nil
	}
	err := s.wire.flush(ctx)
	var without NoHelpers
	for _, p := range s.Peers() {
		if p.State == "established" && !p.GracefulRestart {
			without = append(without, p.Address)
		}
	}
	s.end(left)
	if err != nil {
		return fmt.Errorf("bgp: leave: %w", err)
	}
	if len(without) > 0 {
		return fmt.Errorf("bgp: leave: %w", without)
	}
	return nil
}

// NoHelpers lists neighbors that drop our routes when we restart, because
// graceful restart was not negotiated with them.
type NoHelpers []netip.Addr

func (n NoHelpers) Error() string {
	return fmt.Sprintf("no graceful restart with %v: they drop our routes", []netip.Addr(n))
}

func (s *Speaker) end(p phase) {
	s.mu.Lock()
	if s.phase != left {
		s.phase = p
	}
	s.mu.Unlock()
	s.endOnce.Do(func() { close(s.ended) })
}

// close shuts GoBGP down, but after Leave. StopBgp heeds no context, so it is
// given its time and then left behind.
func (s *Speaker) close(srv *server.BgpServer) {
	s.mu.Lock()
	quiet := s.phase == left
	if s.phase == running {
		s.phase = stopping
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Stop()
	}()
	select {
	case <-done:
	case <-time.After(stopTime):
		s.log.Warn("bgp: GoBGP does not end", "after", stopTime)
	}
}
