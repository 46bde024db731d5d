package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/core"
)

var errNothing = &core.Error{Code: core.Unavailable, Err: errors.New("nothing of the core has been heard yet")}

// read answers from the copy alone.
func (r *replica) read(q core.RawQuery) (core.RawPage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.core == "":
		return core.RawPage{}, errNothing
	case q.Revision > r.revision:
		return core.RawPage{}, &core.Error{Code: core.Invalid, Err: fmt.Errorf("revision %d is to come, now is %d", q.Revision, r.revision)}
	case q.Revision != 0 && q.Revision < r.oldest:
		return core.RawPage{}, &core.Error{Code: core.Compacted, Revision: r.oldest}
	}
	p := core.RawPage{Revision: r.revision}
	undone := r.undo(q.Revision)
	if q.To == "" {
		kv, ok := undone[q.From]
		if !ok {
			kv = r.items[q.From]
		}
		if kv.Revision != 0 {
			p.Pairs = append(p.Pairs, kv)
		}
		return p, nil
	}
	p.Pairs = r.between(q.From, q.To, undone)
	slices.SortFunc(p.Pairs, byKey)
	if q.Limit > 0 && len(p.Pairs) > q.Limit {
		p.Pairs, p.More = p.Pairs[:q.Limit], true
	}
	return p, nil
}

// undo is how the keys that changed after a revision were there; Revision 0:
// they were not.
func (r *replica) undo(revision int64) map[string]core.RawPair {
	if revision == 0 || revision == r.revision {
		return nil
	}
	was := map[string]core.RawPair{}
	for i := len(r.log) - 1; i >= r.since(revision); i-- {
		for _, old := range r.log[i].before {
			was[old.Key] = old
		}
	}
	return was
}

func (r *replica) between(from, to string, undone map[string]core.RawPair) (out []core.RawPair) {
	inside := func(k string) bool { return k >= from && (k < to || to == "\x00") }
	for k, kv := range r.items {
		if _, changed := undone[k]; inside(k) && !changed {
			out = append(out, kv)
		}
	}
	for k, kv := range undone {
		if inside(k) && kv.Revision != 0 {
			out = append(out, kv)
		}
	}
	return out
}

// patience is how long a watch from a revision that is to come waits for it
// before it takes a snapshot instead.
const patience = 10 * time.Second

// watch is an engine's, of the copy.
func (r *replica) watch(ctx context.Context, prefix string, from int64, yield func(core.RawChanges) error) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	life := -1
	for {
		rung := r.bell.wait()
		next, err := r.changes(&life, prefix, from)
		if err != nil {
			return err
		}
		for _, ch := range next {
			if err := yield(ch); err != nil {
				return err
			}
			from = ch.Revision + 1
		}
		if len(next) > 0 {
			limit.Stop()
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			if at := r.position(); at.revision < from-1 {
				return &core.Error{Code: core.Compacted, Revision: at.revision}
			}
		case <-rung:
		}
	}
}

// changes are those from a revision on, by revision, with what is under the
// prefix; the last may be empty and says how far everything is known.
func (r *replica) changes(life *int, prefix string, from int64) ([]core.RawChanges, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.core == "":
		return nil, errNothing
	case *life >= 0 && *life != r.life || from <= r.oldest:
		return nil, &core.Error{Code: core.Compacted, Revision: r.oldest}
	}
	*life = r.life
	var out []core.RawChanges
	for _, s := range r.log[r.since(from-1):] {
		one := core.RawChanges{Revision: s.to}
		for _, c := range s.list {
			if strings.HasPrefix(c.Key, prefix) {
				one.List = append(one.List, c)
			}
		}
		out = append(out, one)
	}
	if len(out) == 0 && r.revision >= from {
		out = append(out, core.RawChanges{Revision: r.revision})
	}
	return out, nil
}
