package relay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/fleet"
)

var web = policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))

// station is a POP that knows of the others by the tree alone.
type station struct {
	*fleet.Fleet
	node *Node

	mu      sync.Mutex
	leaving bool
	left    bool
}

func (s *station) local(context.Context) ([]fleet.Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := fleet.Claim{Slice: web, Verdict: policy.Up, Leaving: s.leaving, Stance: policy.Stance{Action: policy.Announce}}
	if s.left {
		c.Stance, c.Verdict = policy.Stance{}, policy.Down
	}
	return []fleet.Claim{c}, nil
}

// station starts a node that speaks for a fleet.Fleet, as the daemon ties them.
func (w *world) station(pop string, parents ...string) *station {
	s := &station{}
	var err error
	if s.Fleet, err = fleet.New(fleet.Config{POP: policy.POPID(pop), Tree: true, Stale: 5 * time.Second}, s.local, slog.New(slog.DiscardHandler)); err != nil {
		w.t.Fatal(err)
	}
	tree := s.Tree()
	s.node = w.add(pop, func(o *Options) {
		o.Presence = func(ctx context.Context) (Said, error) {
			m, err := tree.Say(ctx)
			return Said{m.Boot, m.Sequence, m.Body, m.Asks, m.Urgent}, err
		}
		o.OnPresence = func(p Presence) {
			if len(p.Payload) == 0 {
				return
			}
			h := fleet.Hearing{POP: policy.POPID(p.POP), Boot: p.Boot, Sequence: p.Sequence, Made: p.Made, Body: p.Payload}
			for _, a := range p.Acks {
				if a.POP == pop {
					h.AckBoot, h.Ack = a.Boot, a.Sequence
				}
			}
			tree.Hear(h) // some are overtaken
		}
	}, parents...)
	tree.Wake(s.node.Tell)
	return s
}

// leave is the last-pop rule at its barest: go when another is confirmed to
// announce after it was told that we go; give up when none does.
func (s *station) leave(t *testing.T, others int) {
	s.mu.Lock()
	s.leaving = true
	since := time.Now()
	s.mu.Unlock()
	s.Poke(since)
	for end := since.Add(20 * time.Second); ; {
		confirmed, answered := false, 0
		s.mu.Lock() // decided by what is heard at this moment: what is heard later finds us gone
		for _, p := range s.View(time.Now()).Peers {
			if p.Asked.After(since) {
				answered++
				c := p.Slices[web]
				confirmed = confirmed || c.Stance.Announced() && !c.Leaving
			}
		}
		s.left = confirmed
		s.mu.Unlock()
		if confirmed || answered == others {
			return
		}
		if time.Now().After(end) {
			t.Error("no answers")
			return
		}
		select {
		case <-s.Changed():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestNeverAllLeave: POPs that want to leave at about the same moment, and hear
// of each other by the tree alone, never all do.
func TestNeverAllLeave(t *testing.T) {
	left, rounds := 0, 0
	seeds := uint64(4)
	for seed := range seeds {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			rng, mu := rand.New(rand.NewPCG(seed, 8)), sync.Mutex{}
			roll := func(n int) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(rng.IntN(n)) * time.Millisecond
			}
			w.net.delay = func(string, string) time.Duration { return 5*time.Millisecond + roll(60) }
			w.add("LON", nil)
			all := []*station{w.station("A", "LON"), w.station("B", "A", "LON"), w.station("C", "LON")}
			for round := range 40 {
				for _, s := range all {
					s.mu.Lock()
					s.leaving, s.left = false, false
					s.mu.Unlock()
					s.node.Tell()
				}
				until(t, 30*time.Second, "all announce", func() bool {
					for _, s := range all {
						announced := 0
						for _, p := range s.View(time.Now()).Peers {
							if c := p.Slices[web]; c.Stance.Announced() && !c.Leaving {
								announced++
							}
						}
						if announced < len(all)-1 {
							return false
						}
					}
					return true
				})
				var wg sync.WaitGroup
				for _, s := range all {
					delay := roll([]int{300, 1500}[round%2])
					wg.Go(func() { time.Sleep(delay); s.leave(t, len(all)-1) })
				}
				wg.Wait()
				gone := 0
				for _, s := range all {
					if s.left {
						gone++
					}
				}
				left, rounds = left+gone, rounds+1
				if gone == len(all) {
					t.Fatalf("seed %d, round %d: all left", seed, round)
				}
			}
		})
	}
	t.Logf("%d left in %d rounds of 3", left, rounds)
	if left < rounds/10 {
		t.Errorf("only %d left in %d rounds: no test", left, rounds)
	}
}
