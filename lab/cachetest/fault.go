package cachetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// fault is one way to do harm, and what may not happen then.
type fault struct {
	name string
	what string // what is done
	ours bool   // needs what only ours has
	do   func(*harm) error
}

// harm is one fault at work on one cache. What was seen goes into notes; what
// may not happen into wrong, and the count of it is judged.
type harm struct {
	ctx    context.Context
	sub    Subject
	dir    string
	bin    string
	origin *wares
	addr   Setup // Origin and HTTP only
	quick  bool
	notes  []string
	wrong  []string
}

func (h *harm) note(format string, args ...any) {
	h.notes = append(h.notes, fmt.Sprintf(format, args...))
}
func (h *harm) bad(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// pick is a number for a full run and one for a short one.
func (h *harm) pick(full, short int) int {
	if h.quick {
		return short
	}
	return full
}

// start starts the cache, each time at the same address; change, if any, edits
// the setup.
func (h *harm) start(change func(*Setup)) (*Running, error) {
	if h.addr.HTTP == "" {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		h.addr.HTTP = fmt.Sprintf("127.0.0.1:%d", port)
	}
	set := h.addr
	set.Dir, set.CPU, set.Bin = h.dir, -1, h.bin
	if change != nil {
		change(&set)
	}
	return h.sub.Start(h.ctx, set)
}

func faults() []fault {
	return []fault{
		{"origin-dies", "the origin breaks off half of all answers, with and without lengths", false, originDies},
		{"origin-gone", "the origin is gone: what is stored is served, the rest refused", false, originGone},
		{"disk-full", "the disk is a quarter of what the store may take", false, diskFull},
		{"disk-errors", "every write to a file fails from some moment on", false, diskErrors},
		{"bit-rot", "bytes of the store's files are flipped between two starts", true, bitRot},
		{"kill-9", "killed during fills, again and again, and started on the same store", false, killNine},
		{"slow-clients", "clients that read a byte a second", false, slowClients},
		{"header-bombs", "heads that are too long, too many or without end, HTTP/1.1 and 2", false, headerBombs},
		{"cache-busting", "each request another query", false, cacheBusting},
		{"purge-storm", "purges during load; what was purged is not served again", true, purgeStorm},
	}
}

// FaultOptions of a run.
type FaultOptions struct {
	Out       io.Writer
	Work, Bin string
	Subjects  []Subject
	Only      string
	Quick     bool // short forms: seconds
}

// outcome of a fault on a cache.
type outcome struct {
	fault   fault
	sub     Subject
	notes   []string
	wrong   []string
	err     error // it could not be tried, or the cache ended
	took    time.Duration
	skipped bool
}

// Faults does all harm to all subjects, one after the other, and prints a
// table and goal lines. The error names what could not be tried.
func Faults(ctx context.Context, o FaultOptions) error {
	var all []outcome
	for _, f := range faults() {
		if !strings.Contains(f.name, o.Only) {
			continue
		}
		for _, sub := range o.Subjects {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			all = append(all, o.try(ctx, f, sub))
		}
	}
	return o.report(all)
}

// try does one kind of harm to one cache.
func (o FaultOptions) try(ctx context.Context, f fault, sub Subject) (out outcome) {
	out = outcome{fault: f, sub: sub}
	if f.ours && !sub.Ours {
		out.skipped = true
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	org := newWares()
	at, end, err := Loopback(org)
	if err != nil {
		out.err = err
		return out
	}
	defer end()
	h := &harm{ctx: ctx, sub: sub, dir: filepath.Join(o.Work, f.name+"-"+sub.Name), bin: o.Bin, origin: org, addr: Setup{Origin: at}, quick: o.Quick}
	began := time.Now()
	out.err = f.do(h)
	out.took, out.notes, out.wrong = time.Since(began), h.notes, h.wrong
	_ = os.RemoveAll(h.dir)
	return out
}

func (o FaultOptions) report(all []outcome) error {
	tw := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "fault\tcache\twrong\tseconds\tseen")
	var errs []error
	for _, out := range all {
		if out.skipped {
			continue
		}
		seen := strings.Join(out.notes, ", ")
		if out.err != nil {
			seen = "NOT TRIED TO THE END; " + seen
			errs = append(errs, fmt.Errorf("%s on %s: %w", out.fault.name, out.sub.Name, out.err))
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.1f\t%s\n", out.fault.name, out.sub.Name, len(out.wrong), out.took.Seconds(), seen)
	}
	tw.Flush()
	fmt.Fprintln(o.Out)
	for _, out := range all {
		for i, w := range out.wrong {
			if i == 5 {
				fmt.Fprintf(o.Out, "  %s: %s: and %d more\n", out.sub.Name, out.fault.name, len(out.wrong)-i)
				break
			}
			fmt.Fprintf(o.Out, "  %s: %s: %s\n", out.sub.Name, out.fault.name, w)
		}
	}
	for _, out := range all {
		if out.sub.Ours && out.err == nil {
			fmt.Fprintln(o.Out, goal.AtMost("cache-fault-"+out.fault.name+"-wrong", float64(len(out.wrong)), 0))
		}
	}
	return errors.Join(errs...)
}
