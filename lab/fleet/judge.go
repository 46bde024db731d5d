package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/catchment/catchment/pop/api"
)

// What POPs write in their journals of a step, and with it in the core.
var (
	stepped  = regexp.MustCompile(`^(\S+): level (\d+) -> (\d+): `)
	notMoved = regexp.MustCompile(`^(\S+): not moved `)
	reserved = regexp.MustCompile(`^load: (\S+) from level (\d+) to (\d+), `)
)

// books compares what every POP's journal says it did with what the core's
// history says was reserved for it. Nobody has moved what was not reserved
// first; what was reserved and not moved was given back, and the journal says
// so; and now nothing is reserved any more.
func (f *lab) books(ctx context.Context) (string, error) {
	taken, writes, err := f.history(ctx)
	if err != nil {
		return "", err
	}
	moves := 0
	for _, pop := range pops {
		did, undone, err := f.journal(ctx, pop)
		if err != nil {
			return "", err
		}
		for step, n := range did {
			step = strings.ToUpper(pop) + " " + step
			if moves += n; taken[step] < n {
				return "", fmt.Errorf("%s: %d times in the journal, %d in the core", step, n, taken[step])
			}
			taken[step] -= n
		}
		for step, n := range taken {
			slice, of := strings.CutPrefix(step, strings.ToUpper(pop)+" ")
			slice, _, _ = strings.Cut(slice, " ")
			if of && n > undone[slice] {
				return "", fmt.Errorf("%s: reserved %d times more than it happened, and given back %d times", step, n, undone[slice])
			}
		}
	}
	if moves == 0 {
		return "", fmt.Errorf("no journal tells of a step")
	}
	return fmt.Sprintf("%d moves in 4 journals, each reserved before in the core (%d writes); nothing is reserved now", moves, writes), f.left(ctx)
}

// history counts the steps that the core knows, "POP SLICE FROM TO", and the
// states of its ledgers. A step that reserves at several POPs is one revision.
func (f *lab) history(ctx context.Context) (map[string]int, int, error) {
	steps, writes := map[int64]string{}, 0
	for _, pop := range pops {
		out, err := f.world.Exec(ctx, "fra", "catchment", "core", "history", "reservation/"+strings.ToUpper(pop), "-n", "1000", "-j")
		if err != nil {
			if strings.Contains(out, "not") { // nothing was ever reserved there
				continue
			}
			return nil, 0, fmt.Errorf("%w: %s", err, out)
		}
		var all []api.CoreObject
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return nil, 0, fmt.Errorf("history of %s: %w", pop, err)
		}
		for _, o := range all {
			writes++
			if m := reserved.FindStringSubmatch(o.Why); m != nil {
				steps[o.Revision] = strings.TrimPrefix(o.Who, "pop ") + " " + strings.Join(m[1:], " ")
			}
		}
	}
	count := map[string]int{}
	for _, s := range steps {
		count[s]++
	}
	return count, writes, nil
}

// journal counts the steps that a POP made, "SLICE FROM TO", and those that it
// gave back, by slice.
func (f *lab) journal(ctx context.Context, pop string) (did, undone map[string]int, err error) {
	out, err := f.world.Exec(ctx, pop, "catchment", "journal", "-n", "0", "-j")
	if err != nil {
		return nil, nil, err
	}
	did, undone = map[string]int{}, map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e api.JournalEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, nil, fmt.Errorf("journal of %s: %w: %s", pop, err, lines.Text())
		}
		if m := stepped.FindStringSubmatch(e.Text); m != nil && e.Kind == "load" {
			did[strings.Join(m[1:], " ")]++
		}
		if m := notMoved.FindStringSubmatch(e.Text); m != nil {
			undone[m[1]]++
		}
	}
	return did, undone, lines.Err()
}

// left waits until nothing is reserved: what has arrived is given free in the
// round after.
func (f *lab) left(ctx context.Context) error {
	return f.all(ctx, "nothing is reserved any more", func(_ string, st api.Status) error {
		if st.Balance == nil {
			return errors.New("it says nothing of its load loop")
		}
		if len(st.Balance.Reserved) > 0 {
			return fmt.Errorf("still reserved: %+v", st.Balance.Reserved)
		}
		return nil
	})
}
