package ingress

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/catchment/catchment/bgp"
)

// Setter is the speaker.
type Setter interface {
	Set(context.Context, []bgp.Announcement) error
	Announced() []bgp.Announcement
}

// Routes are what single neighbors hear instead of, or beside, what the POP
// announces.
type Routes map[netip.Prefix]map[netip.Addr]bgp.Override

// Layers put what the POP announces and what ingress routers are told into the
// one set that the speaker wants. Neither layer sees the other. Nothing is set
// before the POP has said for the first time what it announces, so that a
// restarted speaker's first set is whole.
type Layers struct {
	speaker Setter

	mu      sync.Mutex
	pop     []bgp.Announcement
	begun   bool // the POP has set
	routers Routes
	closed  bool
}

// NewLayers puts layers over a speaker, which begin with routes that routers
// may still hold.
func NewLayers(speaker Setter, routers Routes) *Layers {
	return &Layers{speaker: speaker, routers: routers}
}

// Set is the POP's layer: all that it announces.
func (l *Layers) Set(ctx context.Context, set []bgp.Announcement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pop, l.begun = set, true
	return l.speaker.Set(ctx, l.merged())
}

// SetRouters is the layer of ingress routers: all that they are told.
func (l *Layers) SetRouters(ctx context.Context, routers Routes) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the daemon ends")
	}
	l.routers = routers
	if !l.begun {
		return nil // goes with the POP's first set
	}
	return l.speaker.Set(ctx, l.merged())
}

// Close refuses further changes for routers: the speaker is about to end.
func (l *Layers) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Announced is what of the POP's layer is in force.
func (l *Layers) Announced() []bgp.Announcement {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.routers) == 0 {
		return l.speaker.Announced()
	}
	wanted := map[netip.Prefix]bgp.Announcement{}
	for _, a := range l.pop {
		wanted[a.Prefix] = a
	}
	var out []bgp.Announcement
	for _, a := range l.speaker.Announced() {
		own, ours := wanted[a.Prefix]
		switch {
		case ours && l.merge(own).Equal(a):
			out = append(out, own)
		case !a.Only:
			out = append(out, a)
		}
	}
	return out
}

// merged is the whole set, sorted by prefix.
func (l *Layers) merged() []bgp.Announcement {
	if len(l.routers) == 0 {
		return l.pop
	}
	out := make([]bgp.Announcement, 0, len(l.pop)+len(l.routers))
	own := map[netip.Prefix]bool{}
	for _, a := range l.pop {
		own[a.Prefix] = true
		out = append(out, l.merge(a))
	}
	for p, n := range l.routers {
		if !own[p] && len(n) > 0 {
			out = append(out, bgp.Announcement{Prefix: p, Neighbors: n, Only: true})
		}
	}
	slices.SortFunc(out, func(a, b bgp.Announcement) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

// merge adds what routers are told to what all others hear.
func (l *Layers) merge(a bgp.Announcement) bgp.Announcement {
	told := l.routers[a.Prefix]
	if len(told) == 0 {
		return a
	}
	n := maps.Clone(a.Neighbors)
	if n == nil {
		n = make(map[netip.Addr]bgp.Override, len(told))
	}
	maps.Copy(n, told)
	a.Neighbors = n
	return a
}
