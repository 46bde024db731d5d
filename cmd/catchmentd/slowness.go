package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/pop/slowness"
	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/resync/flow"
	"github.com/catchment/catchment/server/resync/flow/tap"
)

// slowNets recognizes client networks that take little: it makes samples of
// the transfers of our cache server and of the kernel's flows, has all networks
// judged now and then, and hands the judgement to files, to the other POPs and
// to the DNS server. What was seen is kept over a restart.
type slowNets struct {
	d      *parts
	log    *slog.Logger
	store  *slowness.Store
	book   *slowness.Book
	served *slowness.Served
	last   atomic.Pointer[judgement] // nil: none yet
	lists  atomic.Pointer[slowLists]
	cfg    atomic.Pointer[config.Slowness]
	turn   atomic.Uint64 // counts changes of what DNS is to be told
	joined atomic.Pointer[joined]

	mu      sync.Mutex
	errs    map[string]error       // by what was tried last; nil ones worked
	asked   map[policy.POPID]error // of other POPs, the last time
	told    saying
	judging sync.Mutex // held by one judgement at a time
}

// judgement is a judgement, and what comes of it.
type judgement struct {
	report *slowness.Report
	moves  slowness.Moves
	took   time.Duration
}

// How often connections of our cache server are looked at, files of lists are
// looked for changes, and what is known is written to the disk. judgeShare is
// how much of one core judging may take.
const (
	servedEvery = time.Second
	listsEvery  = 5 * time.Second
	keepEvery   = 10 * time.Minute
	judgeShare  = 0.05
)

// buildSlowness makes it; none where there is neither a rate nor a list.
func (d *parts) buildSlowness() error {
	c := &d.cfg.Slowness
	if !c.On() {
		return nil
	}
	s := &slowNets{d: d, log: d.log.With("part", "slowness"), errs: map[string]error{}, asked: map[policy.POPID]error{}}
	s.cfg.Store(c)
	lists, err := readSlowLists(c)
	if err != nil {
		return err
	}
	s.lists.Store(lists)
	s.store = slowness.New(slowness.Options{Limits: limitsOf(c), Max: c.Networks, Half: c.HalfLife, Samples: c.Samples})
	s.book = slowness.NewBook(s.store)
	s.served = &slowness.Served{Store: s.store}
	if c.Rate > 0 {
		s.restore()
	}
	d.slow = s
	return nil
}

func limitsOf(c *config.Slowness) slowness.Limits {
	return slowness.Limits{Slow: uint64(c.Rate / 8), LeastBytes: uint64(c.Least)}
}

// file is where what is known is kept.
func (s *slowNets) file() string { return filepath.Join(s.d.cfg.StateDir, "slowness") }

// restore reads what a former life knew. What is broken, or was counted with
// another half-life, is left.
func (s *slowNets) restore() {
	old, err := os.ReadFile(s.file())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = s.store.Restore(old)
	}
	if err != nil {
		s.log.Warn("what was known of client networks is not used", "file", s.file(), "err", err)
	}
}

// keep writes what is known to the disk.
func (s *slowNets) keep(now time.Time) {
	if s.d.dry || s.cfg.Load().Rate == 0 {
		return
	}
	s.note("keep", writeWhole(s.file(), func(w io.Writer) error {
		_, err := w.Write(s.store.Snapshot(now, 0))
		return err
	}))
}

// note keeps how something went, and says when that changes.
func (s *slowNets) note(what string, err error) {
	s.mu.Lock()
	before := s.errs[what]
	s.errs[what] = err
	s.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.log.Error("it is tried again", "what", what, "err", err)
	case err == nil && before != nil:
		s.log.Info("it works again", "what", what)
	}
}

func (s *slowNets) String() string { return "slowness" }

// tasks are it.
func (s *slowNets) tasks() []task {
	if s == nil {
		return nil
	}
	return []task{s}
}

// Run works until ctx ends. Nothing that goes wrong in it is an error.
func (s *slowNets) Run(ctx context.Context) error {
	var life sync.WaitGroup
	defer life.Wait()
	life.Go(func() { s.share(ctx) })
	defer func() { s.keep(time.Now()) }()
	tick := time.NewTicker(servedEvery)
	defer tick.Stop()
	judge, files, keep := time.Now(), time.Now().Add(listsEvery), time.Now().Add(keepEvery)
	for {
		now := time.Now()
		s.served.Pass(now)
		if !now.Before(files) {
			s.reread()
			files = now.Add(listsEvery)
		}
		if !now.Before(judge) {
			took := s.judge(now)
			judge = now.Add(max(s.cfg.Load().Judge, time.Duration(float64(took)/judgeShare)))
		}
		if !now.Before(keep) {
			s.keep(now)
			keep = now.Add(keepEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// judge judges all networks, writes the files and has DNS told.
func (s *slowNets) judge(now time.Time) time.Duration {
	s.judging.Lock()
	defer s.judging.Unlock()
	c := s.cfg.Load()
	began := time.Now()
	j := &judgement{report: s.book.Report(now)}
	guard := slowness.Guard{Stale: c.Stale, Most: c.Most}
	j.moves = guard.Judge(j.report)
	j.took = time.Since(began)
	before := s.last.Swap(j)
	if j.moves.Held != "" && (before == nil || before.moves.Held == "") {
		s.log.Warn("what was measured of client networks moves nobody", "why", j.moves.Held)
	}
	if before == nil || !slices.EqualFunc(before.moves.Networks, j.moves.Networks, alike) {
		s.turn.Add(1)
	}
	s.write(c, j.report)
	return time.Since(began)
}

// alike reports whether two networks mean the same to the DNS server.
func alike(a, b slowness.Network) bool { return a.Prefix == b.Prefix && a.Class == b.Class }

// powerDNSTTL is how long, in seconds, a client may be sent as it was.
const powerDNSTTL = 30

// write writes the files of a report.
func (s *slowNets) write(c *config.Slowness, r *slowness.Report) {
	if s.d.dry {
		return
	}
	if c.Export != "" {
		s.note("export", about("slowness.export", writeWhole(c.Export, r.WriteCSV)))
	}
	slow, err := s.exported()
	if err != nil {
		s.note("networks", err)
		return
	}
	if c.Nets.File != "" {
		s.note("nets", about("slowness.nets.file", writeWhole(c.Nets.File, func(w io.Writer) error { return slowness.WriteNets(w, c.Nets.Datacenters, slow) })))
	}
	if p := &c.PowerDNS; p.File != "" {
		zone := nets.PowerDNS{Name: p.Name, Server: p.Server, Default: p.Near, Serial: uint32(time.Now().Unix()), TTL: powerDNSTTL}
		s.note("powerdns", about("slowness.powerdns.file", writeWhole(p.File, func(w io.Writer) error { return slowness.WritePowerDNS(w, &zone, p.Cheap, slow) })))
	}
}

// exported is who is slow for other DNS servers: those that ours would send to
// cheap POPs, nobody while the ceiling on harm has stopped it.
func (s *slowNets) exported() (*steer.Slow, error) {
	if stopped, _ := s.d.cost.stopped(); stopped {
		return nil, nil
	}
	return s.current()
}

func about(key string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// writeWhole writes a file to the side and puts it in its place, so that who
// reads it never reads a half.
func writeWhole(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// begins hears of each large answer of our cache server.
func (s *slowNets) begins(r cache.Resuming) {
	if s != nil && r.Conn != nil && r.Length >= s.cfg.Load().Least {
		s.served.Begin(r.Conn, time.Now())
	}
}

// measures reports whether samples are made.
func (s *slowNets) measures() bool { return s != nil && s.cfg.Load().Rate > 0 }

// ours reports whether an address and port is one of our cache server, whose
// connections are looked at one by one.
func (s *slowNets) ours(a netip.AddrPort) bool {
	c := &s.d.cfg.Cache
	for _, l := range slices.Concat(c.Listen, c.TLS.Listen) {
		if l.Port() == a.Port() && (l.Addr().IsUnspecified() || l.Addr() == a.Addr()) {
			return true
		}
	}
	return false
}

// adopt takes over a configuration at a reload.
func (s *slowNets) adopt(cfg *config.Config) error {
	if s == nil || !cfg.Slowness.On() {
		return nil
	}
	c := &cfg.Slowness
	lists, err := readSlowLists(c)
	if err != nil {
		return err
	}
	s.store.SetLimits(limitsOf(c), c.Samples)
	if s.d.table != nil {
		s.d.table.SetVIPs(tableVIPs(cfg))
	}
	s.lists.Store(lists)
	s.cfg.Store(c)
	s.turn.Add(1)
	return nil
}

// flowTable is what the kernel says of the flows of this host's addresses, one
// for all who look at it.
type flowTable struct{ d *parts }

func (flowTable) String() string { return "flows" }

// Run looks at them until ctx ends.
func (f flowTable) Run(ctx context.Context) error {
	defer f.d.closeTap()
	return f.d.table.Run(ctx)
}

// tableVIPs are the addresses whose flows are looked at.
func tableVIPs(cfg *config.Config) (out []netip.Addr) {
	if cfg.Resync.On() {
		out = append(out, cfg.Resync.VIPs...)
	}
	if cfg.Slowness.Rate > 0 {
		out = append(out, cfg.Slowness.VIPs...)
	}
	return out
}

// leastFlow is how many bytes a flow has at least that anybody looks at.
func (d *parts) leastFlow() uint64 {
	r, c := &d.cfg.Resync, &d.cfg.Slowness
	switch {
	case c.Rate == 0 || len(c.VIPs) == 0:
		return uint64(r.Least)
	case !r.On():
		return uint64(c.Least)
	}
	return uint64(min(r.Least, c.Least))
}

// newTable makes the table of flows, read by BPF where that works; nil: nobody
// wants one.
func (d *parts) newTable() *flow.Table {
	r, c := &d.cfg.Resync, &d.cfg.Slowness
	measures := c.Rate > 0 && len(c.VIPs) > 0
	if !r.On() && !measures {
		return nil
	}
	d.openTap()
	o := flow.Options{Max: flow.DefaultMax, Tap: d.tap, Least: d.leastFlow()}
	if r.On() {
		o.Every, o.Max = r.Interval, r.Flows
	}
	if measures {
		if o.Every == 0 || c.Every < o.Every {
			o.Every = c.Every
		}
		o.Max = max(o.Max, flow.DefaultMax)
		follow := slowness.Follow{Store: d.slow.store, Skip: d.slow.skip()}
		o.OnPass = func(s flow.Stats) {
			if s.Err == nil {
				follow.Pass(d.table.Flows(), time.Now())
			}
		}
	}
	d.table = flow.New(o)
	d.table.SetVIPs(tableVIPs(d.cfg))
	return d.table
}

// openTap opens what reads flows at a lower price than sock_diag, which finds
// the same.
func (d *parts) openTap() {
	if d.dry || len(tableVIPs(d.cfg)) == 0 {
		return
	}
	t, err := tap.Open(tap.Options{Least: d.leastFlow()})
	if err != nil {
		d.log.Info("flows are read by sock_diag, not by BPF: CAP_BPF and CAP_PERFMON, Linux 6.3", "err", err)
		return
	}
	d.tap = t
}

// closeTap closes it, after the table has ended.
func (d *parts) closeTap() {
	if d.tap != nil {
		_ = d.tap.Close()
	}
}

// skip says which flows of the table are not followed: those of addresses that
// only others look at, and those of our own cache server.
func (s *slowNets) skip() func(netip.AddrPort) bool {
	return func(a netip.AddrPort) bool { return !slices.Contains(s.cfg.Load().VIPs, a.Addr()) || s.ours(a) }
}
