package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Book holds the matrix of each service: what it is seeded with, and what was
// observed since. It may be used by any goroutine.
type Book struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	seeds  Seeds
	events []Event // oldest first
	made   map[policy.ServiceID]*shed.Matrix
}

// file is what the state directory keeps.
type file struct {
	Events []Event `json:"events"`
}

// NewBook makes a book with what was observed in former lives, which is in the
// file at path. A file that cannot be read is kept aside, and said: what was
// learned is lost, and nothing else.
func NewBook(path string, log *slog.Logger) *Book {
	b := &Book{path: path, log: log, made: map[policy.ServiceID]*shed.Matrix{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b
	}
	var f file
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	for i := range f.Events {
		if err == nil {
			err = f.Events[i].check()
		}
	}
	if err != nil {
		log.Error("what was learned of how load moves cannot be read: it is kept aside", "file", path, "err", err)
		if err := os.Rename(path, path+".bad"); err != nil {
			log.Error("the damaged file cannot be kept aside", "err", err)
		}
		return b
	}
	b.events = pruned(f.Events)
	return b
}

// Set makes every matrix anew from seeds and all that was observed.
func (b *Book) Set(s Seeds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seeds = s
	b.made = make(map[policy.ServiceID]*shed.Matrix, len(s.Ladders))
	for svc := range s.Ladders {
		b.make(svc)
	}
}

// make makes the matrix of one service.
func (b *Book) make(svc policy.ServiceID) {
	l := b.seeds.Ladders[svc]
	m := b.seeds.matrix(l)
	for i := range b.events {
		if e := &b.events[i]; e.Service == svc {
			next, err := l.observe(m, e)
			if err != nil {
				b.log.Debug("an event says nothing any more", "err", err)
				continue
			}
			m = next
		}
	}
	b.made[svc] = m
}

// Matrix is that of a service, nil if there is no such. It is not to be
// changed.
func (b *Book) Matrix(svc policy.ServiceID) *shed.Matrix {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made[svc]
}

// Seeds is what the matrices are made of besides events.
func (b *Book) Seeds() Seeds {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seeds
}

// Observe learns from an event, and keeps it. It refuses one that says nothing.
func (b *Book) Observe(e Event) error {
	if err := e.check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.seeds.Ladders[e.Service]
	if !ok {
		return fmt.Errorf("event of %s: no such service", e.Service)
	}
	m, err := l.observe(b.made[e.Service], &e)
	if err != nil {
		return err
	}
	b.made[e.Service] = m
	b.events = pruned(append(b.events, e))
	return b.save()
}

// Events are all that is kept, oldest first: what POPs tell each other.
func (b *Book) Events() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// Merge takes in events that others have observed, and says how many of them
// are news.
func (b *Book) Merge(events []Event) (news int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	touched := map[policy.ServiceID]bool{}
	for i := range events {
		e := &events[i]
		if e.check() != nil || slices.ContainsFunc(b.events, func(o Event) bool { return o.same(e) }) {
			continue
		}
		b.events = append(b.events, *e)
		touched[e.Service] = true
		news++
	}
	if news == 0 {
		return 0, nil
	}
	b.events = pruned(b.events)
	for svc := range touched {
		if _, ok := b.seeds.Ladders[svc]; ok {
			b.make(svc)
		}
	}
	return news, b.save()
}

// save writes the events to the side and renames. There are few: a POP's
// announcement changes a few times an hour at most.
func (b *Book) save() error {
	text, err := json.MarshalIndent(file{b.events}, "", " ")
	if err != nil {
		return fmt.Errorf("response matrix: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(b.path), filepath.Base(b.path)+".*")
	if err != nil {
		return fmt.Errorf("response matrix: %w", err)
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(0o640), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), b.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("response matrix: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

// Origin says what the knowledge of a POP's load is made of.
type Origin string

// Origins, from the best.
const (
	Observed Origin = "observed"  // events of ours
	Measured Origin = "measured"  // the file
	Named    Origin = "receivers" // of the configuration
	BySize   Origin = "size"      // nothing: load is taken to spread by size
	Certain  Origin = "certain"   // of an amount: at a withdraw all of it leaves
)

// Knowledge is what is known of one level of a POP.
type Knowledge struct {
	To Origin // where the load goes
	// Amount is how much leaves: Certain, Observed, Measured, or BySize for a
	// guess.
	Amount Origin
	At     time.Time // of the newest of what was observed or measured; zero: nothing was
}

// Known says what the matrix of a service knows of a POP's level.
func (b *Book) Known(svc policy.ServiceID, pop policy.POPID, level shed.Level) Knowledge {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.seeds.Ladders[svc]
	k := Knowledge{To: BySize, Amount: BySize}
	if slices.ContainsFunc(b.seeds.Receivers, func(r Receivers) bool { return r.Of == pop }) {
		k.To = Named
	}
	if c := b.seeds.Catchments; c != nil {
		for i := range c.Rows {
			if r := &c.Rows[i]; len(r.Settings) == 1 && r.Settings[0].POP == pop {
				n, ok := l.level(r.Settings[0])
				if !ok {
					continue
				}
				k.To, k.At = Measured, c.Measured
				if n == level {
					k.Amount = Measured
				}
			}
		}
	}
	for i := range b.events {
		e := &b.events[i]
		if e.Service != svc || e.POP != pop {
			continue
		}
		from, ok := l.named(e.From)
		to, there := l.named(e.To)
		if !ok || !there {
			continue
		}
		k.To, k.At = Observed, e.At
		if max(from, to) == level {
			k.Amount = Observed
		}
	}
	if int(level) == l.levels()-1 {
		k.Amount = Certain
	}
	return k
}
