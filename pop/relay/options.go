package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/catchment/catchment/pop/core"
)

// Parent is where a POP finds the one above it.
type Parent struct {
	POP     string `json:"pop"`     // as its certificate says
	Address string `json:"address"` // host:port
}

// Options say what a node is. Zero durations and limits take the defaults.
type Options struct {
	POP string
	// Core makes it a top of the tree: the core of a member, run by others.
	// Without it the node follows.
	Core *core.Core
	// Root is the prefix of the core's keys; default that of core.Options.
	Root string
	// Parents, best first; needed without Core. With Core they are other tops
	// of the tree, with which presence is exchanged, so that it is heard in the
	// whole fleet: name all of them at each.
	Parents []Parent
	// Listen is host:port where children come; empty: nowhere. Advertise is
	// the address by which they find it; default Listen.
	Listen, Advertise string
	// Files are of this POP's certificate, read at each connection.
	Files core.Files
	// Dir is where a follower keeps the last state; empty: nowhere.
	Dir string

	// Presence makes what we say of ourselves. It is called each Beat and after
	// Tell, one call at a time, and knows of everything that OnPresence was
	// given before it was called. nil: that we are there, and nothing else.
	Presence func(context.Context) (Said, error)
	// OnPresence is given each new statement of another POP. It must not block;
	// several calls may run at once.
	OnPresence func(Presence)

	Beat    time.Duration // between two statements; default 1 s
	TTL     time.Duration // for which one counts; default 5 s
	Gap     time.Duration // shortest between two beats with news on a link; default 50 ms
	Silence time.Duration // of a parent, after which another is sought; default 3 s
	Back    time.Duration // mean time until a better parent is tried; default 30 s
	Depth   int           // most nodes from top to here, both counted; default 8
	Limits  Limits
	Log     *slog.Logger // default: says nothing

	id     identity // tests and simulations
	dial   func(context.Context, Parent) (upstream, error)
	listen func(ctx context.Context, n *Node) error
	noSync bool // tests: power is not lost there
}

// Limits bound what others can make us keep or do.
type Limits struct {
	Children  int     // default 64
	State     int64   // bytes of the core's state; default 256 MiB
	Log       int64   // bytes of the changes that are kept; default 32 MiB
	Steps     int     // how many; default 10,000
	Snapshots int     // sent at once; default 4
	POPs      int     // whose presence is kept; default 2048
	Payloads  int64   // bytes of it; default 64 MiB
	Rate      float64 // requests a second passed on for one POP; default 50
	Burst     int     // that may come at once; default 200
}

func (l Limits) withDefaults() Limits {
	l.Children = cmp.Or(l.Children, 64)
	l.State = cmp.Or(l.State, 256<<20)
	l.Log = cmp.Or(l.Log, 32<<20)
	l.Steps = cmp.Or(l.Steps, 10000)
	l.Snapshots = cmp.Or(l.Snapshots, 4)
	l.POPs = cmp.Or(l.POPs, 2048)
	l.Payloads = cmp.Or(l.Payloads, 64<<20)
	l.Rate = cmp.Or(l.Rate, 50)
	l.Burst = cmp.Or(l.Burst, 200)
	return l
}

func (o Options) withDefaults() Options {
	if o.Core != nil {
		o.Root = o.Core.Root()
	}
	o.Root = cmp.Or(o.Root, "/catchment/1/")
	o.Advertise = cmp.Or(o.Advertise, o.Listen)
	o.Beat = cmp.Or(o.Beat, time.Second)
	o.TTL = cmp.Or(o.TTL, 5*time.Second)
	o.Gap = cmp.Or(o.Gap, 50*time.Millisecond)
	o.Silence = cmp.Or(o.Silence, 3*time.Second)
	o.Back = cmp.Or(o.Back, 30*time.Second)
	o.Depth = cmp.Or(o.Depth, 8)
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.id == nil {
		o.id = newCertificates(o.Files)
	}
	return o
}

func (o Options) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validName(o.POP) {
		add("pop %q: want a name of at most %d bytes", o.POP, maxName)
	}
	if o.Core == nil && len(o.Parents) == 0 {
		add("neither a core nor a parent")
	}
	seen := map[Parent]bool{}
	for _, p := range o.Parents {
		_, _, err := net.SplitHostPort(p.Address)
		if o.dial == nil && err != nil || !validName(p.POP) || p.POP == o.POP || seen[p] {
			add("parent %s at %q: want another POP's name and host:port, each once", p.POP, p.Address)
		}
		seen[p] = true
	}
	if o.TTL < 2*o.Beat || o.TTL > maxTTL || o.Gap <= 0 || o.Gap > o.Beat/2 || o.Silence < 2*o.Beat {
		add("ttl %v, beat %v, gap %v, silence %v: want ttl and silence of two beats at least, gap of half a beat at most", o.TTL, o.Beat, o.Gap, o.Silence)
	}
	return errors.Join(errs...)
}
