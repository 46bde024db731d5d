package slowness

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Options of New. Zero values are the defaults said.
type Options struct {
	Limits Limits
	Max    int           // networks kept; 1,000,000
	Half   time.Duration // half-life of what was seen; 7 days
	// Samples is how many a network needs to be judged by itself; 8.
	Samples int
	// Sure is how much of a network's samples must be slow, at least, with 90 %
	// confidence, for it to be slow; 0.6.
	Sure float64
}

func (o *Options) defaults() {
	o.Limits.defaults()
	o.Max, o.Half = cmp.Or(o.Max, 1_000_000), cmp.Or(o.Half, 7*24*time.Hour)
	o.Samples, o.Sure = cmp.Or(o.Samples, 8), cmp.Or(o.Sure, 0.6)
}

// Store adds up samples. Its methods may be called from any goroutine.
type Store struct {
	opt Options

	mu    sync.Mutex
	recs  []record
	index map[key]int32
	rng   *rand.Rand
	stats Stats
}

// SetLimits changes where classes end, for samples from now on, and how many a
// network needs to be judged by itself.
func (s *Store) SetLimits(l Limits, samples int) {
	l.defaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Limits, s.opt.Samples = l, cmp.Or(samples, s.opt.Samples)
}

// options are those in force.
func (s *Store) options() *Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.opt
	return &o
}

// Stats tell of a Store.
type Stats struct {
	Networks int
	Samples  [classes]uint64 // by class, in all
	Evicted  uint64          // networks that were forgotten for want of room
}

// New makes an empty store.
func New(o Options) *Store {
	o.defaults()
	return &Store{opt: o, index: map[key]int32{}, rng: rand.New(rand.NewPCG(1, uint64(o.Max)))}
}

// Add counts a sample and tells its class.
func (s *Store) Add(x *Sample, now time.Time) Class {
	c, _ := s.options().Limits.Classify(x)
	if !x.Client.IsValid() {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Samples[c]++
	r := s.find(keyOf(x.Client), s.epoch(now))
	r.add(x, c, now, s.rng)
	return c
}

// epoch is how many half-lives have passed since 1970. All POPs with the same
// half-life count alike, so that what they add up has decayed alike.
func (s *Store) epoch(now time.Time) uint16 {
	return uint16(now.Unix() / int64(s.opt.Half/time.Second))
}

// find gives the record of a network at an epoch, and makes room for a new one
// by forgetting the one that says the least of eight chosen by chance.
func (s *Store) find(k key, epoch uint16) *record {
	if i, ok := s.index[k]; ok {
		s.recs[i].decay(epoch)
		return &s.recs[i]
	}
	i := len(s.recs)
	if i < s.opt.Max {
		s.recs = append(s.recs, record{})
	} else {
		i = s.least(epoch)
		delete(s.index, s.recs[i].key)
		s.stats.Evicted++
	}
	s.recs[i] = record{key: k, epoch: epoch}
	s.index[k] = int32(i)
	return &s.recs[i]
}

func (s *Store) least(epoch uint16) int {
	best := s.rng.IntN(len(s.recs))
	for range 7 {
		i := s.rng.IntN(len(s.recs))
		s.recs[i].decay(epoch)
		a, b := &s.recs[i], &s.recs[best]
		if cmp.Or(cmp.Compare(a.samples(), b.samples()), cmp.Compare(a.seen, b.seen)) < 0 {
			best = i
		}
	}
	return best
}

// Stats tells of the store.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Networks = len(s.recs)
	return st
}

// sorted copies the records at an epoch, those that still say something.
func (s *Store) sorted(epoch uint16) []record {
	s.mu.Lock()
	out := slices.Clone(s.recs)
	s.mu.Unlock()
	kept := out[:0]
	for _, r := range out {
		if r.decay(epoch); r.samples() > 0 {
			kept = append(kept, r)
		}
	}
	slices.SortFunc(kept, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return kept
}

// Report judges what the store knows now.
func (s *Store) Report(now time.Time) *Report {
	return report(s.options(), s.sorted(s.epoch(now)), now)
}
