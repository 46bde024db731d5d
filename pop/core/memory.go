package core

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a core that is a model in memory: every rule of the real one, none
// of its disks and peers. It works without Run and is for tests and
// simulations. Leases run out by timers, so it lives in a synctest bubble.
type Memory struct {
	*Core
	model *memory
}

// Fail makes every operation but a stale read fail with Unavailable and this
// reason, as if the core were out of reach; nil brings it back.
func (m *Memory) Fail(err error) {
	m.model.mu.Lock()
	defer m.model.mu.Unlock()
	m.model.down = err
	close(m.model.changed)
	m.model.changed = make(chan struct{})
}

// NewMemory makes an empty model, ready at once.
func NewMemory(o Options) *Memory {
	m := &memory{now: map[string]RawPair{}, leases: map[LeaseID]*memoryLease{}, changed: make(chan struct{}), revision: 1, oldest: 1}
	c := newCore(m, o.withDefaults())
	c.once.Do(func() { close(c.ready) })
	return &Memory{c, m}
}

// memory is the model: the keys as they are, and all changes since the last
// compaction, from which former states are rebuilt.
type memory struct {
	mu       sync.Mutex
	revision int64
	oldest   int64              // oldest revision that can be read
	now      map[string]RawPair // at revision
	base     map[string]RawPair // at oldest
	log      []RawChanges       // of revisions after oldest, in order
	changed  chan struct{}      // closed at each change
	leases   map[LeaseID]*memoryLease
	last     LeaseID
	audit    func(before map[string]RawPair, ch RawChanges) // tests: sees each revision before it is
	down     error                                          // set: every operation fails with it
}

type memoryLease struct {
	ttl   time.Duration
	timer *time.Timer
	keys  map[string]bool
}

func (m *memory) run(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	return nil
}

func (m *memory) read(ctx context.Context, q RawQuery) (RawPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx, q.Stale); err != nil {
		return RawPage{}, err
	}
	state, err := m.at(q.Revision)
	if err != nil {
		return RawPage{}, err
	}
	p := RawPage{Revision: m.revision}
	if q.To == "" {
		if kv, ok := state[q.From]; ok {
			p.Pairs = append(p.Pairs, kv)
		}
		return p, nil
	}
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if k < q.From || (k >= q.To && q.To != "\x00") {
			continue
		}
		if q.Limit > 0 && len(p.Pairs) == q.Limit {
			p.More = true
			break
		}
		p.Pairs = append(p.Pairs, state[k])
	}
	return p, nil
}

func (m *memory) usable(ctx context.Context, stale bool) error {
	if ctx.Err() != nil {
		return &Error{Code: Unavailable, Err: ctx.Err()}
	}
	if m.down != nil && !stale {
		return &Error{Code: Unavailable, Err: m.down}
	}
	return nil
}

// at is the state at a revision.
func (m *memory) at(revision int64) (map[string]RawPair, error) {
	switch {
	case revision == 0 || revision == m.revision:
		return m.now, nil
	case revision > m.revision:
		return nil, fail(Invalid, "revision %d is to come, now is %d", revision, m.revision)
	case revision < m.oldest:
		return nil, &Error{Code: Compacted, Revision: m.oldest}
	}
	state := maps.Clone(m.base)
	if state == nil {
		state = map[string]RawPair{}
	}
	for _, ch := range m.log {
		if ch.Revision > revision {
			break
		}
		ch.applyTo(state)
	}
	return state, nil
}

func (ch RawChanges) applyTo(state map[string]RawPair) {
	for _, c := range ch.List {
		if c.Deleted {
			delete(state, c.Key)
		} else {
			state[c.Key] = c.RawPair
		}
	}
}

func (m *memory) commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx, false); err != nil {
		return RawCommit{}, err
	}
	for _, c := range conds {
		if found := m.now[c.Key].Revision; found != c.Revision {
			return RawCommit{Revision: m.revision, Failed: &RawCond{c.Key, found}}, nil
		}
	}
	for _, o := range ops {
		if _, ok := m.leases[o.Lease]; o.Lease != 0 && !ok {
			return RawCommit{}, fail(NotFound, "lease %x", int64(o.Lease))
		}
	}
	next := RawChanges{Revision: m.revision + 1}
	for _, o := range ops {
		if ch, ok := m.change(o, next.Revision); ok {
			next.List = append(next.List, ch)
		}
	}
	m.apply(next)
	return RawCommit{Revision: m.revision}, nil
}

func (m *memory) change(o RawOp, revision int64) (RawChange, bool) {
	old, existed := m.now[o.Key]
	if o.Delete {
		return RawChange{RawPair: RawPair{Key: o.Key, Revision: revision}, Deleted: true}, existed
	}
	created := revision
	if existed {
		created = old.Created
	}
	return RawChange{RawPair: RawPair{o.Key, slices.Clone(o.Value), created, revision, o.Lease}}, true
}

// apply makes a revision, unless nothing changed.
func (m *memory) apply(next RawChanges) {
	if len(next.List) == 0 {
		return
	}
	if m.audit != nil {
		m.audit(m.now, next)
	}
	for _, c := range next.List {
		if l := m.leases[m.now[c.Key].Lease]; l != nil {
			delete(l.keys, c.Key)
		}
		if l := m.leases[c.Lease]; l != nil && !c.Deleted {
			l.keys[c.Key] = true
		}
	}
	next.applyTo(m.now)
	m.revision = next.Revision
	m.log = append(m.log, next)
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	for {
		list, changed, err := m.since(prefix, from)
		if err != nil {
			return err
		}
		for _, ch := range list {
			if err := yield(ch); err != nil {
				return err
			}
			from = ch.Revision + 1
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// since returns the changes under a prefix from a revision on, and what is
// closed at the next.
func (m *memory) since(prefix string, from int64) ([]RawChanges, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return nil, nil, &Error{Code: Unavailable, Err: m.down}
	}
	if from <= m.oldest && m.oldest > 1 || from > m.revision+1 {
		return nil, nil, &Error{Code: Compacted, Revision: m.oldest}
	}
	var out []RawChanges
	for _, ch := range m.log {
		if ch.Revision < from {
			continue
		}
		one := RawChanges{Revision: ch.Revision}
		for _, c := range ch.List {
			if strings.HasPrefix(c.Key, prefix) {
				one.List = append(one.List, c)
			}
		}
		out = append(out, one)
	}
	return out, m.changed, nil
}

func (m *memory) grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx, false); err != nil {
		return 0, 0, err
	}
	m.last++
	id := m.last
	m.leases[id] = &memoryLease{ttl: ttl, keys: map[string]bool{}, timer: time.AfterFunc(ttl, func() { m.expire(id) })}
	return id, ttl, nil
}

func (m *memory) renew(ctx context.Context, id LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx, false); err != nil {
		return err
	}
	l := m.leases[id]
	if l == nil || !l.timer.Reset(l.ttl) { // a timer that has fired is on its way to take the lock
		return fail(NotFound, "lease %x", int64(id))
	}
	return nil
}

func (m *memory) revoke(ctx context.Context, id LeaseID) error {
	m.mu.Lock()
	err := m.usable(ctx, false)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if !m.expire(id) {
		return fail(NotFound, "lease %x", int64(id))
	}
	return nil
}

func (m *memory) expire(id LeaseID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil {
		return false
	}
	l.timer.Stop()
	next := RawChanges{Revision: m.revision + 1}
	for _, k := range slices.Sorted(maps.Keys(l.keys)) {
		next.List = append(next.List, RawChange{RawPair: RawPair{Key: k, Revision: next.Revision}, Deleted: true})
	}
	delete(m.leases, id)
	m.apply(next)
	return true
}

func (m *memory) status(context.Context) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{Engine: "memory", Revision: m.revision, Quorum: m.down == nil, Name: "memory", Leader: "memory"}
	for k, v := range m.now {
		s.InUse += int64(len(k) + len(v.Value))
	}
	s.Size = s.InUse
	return s, nil
}

// compact forgets the history before a revision.
func (m *memory) compact(_ context.Context, revision int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, err := m.at(revision)
	if err != nil {
		return err
	}
	m.base, m.oldest = maps.Clone(state), revision
	m.log = slices.DeleteFunc(slices.Clone(m.log), func(ch RawChanges) bool { return ch.Revision <= revision })
	return nil
}
