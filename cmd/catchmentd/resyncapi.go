package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
)

// resyncOf answers for the control API; nil where it is not configured.
func (d *parts) resyncOf() api.Resync {
	if d.flows == nil {
		return nil
	}
	return d.flows
}

// ResyncStatus implements api.Resync.
func (f *flows) ResyncStatus(context.Context) (api.ResyncStatus, error) {
	now := time.Now()
	all, left := f.gather.All()
	step := f.step.Load()
	out := api.ResyncStatus{
		POP: f.d.cfg.POP, Now: now, Listen: f.cfg.Listen, Advertise: f.cfg.Advertise, Flows: int64(len(all)), LeftOut: left,
		Announced: texts(step.Announced), Moving: texts(step.Moving), POPs: f.pops(), Reset: f.reset.Load(), Lacks: f.lacks,
	}
	if err := f.certificate(now); err != nil {
		out.Lacks = append(slices.Clone(out.Lacks), "no POP hears of our flows, or tells us of its own: resync.tls: "+err.Error())
	}
	for i := range all {
		if all[i].Own {
			out.Own++
		}
	}
	f.mu.Lock()
	for _, t := range slices.Backward(f.taken) {
		out.Takeovers = append(out.Takeovers, api.ResyncTakeover{
			POP: policy.POPID(t.POP), At: t.at, Flows: int64(t.Flows), Woken: int64(t.Woken), Resumed: t.came, Silent: api.Duration(t.Silent),
		})
	}
	f.mu.Unlock()
	c := f.core.Counts()
	out.Resumed = c.Resumed
	out.Jumps = api.ResyncJumps{Means: "plain", Validated: c.Validated, Retreated: c.Retreated, Ended: c.Ended, Failed: c.Failed, Refused: reasons(c.Refused), Learned: learned(f.core.Learned(maxLearned)), Pairs: pairs(f.core.Pairs())}
	switch {
	case f.jumper != nil:
		out.Jumps.Means = "bpf"
	case f.routes != nil:
		out.Jumps.Means = "route"
	}
	if f.warmer != nil {
		out.Warmed = api.ResyncWarmed(f.warmer.Counts())
	}
	if f.prober != nil {
		p := f.prober.Counts()
		out.Probes = api.ResyncProbes{Sent: p.Sent, Waiting: int64(f.prober.Waiting()), Foreign: p.Foreign, Stale: p.Stale, Full: p.Full, Calm: p.Calm, Failed: p.Failed, Done: p.Done}
	}
	if f.vacater != nil {
		c, err := f.vacater.Counts()
		out.Vacated = api.ResyncVacated(c)
		if err != nil {
			out.Lacks = append(slices.Clone(out.Lacks), "clients whose ports have closed connections here are not reset: CAP_NET_ADMIN: "+err.Error())
		}
	}
	out.Refused, out.Expired = f.refused(), f.book.Expired()
	out.Table = tableStatus(f.table.Stats())
	return out, nil
}

// tableStatus is how the passes over the kernel's sockets go.
func tableStatus(t flow.Stats) api.ResyncTable {
	out := api.ResyncTable{Sockets: int64(t.Sockets), Flows: int64(t.Flows), Cost: api.Duration(t.Cost), Every: api.Duration(t.Wait), Left: t.Left}
	if out.By = "sock_diag"; t.Tapped {
		out.By = "bpf"
	}
	if err := cmp.Or(t.Err, t.Untap); err != nil {
		out.Error = err.Error()
	}
	return out
}

// maxLearned is of how many networks is told what they have earned.
const maxLearned = 20

func learned(all []careful.Learned) (out []api.ResyncLearned) {
	for _, l := range all {
		out = append(out, api.ResyncLearned{From: policy.POPID(l.From), Network: l.Net.String(), Part: l.Part, At: l.Since, Rest: l.Rest})
	}
	return out
}

func pairs(all []careful.LearnedPair) (out []api.ResyncPair) {
	for _, l := range all {
		out = append(out, api.ResyncPair{From: policy.POPID(l.From), Part: l.Part, Networks: int64(l.Networks), Right: int64(l.Right)})
	}
	return out
}

func texts(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func reasons(m map[careful.Reason]uint64) (out []api.ResyncReason) {
	for r, n := range m {
		out = append(out, api.ResyncReason{Reason: string(r), Flows: n})
	}
	slices.SortFunc(out, func(a, b api.ResyncReason) int { return cmp.Compare(a.Reason, b.Reason) })
	return out
}

// stillThere is how lately a POP has spoken that nobody takes for gone.
const stillThere = time.Second

// pops are the other POPs, by what we tell them and what they say.
func (f *flows) pops() []api.ResyncPOP {
	by := map[string]*api.ResyncPOP{}
	at := func(pop string) *api.ResyncPOP {
		if by[pop] == nil {
			by[pop] = &api.ResyncPOP{POP: policy.POPID(pop), Gone: f.gone(pop)}
		}
		return by[pop]
	}
	now := time.Now()
	for _, l := range f.lines() {
		p := at(l.POP)
		p.Address, p.Up, p.Since, p.Told, p.Sent = l.Addr, l.Up, l.Since, int64(l.Flows), l.Bytes
		if l.Err != nil {
			p.Error = l.Err.Error()
		}
	}
	for _, r := range f.book.POPs() {
		p := at(r.POP)
		p.Known, p.Heard, p.Talking = int64(r.Flows), r.Heard, r.Talking
		if r.Talking && now.Sub(r.Heard) < stillThere {
			p.Gone = false // BGP alone may say so of a POP whose routes are not the best ones
		}
		p.Foreign, p.Full, p.Broken = r.Counts.Foreign, r.Counts.Full, r.Counts.Broken
		if !r.Drain.IsZero() {
			if p.Moving = texts(r.Moving); len(p.Moving) == 0 {
				p.Moving = []string{"all"}
			}
		}
	}
	out := make([]api.ResyncPOP, 0, len(by))
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b api.ResyncPOP) int { return cmp.Compare(a.POP, b.POP) })
	return out
}

// lines are our connections to other POPs; none before Run.
func (f *flows) lines() []checkpoint.Line {
	select {
	case <-f.ready:
		return f.exchange.Lines()
	default:
		return nil
	}
}

// refused are connections that were not heard.
func (f *flows) refused() uint64 {
	select {
	case <-f.ready:
		return f.exchange.Refused()
	default:
		return 0
	}
}

// ResyncFlows implements api.Resync.
func (f *flows) ResyncFlows(_ context.Context, q api.ResyncQuery) (out []api.ResyncFlow, err error) {
	if q.From == "" || q.From == f.d.cfg.POP {
		all, _ := f.gather.All()
		for i := range all {
			x := flowOf(f.d.cfg.POP, &all[i].Flow)
			if all[i].Left >= 0 {
				x.Left = &all[i].Left
			}
			out = append(out, x)
		}
	} else {
		if !slices.ContainsFunc(f.book.POPs(), func(r checkpoint.Report) bool { return r.POP == string(q.From) }) {
			return nil, api.Errorf(api.NotFound, "%s has told of no flows", q.From)
		}
		for _, k := range f.book.Flows(string(q.From), time.Now()) {
			x := flowOf(q.From, &k.Flow)
			x.At = k.At
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b api.ResyncFlow) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Client, b.Client))
	})
	if n := int(q.Limit); n > 0 && len(out) > n {
		out = out[:n]
	}
	return out, nil
}

func flowOf(pop policy.POPID, f *checkpoint.Flow) api.ResyncFlow {
	return api.ResyncFlow{
		POP: pop, Client: f.Client.String(), VIP: f.VIP.String(), URL: f.Object.Link, ETag: f.Object.ETag, Offset: f.Offset, Rate: f.Rate,
		RTT: api.Duration(f.RTT), ClientLimited: f.ClientLimited,
	}
}
