package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// What crowds ask for, requests a second each, and what a POP can take
// (load.capacity of the configurations). Two crowds are LON's.
const (
	baseRate = 20.0
	highRate = 45.0 // LON is asked for 90
	moreRate = 58.0 // and for 116
	capacity = 60.0
)

// acts is the story.
func (f *lab) acts() []act {
	others := []string{"FRA", "AMS", "DUB"}
	return []act{
		{"assembly", "FRA, AMS and DUB join LON's control core by tokens, DUB as a follower; all announce all slices", f.assembly, nil},
		{"base", "20 requests/s from each of five crowds, two of them LON's", f.base, others},
		{"overload", "LON is asked for 90/s and can take 60/s", f.overload, others},
		{"restart", "LON's daemon is killed and started again", f.restart, others},
		{"leader", "the daemon with the core's leader is killed, and started 5 s later", f.leader, others},
		{"partition", "LON is cut off from the other POPs for 15 s, and asked for 116/s", f.partition, others},
		{"all members", "the daemons of all three members are killed at once, and started 5 s later", f.everyone, others},
		{"return", "LON is asked for 40/s again", f.back, others},
		{"books", "the journals of all POPs beside the core's history", f.books, others},
	}
}

func (f *lab) assembly(ctx context.Context) (string, error) {
	if err := f.eventually(ctx, "LON's core answers", func(ctx context.Context) error {
		_, err := f.core(ctx, "lon")
		return err
	}); err != nil {
		return "", err
	}
	for i, pop := range pops[1:] {
		if err := f.join(ctx, pop, i+2); err != nil {
			return "", err
		}
	}
	return "three members and a follower", f.all(ctx, "announces all, all is measured and heard", func(_ string, st api.Status) error {
		for _, sl := range st.Services[0].Slices {
			if !sl.Stance.Announced() || sl.Stance.Rung != 0 {
				return fmt.Errorf("%v: %v", sl.Slice, sl.Stance)
			}
		}
		heard := map[policy.POPID]bool{}
		for _, p := range st.Fleet {
			heard[p.POP] = heard[p.POP] || !p.Stale
		}
		if len(heard) < len(pops)-1 {
			return fmt.Errorf("heard of %d POPs", len(heard))
		}
		for p, ok := range heard {
			if !ok {
				return fmt.Errorf("%s: not heard", p)
			}
		}
		return nil
	})
}

// join gives a POP a token, as a member of the core or to follow it, and waits
// until it has the core.
func (f *lab) join(ctx context.Context, pop string, number int) error {
	args := []string{"catchment", "core", "token", strings.ToUpper(pop), "--why", "the fleet is put together"}
	if slices.Contains(members, pop) {
		args = append(args, "--member", fmt.Sprintf("10.0.%d.2:9795", number))
	}
	token, err := f.world.Exec(ctx, "lon", args...)
	if err != nil {
		return err
	}
	if _, err := f.world.Exec(ctx, pop, "sh", "-c", fmt.Sprintf("umask 077; echo %q > %s.new && mv %s.new %s", lastLine(token), tokenFile, tokenFile, tokenFile)); err != nil {
		return err
	}
	return f.eventually(ctx, pop+" has the core", func(ctx context.Context) error {
		st, err := f.core(ctx, pop)
		if err == nil && slices.Contains(members, pop) && len(st.Members) < number {
			err = fmt.Errorf("%d members", len(st.Members))
		}
		return err
	})
}

// tokenFile is core.token-file of the configurations.
const tokenFile = "/run/core.token"

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// core asks a daemon for its control core, which has to answer with a majority.
func (f *lab) core(ctx context.Context, pop string) (api.CoreStatus, error) {
	var st api.CoreStatus
	out, err := f.world.Exec(ctx, pop, "catchment", "core", "status", "-j")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		return st, err
	}
	if !st.Reachable {
		return st, fmt.Errorf("%s: the core is out of reach", pop)
	}
	return st, nil
}

// all waits until every daemon's status is right.
func (f *lab) all(ctx context.Context, what string, right func(pop string, st api.Status) error) error {
	return f.eventually(ctx, what, func(ctx context.Context) error {
		for _, pop := range pops {
			st, err := f.status(ctx, pop)
			if err == nil {
				err = right(pop, st)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", pop, err)
			}
		}
		return nil
	})
}

func (f *lab) base(ctx context.Context) (string, error) {
	rates, err := f.lasts(ctx, 8)
	if err == nil && (rates["LON"] < 1.8*baseRate || rates["FRA"] < 0.8*baseRate || rates["AMS"] < 0.8*baseRate || rates["DUB"] < 0.8*baseRate) {
		err = fmt.Errorf("the catchments are not as drawn: %s", words(rates))
	}
	return words(rates), err
}

// overload waits until LON has shed enough and nothing moves any more.
func (f *lab) overload(ctx context.Context) (string, error) {
	if err := f.rate(ctx, highRate, "c1", "c4"); err != nil {
		return "", err
	}
	n, err := f.settled(ctx, func(n int, rates map[string]float64) error {
		if n == 0 || rates["LON"] > capacity {
			return fmt.Errorf("%d slices are away, %s", n, words(rates))
		}
		return nil
	})
	return fmt.Sprintf("%d of %d slices are away: %s", n, len(vips), words(mean(f.seen(), 5))), err
}

// settled waits until LON's slices are as right says and have been for ten
// seconds, and gives how many of them are away.
func (f *lab) settled(ctx context.Context, right func(away int, rates map[string]float64) error) (int, error) {
	n, since := -1, time.Now()
	err := f.eventually(ctx, "LON settles", func(ctx context.Context) error {
		st, err := f.status(ctx, "lon")
		if err != nil {
			return err
		}
		now := away(st)
		if now != n {
			n, since = now, time.Now()
		}
		if err := right(n, mean(f.seen(), 5)); err != nil {
			since = time.Now()
			return err
		}
		if time.Since(since) < 10*time.Second {
			return fmt.Errorf("%d slices away for %v", n, time.Since(since))
		}
		return nil
	})
	return n, err
}

// same is an error if LON has not the same slices away as before.
func (f *lab) same(ctx context.Context, before int) error {
	st, err := f.status(ctx, "lon")
	if err == nil && away(st) != before {
		err = fmt.Errorf("%d slices were away, now %d", before, away(st))
	}
	return err
}

func (f *lab) awayNow(ctx context.Context) (int, error) {
	st, err := f.status(ctx, "lon")
	return away(st), err
}

func (f *lab) restart(ctx context.Context) (string, error) {
	before, err := f.awayNow(ctx)
	if err != nil {
		return "", err
	}
	if err := f.kill(ctx, "lon"); err != nil {
		return "", err
	}
	if err := f.start(ctx, "lon"); err != nil {
		return "", err
	}
	if err := f.coreBack(ctx); err != nil {
		return "", err
	}
	rates, err := f.lasts(ctx, 5)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the same %d slices are away: %s", before, words(rates)), f.same(ctx, before)
}

// coreBack waits until all daemons have the core, with all its members.
func (f *lab) coreBack(ctx context.Context) error {
	return f.eventually(ctx, "the core is whole", func(ctx context.Context) error {
		for _, pop := range pops {
			if st, err := f.core(ctx, pop); err != nil {
				return err
			} else if slices.Contains(members, pop) && len(st.Members) != len(members) {
				return fmt.Errorf("%s: %d members", pop, len(st.Members))
			}
		}
		return nil
	})
}

func (f *lab) leader(ctx context.Context) (string, error) {
	st, err := f.core(ctx, "fra")
	if err != nil {
		return "", err
	}
	before, err := f.awayNow(ctx)
	if err != nil {
		return "", err
	}
	led := strings.ToLower(st.Leader)
	if err := f.kill(ctx, led); err != nil {
		return "", err
	}
	killed := time.Now()
	other := pops[0]
	if other == led {
		other = pops[1]
	}
	var next string
	if err := f.eventually(ctx, "a new leader", func(ctx context.Context) error {
		st, err := f.core(ctx, other)
		if next = st.Leader; err == nil && (next == "" || strings.EqualFold(next, led)) {
			err = fmt.Errorf("leader %q", next)
		}
		return err
	}); err != nil {
		return "", err
	}
	took := time.Since(killed)
	if _, err := f.lasts(ctx, 5); err != nil {
		return "", err
	}
	if err := f.start(ctx, led); err != nil {
		return "", err
	}
	if err := f.coreBack(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s led, %s leads %.1f s later; %d slices stay away", strings.ToUpper(led), next, took.Seconds(), before), f.same(ctx, before)
}

func (f *lab) partition(ctx context.Context) (string, error) {
	before, err := f.awayNow(ctx)
	if err != nil {
		return "", err
	}
	if err := f.cut(ctx, "lon", false); err != nil {
		return "", err
	}
	if err := f.rate(ctx, moreRate, "c1", "c4"); err != nil {
		return "", err
	}
	alone, err := f.lasts(ctx, 15)
	if err != nil {
		return "", err
	}
	if err := f.same(ctx, before); err != nil {
		return "", fmt.Errorf("out of the core's reach: %w", err)
	}
	if err := f.cut(ctx, "lon", true); err != nil {
		return "", err
	}
	if err := f.coreBack(ctx); err != nil {
		return "", err
	}
	n, err := f.settled(ctx, func(n int, rates map[string]float64) error {
		if rates["LON"] > capacity {
			return fmt.Errorf("%d slices are away, %s", n, words(rates))
		}
		return nil
	})
	return fmt.Sprintf("alone it held its %d (%s), then %d are away: %s", before, words(alone), n, words(mean(f.seen(), 5))), err
}

func (f *lab) everyone(ctx context.Context) (string, error) {
	before, err := f.awayNow(ctx)
	if err != nil {
		return "", err
	}
	if err := f.kill(ctx, members...); err != nil {
		return "", err
	}
	if _, err := f.lasts(ctx, 5); err != nil {
		return "", err
	}
	if st, err := f.status(ctx, "dub"); err != nil || away(st) > 0 {
		return "", fmt.Errorf("dub without any member: %d slices away, %w", away(st), err)
	}
	if err := f.start(ctx, members...); err != nil {
		return "", err
	}
	if err := f.coreBack(ctx); err != nil {
		return "", err
	}
	rates, err := f.lasts(ctx, 5)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the same %d slices are away: %s", before, words(rates)), f.same(ctx, before)
}

func (f *lab) back(ctx context.Context) (string, error) {
	if err := f.rate(ctx, baseRate, "c1", "c4"); err != nil {
		return "", err
	}
	_, err := f.settled(ctx, func(n int, rates map[string]float64) error {
		if n > 0 {
			return fmt.Errorf("%d slices are away, %s", n, words(rates))
		}
		return nil
	})
	return "no slice is away: " + words(mean(f.seen(), 5)), err
}
