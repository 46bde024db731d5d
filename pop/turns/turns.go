// Package turns keeps this POP's place in the control core's queue of drains.
//
// Each POP that wants to drain has one object in the core, turn/POP, from when
// it wants to until what it drained is announced again. The core's revisions
// order them: the POPs before this one are those whose objects are older. They
// can only become fewer, so what was once read after the own object was
// written stays on the safe side, however old it is and whoever else writes.
//
// It decides nothing: policy.Input.Turn judges by what Queue says. It owns the
// object of its own POP and no other; an object whose POP is gone for good is
// an operator's to delete.
package turns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/core"
)

// Kind is the sort of object that a place in the queue is.
const Kind core.Kind = "turn"

// Store is the control core (core.Core).
type Store interface {
	Put(context.Context, core.Write, core.Key, json.RawMessage, core.If) (core.Object, error)
	Delete(context.Context, core.Write, core.Key, core.If) (int64, error)
	List(context.Context, core.Selector, ...core.Read) (core.Snapshot, error)
}

// Options are what a Keeper needs.
type Options struct {
	POP   policy.POPID
	Store Store
	Log   *slog.Logger
	// OnChange, if not nil, is called when Queue says something else. It must
	// not block.
	OnChange func()
	// Every is how often the queue is read while this POP waits in it, and how
	// long a write that failed waits; 0: 1 s.
	Every time.Duration
}

// Keeper keeps the place.
type Keeper struct {
	opt  Options
	kick chan struct{} // size one

	mu    sync.Mutex
	said  bool // Want was called
	wants bool
	life  uint64 // counts the times that a place was wanted
	queue policy.Queue
}

// entry is the value of an object: for people. Only that it is there counts.
type entry struct {
	POP policy.POPID `json:"pop"`
}

// New makes a Keeper; Run does the work.
func New(o Options) *Keeper {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	return &Keeper{opt: o, kick: make(chan struct{}, 1), queue: policy.Queue{Configured: true}}
}

func (k *Keeper) String() string { return "queue of drains" }

// Want says whether this POP wants a place, or keeps the one it has. It does
// not block, and to repeat it costs nothing.
func (k *Keeper) Want(want bool) {
	k.mu.Lock()
	changed := want != k.wants || !k.said
	k.said = true
	if changed {
		k.wants = want
		k.life++
		k.queue = policy.Queue{Configured: true}
	}
	k.mu.Unlock()
	if changed {
		select {
		case k.kick <- struct{}{}:
		default:
		}
	}
}

// Queue is the queue as last read. It does not block.
func (k *Keeper) Queue() policy.Queue {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.queue
}

// Run writes and reads until ctx ends. The place outlives it: a POP that
// restarts in a drain is still in one. A place that a former life left, and
// this one does not want, goes.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var done place // as the core has it
	troubled := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.kick:
		case <-timer.C:
		}
		err := k.attend(ctx, &done)
		if ctx.Err() == nil {
			troubled = k.tell(troubled, err)
		}
		switch q := k.Queue(); {
		case err != nil, done.stands && len(q.Before) > 0:
			timer.Reset(k.opt.Every)
		case done.known: // only an operator, or a backup restored, changes what is there
			timer.Reset(30 * k.opt.Every)
		}
	}
}

// tell logs when trouble begins and when it is over, not at each try.
func (k *Keeper) tell(troubled bool, err error) bool {
	switch {
	case err != nil && !troubled:
		k.opt.Log.Warn("the queue of drains is not up to date, it is tried again until it is", "err", err)
	case err == nil && troubled:
		k.opt.Log.Info("the queue of drains is up to date again")
	}
	return err != nil
}

// place is what Run knows of the own object in the core.
type place struct {
	known, stands bool
	life          uint64 // the want that it is of
}

// attend makes the core's object what is wanted. An object of an earlier want
// must not lend its age to a new one, but for that of a former life: then the
// drain has gone on.
func (k *Keeper) attend(ctx context.Context, done *place) error {
	k.mu.Lock()
	said, wants, life := k.said, k.wants, k.life
	k.mu.Unlock()
	if !said {
		return nil
	}
	another := done.known && done.life != life
	if !wants && !done.known || another {
		if err := k.leave(ctx); err != nil {
			return err
		}
		*done = place{known: true, life: life}
	}
	if !wants {
		return k.clear(ctx)
	}
	*done = place{known: true, life: life, stands: true}
	return k.stand(ctx, life)
}

func (k *Keeper) key() core.Key { return core.Key{Kind: Kind, Name: string(k.opt.POP)} }

func (k *Keeper) write(why string) core.Write {
	return core.Write{Who: "pop " + string(k.opt.POP), Why: why}
}

// leave takes the place out of the queue.
func (k *Keeper) leave(ctx context.Context) error {
	_, err := k.opt.Store.Delete(ctx, k.write("no drain here any more"), k.key(), core.Any)
	return err
}

// clear takes out a place that nobody here wants: a core restored from a backup
// may hold one, and it would keep others from their drains.
func (k *Keeper) clear(ctx context.Context) error {
	list, err := k.opt.Store.List(ctx, core.All(Kind))
	if err != nil || own(list, k.opt.POP) == 0 {
		return err
	}
	return k.leave(ctx)
}

// stand sees to it that the place is there and reads who is before it.
func (k *Keeper) stand(ctx context.Context, life uint64) error {
	value, err := core.Marshal(entry{k.opt.POP})
	if err != nil {
		return err
	}
	list, err := k.opt.Store.List(ctx, core.All(Kind))
	if err != nil {
		return err
	}
	if own(list, k.opt.POP) == 0 {
		_, err := k.opt.Store.Put(ctx, k.write("wants to drain"), k.key(), value, core.Absent)
		if err != nil && !errors.Is(err, core.Conflict) {
			return err
		}
		if list, err = k.opt.Store.List(ctx, core.All(Kind)); err != nil {
			return err
		}
	}
	created := own(list, k.opt.POP)
	if created == 0 {
		return fmt.Errorf("%v is gone again", k.key())
	}
	q := policy.Queue{Configured: true, Current: true}
	for _, o := range list.Objects {
		if o.Created < created {
			q.Before = append(q.Before, policy.POPID(o.Key.Name))
		}
	}
	if len(list.Broken) > 0 { // whoever it is may be before us
		return fmt.Errorf("%v cannot be read", list.Broken)
	}
	k.publish(q, life)
	return nil
}

// own is the revision that made the POP's object; 0: there is none.
func own(s core.Snapshot, pop policy.POPID) int64 {
	for _, o := range s.Objects {
		if o.Key.Name == string(pop) {
			return o.Created
		}
	}
	return 0
}

// publish makes q what Queue says, unless it is of an earlier want.
func (k *Keeper) publish(q policy.Queue, life uint64) {
	k.mu.Lock()
	changed := life == k.life && (!k.queue.Current || len(q.Before) != len(k.queue.Before))
	if life == k.life {
		k.queue = q
	}
	k.mu.Unlock()
	if changed && k.opt.OnChange != nil {
		k.opt.OnChange()
	}
}
