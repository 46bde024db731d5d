package account

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
	"github.com/catchment/catchment/pop/journal"
)

// Meter is what the POP measures of itself. Counts are totals since the start
// of the daemon.
type Meter interface {
	// Rates are those of its links now, bit/s, and of all it carries under the
	// empty name; what is not known now is left out.
	Rates() []Rate
	// Answers are those of its DNS server.
	Answers() []Answers
	// Redirects are what other POPs were asked to serve.
	Redirects() []Redirected
	// Harm is what players told; nil: it is not measured.
	Harm() *Harm
}

// Told is what another POP said last (Keeper.Message of it).
type Told struct {
	POP policy.POPID
	Raw json.RawMessage
}

// Journal takes what happens.
type Journal interface{ Append(journal.Entry) }

// Options are what a Keeper is made of.
type Options struct {
	POP     policy.POPID
	Config  Config
	Meter   Meter
	Peers   func() []Told
	Journal Journal
	// Alarm raises or clears an alarm; nil: nobody is told.
	Alarm  func(ctx context.Context, on bool, detail string)
	Dir    string // of the files; empty: nothing outlives the daemon
	Logger *slog.Logger
}

// Keeper keeps the books of one POP.
type Keeper struct {
	opt Options
	set chan struct{} // size one: the configuration has changed

	stopped atomic.Pointer[Stop] // nil: steering goes on

	mu      sync.Mutex // guards what follows
	cfg     Config
	pending *Config
	ledger  *cost.Ledger
	names   []string // of its links
	ceiling *cost.Ceiling
	own     []Sample // the slot now, and those before it
	totals  totals   // of the meter, when last asked
	at      time.Time
	heard   map[int64]heard // by slot, those that are not closed
	bad     map[policy.POPID]string
	last    cost.Quality // that was judged last
}

// Stop is why and since when steering is stopped.
type Stop struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // "stalls" or "latency"
	Text  string    `json:"text"`
}

// New makes a keeper; Run starts it. It reads what a former life has left.
func New(o Options) *Keeper {
	k := &Keeper{opt: o, set: make(chan struct{}, 1)}
	k.adopt(o.Config)
	k.remember()
	return k
}

func (k *Keeper) String() string { return "cost" }

// Set brings another configuration. What was written down is billed anew by it.
func (k *Keeper) Set(c Config) {
	k.mu.Lock()
	k.pending = &c
	k.mu.Unlock()
	select {
	case k.set <- struct{}{}:
	default:
	}
}

// adopt puts a configuration in force, with the books of the disk.
func (k *Keeper) adopt(c Config) {
	ledger, names := c.ledger()
	k.read(&c, ledger, names)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cfg.Slot != c.Slot {
		k.own, k.heard = nil, map[int64]heard{}
	}
	if !slices.EqualFunc(k.cfg.POPs, c.POPs, func(a, b POP) bool { return a.ID == b.ID }) {
		k.heard = map[int64]heard{}
	}
	judge := c.ceiling()
	if s := k.stopped.Load(); s != nil {
		judge.Resume(s.Why)
	}
	if !c.On() {
		k.stopped.Store(nil)
	}
	k.cfg, k.ledger, k.names, k.ceiling, k.bad = c, ledger, names, judge, map[policy.POPID]string{}
}

// Stopped tells whether the ceiling has stopped the steering, and why.
func (k *Keeper) Stopped() (bool, string) {
	if s := k.stopped.Load(); s != nil {
		return true, s.Why
	}
	return false, ""
}

// Run measures, files and judges until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTicker(k.opt.Config.tick())
	defer t.Stop()
	if s := k.stopped.Load(); s != nil && k.opt.Config.On() {
		k.say(ctx, true, s.Text)
	}
	k.measure(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.set:
			k.mu.Lock()
			c := k.pending
			k.pending = nil
			k.mu.Unlock()
			if c != nil {
				k.adopt(*c)
				t.Reset(c.tick())
			}
		case <-t.C:
			if k.on() {
				k.round(ctx, time.Now())
			}
		}
	}
}

// on reports whether there is anything to keep books of.
func (k *Keeper) on() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cfg.On()
}

// round is what is done each tick.
func (k *Keeper) round(ctx context.Context, now time.Time) {
	k.measure(now)
	k.hear()
	k.close(now)
	k.judge(ctx, now)
}

// totals are what a meter said last.
type totals struct {
	answers   map[Answers]uint64 // by all but N
	redirects map[policy.POPID]Redirected
	harm      *Harm
}

// measure adds what has been since the last time to the slot that is now.
func (k *Keeper) measure(now time.Time) {
	m := k.opt.Meter
	rates, answers, redirects, harm := m.Rates(), m.Answers(), m.Redirects(), m.Harm()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cfg.On() {
		return
	}
	was, passed := k.totals, now.Sub(k.at)
	first := k.at.IsZero()
	k.at, k.totals = now, totals{answers: map[Answers]uint64{}, redirects: map[policy.POPID]Redirected{}, harm: harm}
	slot := k.cfg.slot(now)
	if len(k.own) == 0 || k.own[0].Slot != slot {
		k.own = slices.Insert(k.own, 0, Sample{Slot: slot, Every: int64(k.cfg.Slot.Seconds())})
		k.own = k.own[:min(len(k.own), told)]
	}
	s := &k.own[0]
	since := func(now, was uint64) uint64 {
		if first || now < was { // what was before the start of the books does not count
			return 0
		}
		return now - was
	}
	for _, a := range answers {
		key := Answers{From: a.From, To: a.To, Why: a.Why}
		k.totals.answers[key] = a.N
		s.answered(key, since(a.N, was.answers[key]))
	}
	for _, r := range redirects {
		k.totals.redirects[r.To] = r
		old := was.redirects[r.To]
		s.redirected(r.To, since(r.Requests, old.Requests), since(r.Bytes, old.Bytes))
	}
	if harm != nil && !first {
		old := Harm{}
		if was.harm != nil {
			old = *was.harm
		}
		if s.Harm == nil {
			s.Harm = &Harm{}
		}
		h := s.Harm
		h.Moved, h.Left = h.Moved+since(harm.Moved, old.Moved), h.Left+since(harm.Left, old.Left)
		h.MovedStalls, h.LeftStalls = h.MovedStalls+since(harm.MovedStalls, old.MovedStalls), h.LeftStalls+since(harm.LeftStalls, old.LeftStalls)
	}
	if first || passed <= 0 {
		return
	}
	s.carried(rates, min(passed, 2*k.cfg.Slot).Seconds())
}

// told is how many slots are told to others: the one that is, and the one
// before it, which nobody has closed yet.
const told = 2

// answered adds answers of one kind.
func (s *Sample) answered(key Answers, n uint64) {
	i := slices.IndexFunc(s.Answers, func(a Answers) bool { return a.From == key.From && a.To == key.To && a.Why == key.Why })
	switch {
	case i >= 0:
		s.Answers[i].N += n
	case n > 0 && len(s.Answers) < maxAnswers:
		key.N = n
		s.Answers = append(s.Answers, key)
	}
}

func (s *Sample) redirected(to policy.POPID, requests, bytes uint64) {
	i := slices.IndexFunc(s.Redirected, func(r Redirected) bool { return r.To == to })
	switch {
	case i >= 0:
		s.Redirected[i].Requests += requests
		s.Redirected[i].Bytes += bytes
	case requests > 0 && len(s.Redirected) < maxLinks:
		s.Redirected = append(s.Redirected, Redirected{to, requests, bytes})
	}
}

// carried brings rates of so many more seconds into the means.
func (s *Sample) carried(rates []Rate, seconds float64) {
	if len(rates) == 0 {
		return // nothing is known of this time
	}
	for _, r := range rates {
		i := slices.IndexFunc(s.Links, func(l Rate) bool { return l.Link == r.Link })
		if i < 0 {
			if len(s.Links) < maxLinks {
				s.Links = append(s.Links, r)
			}
			continue
		}
		part := seconds / (s.Seconds + seconds)
		l := &s.Links[i]
		l.In, l.Out = l.In+(r.In-l.In)*part, l.Out+(r.Out-l.Out)*part
	}
	s.Seconds += seconds
}

// Message is what the other POPs are told: the slot now and those before it. It
// is nil before anything was measured.
func (k *Keeper) Message() json.RawMessage {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.own) == 0 || !k.cfg.On() {
		return nil
	}
	list := slices.Clone(k.own)
	for {
		b, err := json.Marshal(list)
		if err != nil || len(list) == 0 {
			return nil
		}
		if len(b) <= maxTold {
			return b
		}
		list = list[:len(list)-1]
	}
}

// hear files what the POPs say, our own POP too. Of two samples of a slot the
// one that is of more of it counts.
func (k *Keeper) hear() {
	peers := k.opt.Peers()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.file(k.opt.POP, k.own)
	for _, p := range peers {
		if len(p.Raw) == 0 {
			continue
		}
		samples, err := decode(p.Raw)
		switch {
		case err != nil:
			k.refuse(p.POP, err)
		case len(samples) > 0 && samples[0].Every != int64(k.cfg.Slot.Seconds()):
			k.refuse(p.POP, fmt.Errorf("its slots are of %d s, ours of %v (cost.slot)", samples[0].Every, k.cfg.Slot))
		default:
			delete(k.bad, p.POP)
			k.file(p.POP, samples)
		}
	}
}

// refuse notes once what is wrong with what a POP says.
func (k *Keeper) refuse(pop policy.POPID, err error) {
	if k.bad[pop] != err.Error() {
		k.bad[pop] = err.Error()
		k.opt.Logger.Warn("cost: what a POP says of its traffic is not used", "pop", pop, "err", err)
	}
}

func (k *Keeper) file(pop policy.POPID, samples []Sample) {
	i := k.cfg.pop(pop)
	if i < 0 {
		return
	}
	now := k.cfg.slot(k.at)
	for n := range samples {
		s := samples[n]
		if s.Slot > now+1 || s.Slot <= now-told { // a wrong clock, or too late: it is closed
			continue
		}
		h := k.heard[s.Slot]
		if h == nil {
			h = make(heard, len(k.cfg.POPs))
			k.heard[s.Slot] = h
		}
		if h[i] == nil || h[i].Seconds <= s.Seconds {
			h[i] = &s
		}
	}
}

// close writes down the slots that ended a slot ago.
func (k *Keeper) close(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	open := k.cfg.slot(now.Add(-k.cfg.Slot)) // its samples may still come
	var done []int64
	for slot := range k.heard {
		if slot < open {
			done = append(done, slot)
		}
	}
	slices.Sort(done)
	for _, slot := range done {
		sent, moves, quality := k.cfg.sums(k.heard[slot])
		k.ledger.Add(slot, sent, moves, quality)
		k.write(slot, sent, k.ledger.Counterfactual(sent, moves), quality)
		delete(k.heard, slot)
	}
	if len(done) > 0 {
		k.forget(now)
	}
}

// judge asks the ceiling about the window up to now.
func (k *Keeper) judge(ctx context.Context, now time.Time) {
	k.mu.Lock()
	q := k.window(now)
	k.last = q
	was := k.stopped.Load()
	stop, why := k.ceiling.Judge(q)
	var is *Stop
	switch {
	case stop && was == nil:
		is = &Stop{Since: now, Why: why, Text: fmt.Sprintf("steering by cost and slowness is stopped: %s", k.harm(why, q))}
	case stop:
		is = was
	}
	k.stopped.Store(is)
	k.save()
	calm := k.cfg.Ceiling.Calm
	k.mu.Unlock()
	switch {
	case is != nil && was == nil:
		k.say(ctx, true, is.Text)
	case is == nil && was != nil:
		k.say(ctx, false, fmt.Sprintf("steering by cost and slowness goes on: harm was below half of the ceiling for %v", calm))
	}
}

// harm says what is above the ceiling.
func (k *Keeper) harm(why string, q cost.Quality) string {
	c := &k.cfg.Ceiling
	if why == "stalls" {
		return fmt.Sprintf("%.4f more stalls a request of players that were moved than of those left alone in the last %v (%.0f of %.0f requests beside %.0f of %.0f), cost.ceiling.stalls is %v",
			q.ExtraStalls(), c.Window, q.MovedStalls, q.Moved, q.LeftStalls, q.Left, c.Stalls)
	}
	return fmt.Sprintf("answers come %.2f ms later in the mean of the last %v, cost.ceiling.latency is %v", q.Later(), c.Window, c.Latency)
}

// window is the quality of all POPs in the last time: of the slots that are
// closed, and of those that are not.
func (k *Keeper) window(now time.Time) (out cost.Quality) {
	from := k.cfg.slot(now.Add(-k.cfg.Ceiling.Window))
	for _, s := range k.ledger.Between(from, math.MaxInt64, 0) {
		out.Add(s.Quality)
	}
	for slot, h := range k.heard {
		if slot >= from {
			_, _, quality := k.cfg.sums(h)
			for _, q := range quality {
				out.Add(q)
			}
		}
	}
	return out
}

func (k *Keeper) say(ctx context.Context, on bool, text string) {
	k.opt.Journal.Append(journal.Entry{POP: k.opt.POP, Kind: journal.Cost, Text: text})
	k.opt.Logger.Info("cost", "text", text)
	if k.opt.Alarm != nil {
		k.opt.Alarm(ctx, on, text)
	}
}
