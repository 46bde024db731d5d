package demo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

// nextHops names who is behind the next hops of the watched router.
var nextHops = map[netip.Addr]string{
	netip.MustParseAddr("10.1.1.2"):        "LON",
	netip.MustParseAddr("2001:db8:1:1::2"): "LON",
	netip.MustParseAddr("10.12.0.2"):       "t2",
	netip.MustParseAddr("2001:db8:12::2"):  "t2",
}

const nowhere = "nowhere"

// kernel follows where the routes of a router's kernel lead.
type kernel struct {
	lab *netlab.Lab
	add func(Event)

	mu    sync.Mutex
	moves map[string][]move // by family, in order
}

// move is a change of where a route leads.
type move struct {
	at time.Time
	to string
}

// watch follows the kernel's own messages until ctx ends.
func (k *kernel) watch(ctx context.Context) error {
	events, err := k.lab.WatchRoutes(ctx, routerNode)
	if err != nil {
		return err
	}
	for _, f := range families {
		if err := k.look(f, time.Now()); err != nil {
			return err
		}
	}
	for e := range events {
		if f, ours := familyOf(e.Route.Prefix); ours {
			if err := k.look(f, e.Time); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

// look reads the route as the kernel has it now: a message may tell of one of
// several routes, or of a replaced one.
func (k *kernel) look(f family, at time.Time) error {
	routes, err := k.lab.Routes(routerNode, f.prefix)
	if err != nil {
		return err
	}
	to := leads(routes)
	k.mu.Lock()
	defer k.mu.Unlock()
	was := nowhere
	if n := len(k.moves[f.name]); n > 0 {
		was = k.moves[f.name][n-1].to
	}
	if to == was {
		return nil
	}
	k.moves[f.name] = append(k.moves[f.name], move{at, to})
	detail := fmt.Sprintf("%v leads to %s", f.prefix, to)
	if was != nowhere {
		detail += " (was " + was + ")"
	}
	k.add(Event{At: at, Who: routerNode, What: "route", Alert: to == nowhere, Detail: detail})
	return nil
}

func leads(routes []netlab.Route) string {
	var to []string
	for _, r := range routes {
		for _, via := range r.Via {
			name, known := nextHops[via]
			if !known {
				name = via.String()
			}
			to = append(to, name)
		}
	}
	if len(to) == 0 {
		return nowhere
	}
	return strings.Join(to, " and ")
}

// to says where the route of a family leads now.
func (k *kernel) to(f family) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.moves[f.name]); n > 0 {
		return k.moves[f.name][n-1].to
	}
	return nowhere
}

// all reports whether both routes lead to one.
func (k *kernel) all(to string) bool {
	for _, f := range families {
		if k.to(f) != to {
			return false
		}
	}
	return true
}

// left is when a family's route first led elsewhere than to one, after a time.
func (k *kernel) left(f family, who string, after time.Time) (time.Time, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.moves[f.name] {
		if m.at.After(after) && m.to != who {
			return m.at, true
		}
	}
	return time.Time{}, false
}

// lost reports whether a family's route led nowhere at any moment from a time
// on.
func (k *kernel) lost(after time.Time) bool {
	for _, f := range families {
		if k.to(f) == nowhere {
			return true
		}
		k.mu.Lock()
		for _, m := range k.moves[f.name] {
			if m.at.After(after) && m.to == nowhere {
				k.mu.Unlock()
				return true
			}
		}
		k.mu.Unlock()
	}
	return false
}
