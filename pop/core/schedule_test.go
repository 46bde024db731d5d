package core

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lossy delays what the engine is asked and what it answers, and loses some:
// then the asker does not know whether it happened.
type lossy struct {
	engine
	rng *rand.Rand
	mu  *sync.Mutex
}

func (l lossy) roll(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(n)
}

func (l lossy) wait() { time.Sleep(time.Duration(l.roll(300)) * time.Millisecond) }

func lost() error { return &Error{Code: Unavailable, Uncertain: true} }

func (l lossy) read(ctx context.Context, q RawQuery) (RawPage, error) {
	l.wait()
	p, err := l.engine.read(ctx, q)
	l.wait()
	return p, err
}

func (l lossy) commit(ctx context.Context, c []RawCond, o []RawOp) (RawCommit, error) {
	l.wait()
	if l.roll(20) == 0 {
		return RawCommit{}, lost()
	}
	done, err := l.engine.commit(ctx, c, o)
	l.wait()
	if l.roll(20) == 0 {
		return RawCommit{}, lost()
	}
	return done, err
}

func (l lossy) grant(ctx context.Context, d time.Duration) (LeaseID, time.Duration, error) {
	l.wait()
	id, got, err := l.engine.grant(ctx, d)
	l.wait()
	return id, got, err
}

func (l lossy) renew(ctx context.Context, id LeaseID) error {
	l.wait()
	if l.roll(5) == 0 {
		return lost()
	}
	return l.engine.renew(ctx, id)
}

func (l lossy) revoke(ctx context.Context, id LeaseID) error {
	if l.roll(5) == 0 {
		return lost()
	}
	return l.engine.revoke(ctx, id)
}

// world is POPs that reserve of each other in a random order, and an auditor
// that looks at each revision.
type world struct {
	t      *testing.T
	core   *Core // through lossy
	model  *memory
	rng    *rand.Rand
	mu     sync.Mutex
	belief map[string]Held // by name: what its holder counts on
	grants int
	denied int
}

var pops = []string{"AMS", "FRA", "LON", "NYC"}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 4))
	m := NewMemory(Options{Limits: wide})
	w := &world{t: t, model: m.model, rng: rng, belief: map[string]Held{}}
	slow := lossy{m.model, rand.New(rand.NewPCG(seed, 5)), &sync.Mutex{}}
	w.core = newCore(slow, Options{Limits: wide, Timeout: time.Minute}.withDefaults())
	m.model.audit = w.audit
	return w
}

func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// audit runs inside each commit: a grant never exceeds the room of its
// revision, and what holders count on is there.
func (w *world) audit(before map[string]RawPair, ch RawChanges) {
	after := map[string]RawPair{}
	for k, v := range before {
		after[k] = v
	}
	ch.applyTo(after)
	for _, c := range ch.List {
		k, _ := w.core.key(c.Key)
		if k.Kind == KindReservation && strings.Contains(k.Name, "/") && !c.Deleted {
			w.auditGrant(before, after, k, ch.Revision)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, h := range w.belief {
		if !time.Now().Before(w.slow(h.Lease)) {
			delete(w.belief, name)
			continue
		}
		kv, ok := after[w.core.path(h.key())]
		if !ok || !h.Amount.Within(w.reservation(kv).Amount) {
			w.t.Errorf("revision %d: %s counts on %+v for %v more, the core holds %v", ch.Revision, h.From, h.Reservation, time.Until(h.Lease.Until), ok)
			delete(w.belief, name)
		}
	}
}

// slow is until when a holder believes whose clock runs 5 % slow.
func (w *world) slow(l Lease) time.Time {
	return l.Until.Add((l.TTL - l.TTL/10) / 20)
}

func (w *world) reservation(kv RawPair) (r Reservation) {
	o, err := w.core.object(kv)
	if err != nil || o.Into(&r) != nil {
		w.t.Errorf("%s: %v", kv.Key, err)
	}
	return r
}

func (w *world) auditGrant(before, after map[string]RawPair, k Key, revision int64) {
	to, _, _ := strings.Cut(k.Name, "/")
	own := w.reservation(after[w.core.path(k)])
	if old, ok := before[w.core.path(k)]; ok && own.Amount.Within(w.reservation(old).Amount) {
		return
	}
	var sum Amount
	for path, kv := range after {
		if strings.HasPrefix(path, w.core.path(Key{KindReservation, to + "/"})) {
			sum = sum.Plus(w.reservation(kv).Amount)
		}
	}
	var room Room
	kv, ok := after[w.core.path(roomKey(to))]
	if ok {
		o, err := w.core.object(kv)
		if err != nil || o.Into(&room) != nil {
			w.t.Errorf("%s: %v", kv.Key, err)
		}
	}
	if !ok || !sum.Within(room.Free) {
		w.t.Errorf("revision %d: %+v granted, %+v taken of %+v", revision, own, sum, room.Free)
	}
}

// receiver offers room that goes up and down, settles some, and is silent at times.
func (w *world) receiver(ctx context.Context, pop string) {
	who := Write{"pop " + pop, "room"}
	for ctx.Err() == nil {
		l, err := w.core.Grant(ctx, 5*time.Second)
		if err != nil {
			continue
		}
		for range 1 + w.roll(4) {
			var settled []Held
			if b, err := w.core.Book(ctx, pop); err == nil && len(b.Held) > 0 && w.roll(3) == 0 {
				settled = b.Held[:1]
			}
			w.forget(settled)
			w.core.Offer(ctx, who, pop, Room{Free: Amount{Bits: int64(w.roll(100)), Flows: int64(w.roll(100))}}, l.ID, settled...)
			time.Sleep(time.Duration(w.roll(2000)) * time.Millisecond)
		}
	}
}

// forget: the holder hears from the receiver that its load has arrived.
func (w *world) forget(settled []Held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range settled {
		delete(w.belief, h.Name())
	}
}

func (w *world) believe(h Held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.belief[h.Name()] = h
}

// sender reserves, extends, releases, changes its mind, and dies at times.
func (w *world) sender(ctx context.Context, pop, slice string) {
	who := Write{"pop " + pop, "shed"}
	for ctx.Err() == nil {
		to := pops[w.roll(len(pops))]
		if to == pop {
			continue
		}
		r := Reservation{From: pop, To: to, Slice: slice, Amount: Amount{Bits: int64(1 + w.roll(40)), Flows: int64(w.roll(40))}}
		w.forget([]Held{{Reservation: r}}) // it is about to be another
		h, err := w.core.Reserve(ctx, who, r, time.Duration(1+w.roll(6))*time.Second)
		w.count(err)
		if err != nil {
			time.Sleep(time.Duration(w.roll(500)) * time.Millisecond)
			continue
		}
		if time.Now().Before(h.Lease.Until) {
			w.believe(h)
		}
		w.use(ctx, who, h)
	}
}

func (w *world) count(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.grants++
	case errors.Is(err, Denied):
		w.denied++
	}
}

func (w *world) use(ctx context.Context, who Write, h Held) {
	for range w.roll(4) {
		time.Sleep(h.Lease.TTL / 4)
		next, err := w.core.Extend(ctx, h)
		if err != nil {
			continue
		}
		h = next
		w.mu.Lock()
		if _, still := w.belief[h.Name()]; still {
			w.belief[h.Name()] = h
		}
		w.mu.Unlock()
	}
	w.forget([]Held{h})
	if w.roll(2) == 0 {
		w.core.Release(ctx, who, []Held{h})
	}
}

// TestNeverOversubscribed runs random schedules in virtual time: slow and lost
// messages, leases that run out, rooms that shrink, receivers that vanish.
func TestNeverOversubscribed(t *testing.T) {
	t.Parallel()
	grants, denied := 0, 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for _, p := range pops {
					wg.Go(func() { w.receiver(ctx, p) })
					wg.Go(func() { w.sender(ctx, p, "192.0.2.0/24") })
					wg.Go(func() { w.sender(ctx, p, "2001:db8::/48") })
				}
				wg.Wait()
				grants, denied = grants+w.grants, denied+w.denied
			})
		})
	}
	if grants < 1000 || denied < 1000 {
		t.Errorf("%d grants and %d refusals are no test", grants, denied)
	}
}
