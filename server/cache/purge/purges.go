package purge

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options of Open.
type Options struct {
	// Max bounds the purges of URLs, prefixes and tags that are kept one by one,
	// and the hosts and sites; above, the oldest are folded. Default 100000.
	Max int
	// Recent is how many of the newest List answers from memory. Default 1000.
	Recent int
	// Logger is told of a damaged journal and of writes that fail.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// ErrNotSaved says that a purge is in effect and not on disk: after a restart
// it may be lost, unless a later purge can be saved, which saves it too.
var ErrNotSaved = errors.New("purge: in effect, but not saved")

// Purges holds all purges. Its methods may be called from many goroutines.
type Purges struct {
	last atomic.Uint64 // the newest purge in effect

	mu    sync.RWMutex // of what Check reads
	index *index

	pend    sync.Mutex
	pending []*waiting

	write   sync.Mutex // one writes for all that wait
	journal *journal   // nil: memory only
	recent  []Entry    // the newest, oldest first
	floor   Epoch      // newest that List cannot tell any more
	oldest  Epoch      // as Forget was told
	opt     Options
	dir     string // of the journal; empty: memory only

	checks  atomic.Uint64
	applied atomic.Uint64
	failed  atomic.Uint64
}

// waiting is a purge on its way to the journal.
type waiting struct {
	entry Entry
	done  bool // under write
	err   error
}

// Open reads the journal in dir, or makes one; without dir purges are kept in
// memory only. A journal that is damaged, not just cut short by a crash, makes
// every object stored so far stale, since a purge of it may be lost.
func Open(dir string, o Options) (*Purges, error) {
	if o.Max <= 0 {
		o.Max = 100_000
	}
	if o.Recent <= 0 {
		o.Recent = 1000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Purges{index: newIndex(o.Max), opt: o, dir: dir}
	if dir == "" {
		return p, nil
	}
	damaged, err := p.replay(dir)
	if err != nil {
		return nil, fmt.Errorf("purge: journal: %w", err)
	}
	if damaged {
		o.Logger.Warn("purge journal is damaged: every stored object is stale now", "dir", dir)
		_, err = p.Purge(Request{Kind: All, Soft: true, Who: "catchment", Why: "purge journal damaged"})
	}
	return p, err
}

// replay opens the journal and takes in what it holds.
func (p *Purges) replay(dir string) (damaged bool, err error) {
	p.journal, err = openJournal(dir, func(l *line) {
		p.floor = max(p.floor, l.Floor)
		if l.Kind == "" {
			p.last.Store(max(p.last.Load(), uint64(l.Floor)))
			return
		}
		p.index.apply(&l.Entry)
		p.keep(l.Entry)
		p.last.Store(max(p.last.Load(), uint64(l.ID)))
	})
	if err != nil {
		return false, err
	}
	return p.journal.damaged, nil
}

// Close closes the journal. Purges after it are not saved.
func (p *Purges) Close() error {
	p.write.Lock()
	defer p.write.Unlock()
	if p.journal == nil {
		return nil
	}
	return p.journal.close()
}

// Now is the newest purge in effect: what an object notes before its fill asks
// upstream.
func (p *Purges) Now() Epoch { return Epoch(p.last.Load()) }

// Check says what an object still is that notes the epoch stored. The returned
// epoch is the newest purge that was considered: with OK the caller may keep it
// beside the object in memory and give it next time instead, so that a lookup
// costs one comparison until something is purged again.
func (p *Purges) Check(stored Epoch, o *Object) (Verdict, Epoch) {
	now := Epoch(p.last.Load())
	if now <= stored {
		return OK, stored
	}
	p.checks.Add(1)
	p.mu.RLock()
	m := p.index.lookup(o)
	p.mu.RUnlock()
	return m.verdict(stored), now
}

// Purge invalidates, and returns when it is in effect and on disk. Many at a
// time share one write. An error that is ErrNotSaved comes with an entry that
// is in effect.
func (p *Purges) Purge(r Request) (Entry, error) {
	if err := r.Validate(); err != nil {
		return Entry{}, err
	}
	w := &waiting{entry: Entry{Request: r}}
	p.pend.Lock()
	p.pending = append(p.pending, w)
	p.pend.Unlock()

	p.write.Lock()
	defer p.write.Unlock()
	if !w.done {
		p.commit()
	}
	return w.entry, w.err
}

// commit numbers, saves and applies all that wait. The order is what makes it
// right: an object that notes an epoch then was filled when all purges up to
// it were in effect here.
func (p *Purges) commit() {
	p.pend.Lock()
	batch := p.pending
	p.pending = nil
	p.pend.Unlock()

	now := p.opt.Now().UTC()
	id := p.Now()
	lines := make([]line, len(batch))
	for i, w := range batch {
		id = max(id+1, Epoch(max(0, now.UnixMicro())))
		w.entry.ID, w.entry.Time = id, now
		lines[i].Entry = w.entry
	}
	err := p.save(lines)
	p.mu.Lock()
	for _, w := range batch {
		p.index.apply(&w.entry)
	}
	p.last.Store(uint64(id))
	p.mu.Unlock()
	for _, w := range batch {
		p.keep(w.entry)
		w.done, w.err = true, err
	}
	p.applied.Add(uint64(len(batch)))
	p.compactIfLong()
}

func (p *Purges) save(lines []line) error {
	if p.journal == nil {
		return nil
	}
	if err := p.journal.append(lines); err != nil {
		p.failed.Add(1)
		p.opt.Logger.Error("purges cannot be saved", "err", err, "unsaved", len(p.journal.unsaved))
		return fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	return nil
}

// keep adds to the newest entries.
func (p *Purges) keep(e Entry) {
	if len(p.recent) >= 2*p.opt.Recent {
		dropped := len(p.recent) - p.opt.Recent
		if p.dir == "" {
			p.floor = max(p.floor, p.recent[dropped-1].ID)
		}
		p.recent = append(p.recent[:0], p.recent[dropped:]...)
	}
	p.recent = append(p.recent, e)
}

// Forget says that no object, nor a fill under way, notes an epoch before
// oldest: purges that only name older ones are dropped.
func (p *Purges) Forget(oldest Epoch) {
	p.write.Lock()
	defer p.write.Unlock()
	p.oldest = max(p.oldest, min(oldest, p.Now()))
	p.mu.Lock()
	p.index.forget(p.oldest)
	p.mu.Unlock()
	p.compactIfLong()
}

// Expect says that the store holds an object that notes newest. If the journal
// does not know that epoch, purges were lost with it, and all that is stored
// becomes stale.
func (p *Purges) Expect(newest Epoch) error {
	if newest <= p.Now() {
		return nil
	}
	p.opt.Logger.Warn("purge journal ends before what the store has seen: every stored object is stale now")
	p.write.Lock()
	p.last.Store(max(p.last.Load(), uint64(newest)))
	p.write.Unlock()
	_, err := p.Purge(Request{Kind: All, Soft: true, Who: "catchment", Why: "purge journal lost"})
	return err
}

// Stats is what is held, and counts since Open.
type Stats struct {
	Last    Epoch  `json:"last"`
	Fine    int    `json:"fine"`   // URLs, prefixes and tags kept one by one
	Groups  int    `json:"groups"` // hosts and sites
	Folds   uint64 `json:"folds"`
	Purges  uint64 `json:"purges"`
	Checks  uint64 `json:"checks"` // that had to look
	Failed  uint64 `json:"failed"` // writes
	Unsaved int    `json:"unsaved"`
	Journal int64  `json:"journal"` // bytes
}

// Stats returns them.
func (p *Purges) Stats() Stats {
	p.write.Lock()
	defer p.write.Unlock()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := Stats{
		Last: p.Now(), Fine: len(p.index.fine), Groups: len(p.index.sites) + len(p.index.hosts), Folds: p.index.folds,
		Purges: p.applied.Load(), Checks: p.checks.Load(), Failed: p.failed.Load(),
	}
	if p.journal != nil {
		s.Unsaved, s.Journal = len(p.journal.unsaved), p.journal.good
	}
	return s
}
