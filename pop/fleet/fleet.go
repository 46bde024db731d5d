package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

// Sink takes events from a source. When it returns, the event is in the state
// and every later View shows it. Its error is a Refusal.
type Sink func(Event) error

// Source learns about other POPs.
type Source interface {
	// Run delivers to the sink until the context ends, and joins what it started.
	Run(ctx context.Context, sink Sink) error
	String() string
}

// Local says what this POP does now, one claim for each slice. It goes through
// the goroutine that decides, so that what it says is of one decision and no
// older than the call. It does not block longer than the context.
type Local func(context.Context) ([]Claim, error)

// Peer is another POP that is asked for its status.
type Peer struct {
	POP      policy.POPID
	URL      string  // of its fleet listener, e.g. http://10.9.0.2:9799/
	Capacity float64 // weight in min-capacity; 0 means 1
}

// Config is what a Fleet needs to know.
type Config struct {
	POP     policy.POPID
	Listen  string        // host:port where peers ask; empty: nowhere
	Secrets Secrets       // needed with Listen or Peers
	Poll    time.Duration // between questions to a peer while nothing is in doubt; 0: 1 s
	Timeout time.Duration // of one exchange; 0: 1 s
	Stale   time.Duration // guards.stale: age from which the RIB is preferred to a status
	Peers   []Peer
	Sites   []Site
	Tree    bool // others carry statements to us and from us, see Fleet.Tree
	// Load says what we carry, for answers; empty: it is not known. While it
	// is nil, or says nil, nothing is said of load, and nobody is asked for it.
	// It must not block.
	Load func() json.RawMessage
	// About says what we are (About.Encode), of a decision no older than the
	// last answer of Local; nil: nothing. It must not block.
	About func() json.RawMessage
	// Aside makes what peers are told aside, of so many entries at most; nil:
	// nothing, and a peer that asks gets 404.
	Aside func(most int) []byte
}

// Validate says what is wrong, by the object's name.
func (c Config) Validate() error {
	var errs []error
	if !validName(string(c.POP)) {
		errs = append(errs, fmt.Errorf("pop %q: not a name of 1 to %d printable characters", c.POP, maxName))
	}
	if (c.Listen != "" || len(c.Peers) > 0) && len(c.Secrets) == 0 {
		errs = append(errs, errors.New("a secret is needed with listen or peers"))
	}
	seen := map[policy.POPID]bool{}
	for _, p := range c.Peers {
		u, err := url.Parse(p.URL)
		switch {
		case p.POP == c.POP || seen[p.POP] || !validName(string(p.POP)):
			errs = append(errs, fmt.Errorf("peer %q: own name, given twice, or no name", p.POP))
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "":
			errs = append(errs, fmt.Errorf("peer %s: url %q: want http://HOST:PORT/ or https", p.POP, p.URL))
		}
		seen[p.POP] = true
	}
	sites := map[bgp.LargeCommunity]bool{}
	ribs := map[policy.POPID]bool{}
	for _, s := range c.Sites {
		if s.POP == c.POP || ribs[s.POP] || sites[s.Community] {
			errs = append(errs, fmt.Errorf("rib %s (%v): own name, or POP or community given twice", s.POP, s.Community))
		}
		ribs[s.POP], sites[s.Community] = true, true
	}
	return errors.Join(errs...)
}

// Fleet holds the state and its sources.
type Fleet struct {
	cfg      Config
	log      *slog.Logger
	rib      *RIB
	exchange *Exchange // nil where neither asked nor asking
	tree     *Tree     // nil without Config.Tree
	changed  chan struct{}

	mu    sync.Mutex
	state State
}

// New makes a Fleet; Run starts it. A Config with no peers, sites and listen
// address makes one whose View is not configured.
func New(cfg Config, local Local, log *slog.Logger) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f := &Fleet{cfg: cfg, log: log, rib: NewRIB(cfg.Sites), state: newState(cfg), changed: make(chan struct{}, 1)}
	if cfg.Listen != "" || len(cfg.Peers) > 0 {
		f.exchange = newExchange(cfg, local, log)
	}
	if cfg.Tree {
		voice := f.exchange
		if voice == nil {
			voice = newExchange(cfg, local, log) // which nobody asks
		}
		f.tree = newTree(f, voice)
	}
	return f, nil
}

func newState(cfg Config) State {
	s := State{POP: cfg.POP, Stale: cfg.Stale, paths: map[pathKey]route{}, tree: cfg.Tree, began: time.Now()}
	add := func(id policy.POPID, capacity float64) *PeerState {
		if p := s.peer(id); p != nil {
			return p
		}
		s.Peers = append(s.Peers, newPeer(id, capacity))
		return &s.Peers[len(s.Peers)-1]
	}
	for _, p := range cfg.Peers {
		add(p.POP, weight(p.Capacity)).Status = true
	}
	for _, r := range cfg.Sites {
		add(r.POP, weight(r.Capacity)).RIB = true
	}
	return s
}

func newPeer(id policy.POPID, capacity float64) PeerState {
	return PeerState{
		POP: id, Capacity: capacity,
		beside: map[policy.SliceID]bool{}, lost: map[policy.SliceID]time.Time{},
	}
}

func weight(capacity float64) float64 {
	if capacity == 0 {
		return 1
	}
	return capacity
}

// Run listens, asks and takes in routes until the context ends. A listener
// that cannot be had is an error at once.
func (f *Fleet) Run(ctx context.Context) error {
	sources := []Source{f.rib}
	if f.exchange != nil {
		sources = append(sources, f.exchange)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() {
			defer cancel()
			if err := s.Run(ctx, f.take); err != nil {
				errs[i] = fmt.Errorf("fleet %s: %w", s, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *Fleet) String() string { return "fleet" }

// Ready is closed when peers can ask us; at once where nothing listens.
func (f *Fleet) Ready() <-chan struct{} {
	if f.exchange != nil {
		return f.exchange.ready
	}
	done := make(chan struct{})
	close(done)
	return done
}

// take is the sink of all sources.
func (f *Fleet) take(e Event) error {
	f.mu.Lock()
	changed, err := f.state.Take(e)
	f.mu.Unlock()
	awaited := err == nil && f.tree != nil && f.tree.awaited(e)
	if changed || awaited || f.exchange != nil && f.exchange.awaited(e) {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	return err
}

// Changed has something in it when a decision might come out otherwise than
// before: what a peer says, or an answer that Poke asked for. Bursts are one.
func (f *Fleet) Changed() <-chan struct{} { return f.changed }

// View is what policy may judge by now. See State.View.
func (f *Fleet) View(now time.Time) policy.Fleet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.View(now)
}

// Disagreements lists POPs that say they announce what our RIB does not show.
func (f *Fleet) Disagreements() []Disagreement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Disagreements()
}

// Poke asks every peer at once that has not answered a question asked after
// since; it goes on, faster than the poll, until each has, or until Poke is
// called with a later time. Call it when a decision needs fresh answers, with
// the time of that decision, and when our own state got weaker, so that the
// others hear of it now. It does not block, and repeating it costs nothing.
func (f *Fleet) Poke(since time.Time) {
	if f.exchange != nil {
		f.exchange.poke(since)
	}
	if f.tree != nil {
		f.tree.voice.poke(since)
		f.tree.poke()
	}
}

// Path takes in a learned route of any kind, or the loss of one. See RIB.Path.
func (f *Fleet) Path(p bgp.Path, withdrawn bool) { f.rib.Path(p, withdrawn) }

// PeerReport is a peer as people and metrics want it.
type PeerReport struct {
	policy.Peer                  // as in View
	URL         string           // empty: RIB only
	Stale       bool             // too old to be believed
	RTT         time.Duration    // of the last exchange that worked
	Error       string           // of the last exchange, if it failed
	Claims      []Claim          // the last words of the POP itself, by slice
	Disagrees   []policy.SliceID // said to be announced, gone from the RIB
	Exchanges   uint64           // that worked
	Failures    uint64           // that did not
	// Load is the POP's last word on what it carries, nil: none, and LoadAt
	// the time of its sample, by our own clock and no later than it was.
	Load   *Load
	LoadAt time.Time
	// Back is when it last said of a slice that it is announced in full, and
	// had not said so before: its demand comes back from then on.
	Back time.Time
	// About is its last word on itself, nil: none, and AboutAt when it came.
	About   *About
	AboutAt time.Time
}

// Peers reports on every configured peer, in the order of the configuration.
func (f *Fleet) Peers(now time.Time) []PeerReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	view := f.state.View(now)
	apart := f.state.Disagreements()
	out := make([]PeerReport, len(view.Peers))
	for i, p := range view.Peers {
		r := PeerReport{Peer: p, Stale: p.Heard.IsZero() || f.cfg.Stale > 0 && now.Sub(p.Heard) > f.cfg.Stale}
		r.Claims = f.state.Peers[i].words()
		r.About, r.AboutAt = f.state.Peers[i].about, f.state.Peers[i].aboutAt
		if l := f.state.Peers[i].load; l != nil {
			r.Load, r.LoadAt = &l.Load, l.at
		}
		r.Back = f.state.Peers[i].back()
		for _, d := range apart {
			if d.POP == p.POP {
				r.Disagrees = append(r.Disagrees, d.Slice)
			}
		}
		if f.exchange != nil {
			f.exchange.report(&r)
		}
		out[i] = r
	}
	return out
}

// Refused counts the messages that were not taken in, by reason.
func (f *Fleet) Refused() map[Refusal]uint64 {
	switch {
	case f.exchange != nil:
		return f.exchange.refused.snapshot()
	case f.tree != nil:
		return f.tree.voice.refused.snapshot()
	}
	return nil
}
