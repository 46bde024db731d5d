package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/turns"
)

// forgotten are the kinds in which a POP leaves what others wait for or count
// with: its place in the queue of drains, the slices that it stands aside on,
// what it reserved and what was reserved of it, its room and its reports.
var forgotten = []core.Kind{turns.Kind, balance.KindClaim, core.KindReservation, core.KindRoom, core.KindReport}

// share is how many deletes go in one transaction; the engine takes 128.
const share = 100

// forget takes away what a POP that is gone for good has left in the core. A
// POP that is heard may stand on what it wrote, so it is refused but by force.
func (a Admin) forget(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	switch {
	case c.Name == "" || strings.Contains(c.Name, "/"):
		return api.CoreResult{}, api.Errorf(api.Invalid, "name %q: want that of a POP", c.Name)
	case c.Name == a.Host.pop:
		return api.CoreResult{}, api.Errorf(api.Refused, "%s is this POP: it takes back what it wrote itself", c.Name)
	case a.Heard != nil && a.Heard(c.Name) && !c.Force:
		return api.CoreResult{}, api.Errorf(api.Refused, "%s is heard of: it may stand on what it wrote, and takes it back itself (--force does it all the same)", c.Name)
	}
	left, err := a.leftBy(ctx, c.Name)
	if err != nil {
		return api.CoreResult{}, err
	}
	counts := map[core.Kind]int{}
	var ops []core.Op
	for _, k := range left {
		counts[k.Kind]++
		ops = append(ops, core.Op{Key: k, Delete: true})
	}
	for part := range slices.Chunk(ops, share) {
		if _, err := a.Host.core.Txn(ctx, w, nil, part); err != nil {
			return api.CoreResult{}, err
		}
	}
	if len(left) == 0 {
		return api.CoreResult{Text: "the core holds nothing of " + c.Name}, nil
	}
	var words []string
	for _, k := range forgotten {
		if n := counts[k]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, k))
		}
	}
	return api.CoreResult{Text: c.Name + " is forgotten: " + strings.Join(words, ", ") + " removed"}, nil
}

// leftBy lists the keys of what a POP has left.
func (a Admin) leftBy(ctx context.Context, pop string) ([]core.Key, error) {
	var out []core.Key
	for _, kind := range forgotten {
		list, err := a.Host.core.List(ctx, core.All(kind))
		if err != nil {
			return nil, err
		}
		for _, o := range list.Objects {
			if of(o.Key, pop) {
				out = append(out, o.Key)
			}
		}
	}
	return out, nil
}

// of reports whether an object is of a POP: KIND/POP, KIND/POP/..., and of
// reservations, which are TO/FROM/SLICE, either of the two. The ledger of a
// receiver, reservation/POP, is history and stays: grants compare with it.
func of(k core.Key, pop string) bool {
	parts := strings.SplitN(k.Name, "/", 3)
	if k.Kind == core.KindReservation {
		return len(parts) == 3 && (parts[0] == pop || parts[1] == pop)
	}
	return parts[0] == pop
}
