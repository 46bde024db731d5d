package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrant(t *testing.T) {
	bits := func(n int64) Amount { return Amount{Bits: n} }
	held := func(from, slice string, a Amount) Held {
		return Held{Reservation: Reservation{From: from, To: "B", Slice: slice, Amount: a}}
	}
	room := func(a Amount) *Room { return &Room{Free: a} }
	for _, c := range []struct {
		name string
		room *Room
		held []Held
		ask  Reservation
		want Code
	}{
		{"fits", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(10)}, ""},
		{"one too much", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(11)}, Denied},
		{"others count", room(bits(10)), []Held{held("C", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(6)}, Denied},
		{"own other slice counts", room(bits(10)), []Held{held("A", "x", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(6)}, Denied},
		{"own is replaced", room(bits(10)), []Held{held("A", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(10)}, ""},
		{"smaller in a room that shrank", room(bits(3)), []Held{held("A", "s", bits(5)), held("C", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(4)}, ""},
		{"smaller without a room", nil, []Held{held("A", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(4)}, ""},
		{"no room", nil, nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(1)}, Denied},
		{"another dimension", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{Bits: 1, Flows: 1}}, Denied},
		{"unbounded dimension", room(Amount{Bits: 10, Flows: Unbounded}), []Held{held("C", "s", Amount{Flows: Unbounded})}, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{Bits: 1, Flows: 5}}, ""},
		{"sums do not overflow", room(Amount{Bits: math.MaxInt64 - 1}), []Held{held("C", "s", bits(math.MaxInt64-1))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(math.MaxInt64)}, Denied},
		{"nothing", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{}}, Invalid},
		{"less than nothing", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(-1)}, Invalid},
		{"its own room", room(bits(10)), nil, Reservation{From: "B", To: "B", Slice: "s", Amount: bits(1)}, ""},
		{"another's book", room(bits(10)), nil, Reservation{From: "A", To: "C", Slice: "s", Amount: bits(1)}, Invalid},
		{"odd name", room(bits(10)), nil, Reservation{From: "A/x", To: "B", Slice: "s", Amount: bits(1)}, Invalid},
	} {
		err := Book{To: "B", Room: c.room, Held: c.held}.Grant(c.ask)
		if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

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

func (l lossy) read(ctx context.Context, q query) (page, error) {
	l.wait()
	p, err := l.engine.read(ctx, q)
	l.wait()
	return p, err
}

func (l lossy) commit(ctx context.Context, c []cond, o []op) (committed, error) {
	l.wait()
	if l.roll(20) == 0 {
		return committed{}, lost()
	}
	done, err := l.engine.commit(ctx, c, o)
	l.wait()
	if l.roll(20) == 0 {
		return committed{}, lost()
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
func (w *world) audit(before map[string]pair, ch changes) {
	after := map[string]pair{}
	for k, v := range before {
		after[k] = v
	}
	ch.applyTo(after)
	for _, c := range ch.list {
		k, _ := w.core.key(c.key)
		if k.Kind == KindReservation && strings.Contains(k.Name, "/") && !c.deleted {
			w.auditGrant(before, after, k, ch.revision)
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
			w.t.Errorf("revision %d: %s counts on %+v for %v more, the core holds %v", ch.revision, h.From, h.Reservation, time.Until(h.Lease.Until), ok)
			delete(w.belief, name)
		}
	}
}

// slow is until when a holder believes whose clock runs 5 % slow.
func (w *world) slow(l Lease) time.Time {
	return l.Until.Add((l.TTL - l.TTL/10) / 20)
}

func (w *world) reservation(kv pair) (r Reservation) {
	o, err := w.core.object(kv)
	if err != nil || o.Into(&r) != nil {
		w.t.Errorf("%s: %v", kv.key, err)
	}
	return r
}

func (w *world) auditGrant(before, after map[string]pair, k Key, revision int64) {
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
			w.t.Errorf("%s: %v", kv.key, err)
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

// TestReservationEnds: the room comes back with the lease, and with Release,
// and passes into the room's measure when it is settled.
func TestReservationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{}), t.Context()
		l, err := c.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		offer := func(free int64, settled ...Held) {
			t.Helper()
			if _, err := c.Offer(ctx, bob, "FRA", Room{Free: Amount{Bits: free}}, l.ID, settled...); err != nil {
				t.Fatal(err)
			}
		}
		left := func(want int64) {
			t.Helper()
			if b, err := c.Book(ctx, "FRA"); err != nil || b.Left().Bits != want {
				t.Errorf("left is %+v, want %d: %v", b.Left(), want, err)
			}
		}
		r := Reservation{From: "LON", To: "FRA", Slice: "192.0.2.0/24", Amount: Amount{Bits: 8}}
		offer(10)
		if _, err := c.Reserve(ctx, ann, r, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		left(2)
		if _, err := c.Reserve(ctx, ann, Reservation{From: "AMS", To: "FRA", Slice: "192.0.2.0/24", Amount: Amount{Bits: 3}}, 3*time.Second); !errors.Is(err, Denied) {
			t.Errorf("more than is left: %v", err)
		}
		time.Sleep(4 * time.Second)
		left(10)
		h, err := c.Reserve(ctx, ann, r, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Release(ctx, ann, []Held{h}); err != nil {
			t.Fatal(err)
		}
		left(10)
		if _, err = c.Extend(ctx, h); !errors.Is(err, NotFound) {
			t.Errorf("extended after the release: %v", err)
		}
		if h, err = c.Reserve(ctx, ann, r, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		offer(2, h)
		left(2)
		if _, err := c.Offer(ctx, bob, "FRA", Room{}, l.ID, h); !errors.Is(err, Conflict) {
			t.Errorf("settled twice: %v", err)
		}
		if err := c.Revoke(ctx, l.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Reserve(ctx, ann, r, 3*time.Second); !errors.Is(err, Denied) {
			t.Errorf("of a receiver that is silent: %v", err)
		}
	})
}

// TestTake: a step toward several POPs, with a claim and a rule of the
// caller's, is taken whole or not at all.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{Limits: wide}), t.Context()
		claim, scope := Key{KindResponse, "claim LON web"}, Key{KindResponse, "claims web"}
		lease, err := c.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, pop := range []string{"FRA", "AMS"} {
			if _, err := c.Offer(ctx, bob, pop, Room{Free: Amount{Bits: 10}}, lease.ID); err != nil {
				t.Fatal(err)
			}
		}
		step := Step{
			Want:  []Reservation{{From: "LON", To: "FRA", Slice: "web", Amount: Amount{Bits: 8}}, {From: "LON", To: "AMS", Slice: "web", Amount: Amount{Bits: 8}}},
			TTL:   time.Minute,
			Also:  []Op{{Key: claim, Value: raw(`2`)}},
			Scope: []Key{scope},
		}
		tries := 0
		step.Admit = func(ctx context.Context, revision int64) error {
			if tries++; tries == 1 { // another step of the scope comes first
				_, err := c.Put(ctx, bob, scope, raw(`1`), Any)
				return err
			}
			return nil
		}
		held, err := c.Take(ctx, ann, step)
		if err != nil || len(held) != 2 || tries != 2 {
			t.Fatalf("%+v after %d tries: %v", held, tries, err)
		}
		other := step
		other.Want = []Reservation{{From: "NYC", To: "AMS", Slice: "web", Amount: Amount{Bits: 1}}, {From: "NYC", To: "FRA", Slice: "web", Amount: Amount{Bits: 3}}}
		other.Also = []Op{{Key: intent("nyc"), Value: raw(`1`)}}
		if _, err := c.Take(ctx, ann, other); !errors.Is(err, Denied) {
			t.Errorf("one of two has no room: %v", err)
		}
		if b, err := c.Book(ctx, "AMS"); err != nil || len(b.Held) != 1 {
			t.Errorf("half a step: %+v, %v", b.Held, err)
		}
		other.Unoffered = true
		other.Admit = func(context.Context, int64) error { return errors.New("not today") }
		if _, err := c.Take(ctx, ann, other); !errors.Is(err, Denied) || !strings.Contains(err.Error(), "not today") {
			t.Errorf("the caller's rule: %v", err)
		}
		if held[0], err = c.Note(ctx, ann, held[0], raw(`{"applied":1}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if held[0], err = c.Extend(ctx, held[0]); err != nil {
			t.Errorf("extended after a note: %v", err)
		}
		time.Sleep(50 * time.Second)
		if held[1], err = c.Extend(ctx, held[1]); err != nil {
			t.Errorf("taken together, extended together: %v", err)
		}
		if err := c.Release(ctx, ann, held, Op{Key: claim, Delete: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, claim); !errors.Is(err, NotFound) {
			t.Errorf("the claim stays: %v", err)
		}
		if err := c.Release(ctx, ann, held); err != nil {
			t.Errorf("released twice: %v", err)
		}
	})
}
