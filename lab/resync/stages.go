package resync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/netlab"
)

// watching is what looks at the wires while something happens.
type watching struct{ client, pop, ping *reporter }

// reporter is a tool that says what it saw when it is told to end.
type reporter struct {
	p    *netlab.Process
	mu   sync.Mutex
	out  bytes.Buffer
	says chan struct{} // closed with the first word
	once sync.Once
}

func (r *reporter) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.once.Do(func() { close(r.says) })
	return r.out.Write(b)
}

func (w *lab) report(node string, args ...string) (*reporter, error) {
	r := &reporter{says: make(chan struct{})}
	var err error
	r.p, err = w.Start(node, netlab.Command{Stdout: r, Args: args})
	return r, err
}

// end tells it to end and reads its last line.
func (r *reporter) end(ctx context.Context, v any) error {
	if err := r.p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := r.p.Wait(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.TrimSpace(r.out.String())
	return json.Unmarshal([]byte(all[strings.LastIndexByte(all, '\n')+1:]), v)
}

// watch looks at the client's wire and at FRA's, and at the round trip between
// the two, as whatever crosses the same link sees it.
func (w *lab) watch(ctx context.Context) (*watching, error) {
	s := &watching{}
	var errs [3]error
	s.client, errs[0] = w.report("client", "lab-watch")
	s.pop, errs[1] = w.report("fra", "lab-watch")
	s.ping, errs[2] = w.report("client", "lab-ping", "--to", pops["fra"].addr)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for _, r := range []*reporter{s.client, s.pop} {
		select {
		case <-r.says:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s, nil
}

// stage is when something happened to each of many clients, after the route.
type stage struct {
	name string
	at   []time.Duration
}

// stages are how a client is told of a death, from the route to its process.
type stages struct {
	all   []stage
	rtt   []time.Duration // sorted, of the time from the route to the last client
	acked int             // clients' answers before the route, which nobody hears
}

// end stops watching and says when what happened; flows are what the clients'
// process says itself.
func (s *watching) end(ctx context.Context, flows []one, route time.Time) (*stages, error) {
	var client, pop map[uint16]*seen
	var echoes []echo
	if err := errors.Join(s.client.end(ctx, &client), s.pop.end(ctx, &pop), s.ping.end(ctx, &echoes)); err != nil {
		return nil, err
	}
	st := &stages{all: []stage{{name: "first probe leaves FRA"}, {name: "first probe after the route leaves FRA"}, {name: "client's first answer after the route"},
		{name: "answer is at FRA"}, {name: "reset leaves FRA"}, {name: "reset is at the client's kernel"}, {name: "a program that waits for it is told"},
		{name: "a read of the process that is all clients says so"}, {name: "catchment get begins to go on"}}}
	last := route
	for i := range flows {
		f := &flows[i]
		c, p := client[f.Port], pop[f.Port]
		if c == nil || p == nil || f.Broke.IsZero() {
			continue
		}
		if f.Broke.After(last) {
			last = f.Broke
		}
		add := func(k int, ns int64) {
			if ns != 0 {
				st.all[k].at = append(st.all[k].at, time.Duration(ns-route.UnixNano()))
			}
		}
		add(0, first(p.Probes, 0))
		add(1, first(p.Probes, route.UnixNano()))
		add(2, first(c.Acks, route.UnixNano()))
		add(3, first(p.Acks, 0))
		add(4, first(p.Resets, 0))
		add(5, first(c.Resets, 0))
		if !f.Told.IsZero() {
			add(6, f.Told.UnixNano())
		}
		add(7, f.Broke.UnixNano())
		if !f.Acts.IsZero() {
			add(8, f.Acts.UnixNano())
		}
		for _, at := range c.Acks {
			if at < route.UnixNano() {
				st.acked++
			}
		}
	}
	for k := range st.all {
		slices.Sort(st.all[k].at)
	}
	for _, e := range echoes {
		if !e.At.Before(route) && !e.At.After(last) {
			st.rtt = append(st.rtt, e.RTT)
		}
	}
	slices.Sort(st.rtt)
	return st, nil
}

// first is the first time that is not before another; 0: there is none.
func first(all []int64, from int64) int64 {
	for _, at := range all {
		if at >= from {
			return at
		}
	}
	return 0
}

// told is when each client's kernel was told, sorted: its first reset after a
// death is the one that counts. Of what is no death there is none.
func (s *stages) told() []time.Duration {
	if s == nil || len(s.all) <= resetHere {
		return nil
	}
	return s.all[resetHere].at
}

const resetHere = 5 // of stages.all

// print prints them; of what is no death only how the line was.
func (s *stages) print(out io.Writer, death bool) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "AFTER THE ROUTE\tCLIENTS\tFIRST\tHALF\t99 %%\tLAST\n")
	for _, st := range s.all {
		if !death {
			break
		}
		fmt.Fprintf(t, "%s\t%d\t%v\t%v\t%v\t%v\n", st.name, len(st.at), ms(of(st.at, 0)), ms(of(st.at, .5)), ms(of(st.at, .99)), ms(of(st.at, 1)))
	}
	fmt.Fprintf(t, "round trip of a ping meanwhile\t%d\t%v\t%v\t%v\t%v\n", len(s.rtt), ms(of(s.rtt, 0)), ms(of(s.rtt, .5)), ms(of(s.rtt, .99)), ms(of(s.rtt, 1)))
	t.Flush()
	if !death {
		return
	}
	fmt.Fprintf(out, "%d answers of clients went to the dead POP before the route was there\n", s.acked)
}

// Stages lets a POP die under a thousand downloads and prints when what
// happened on the way to each client.
func Stages(ctx context.Context, o Options) error {
	w, err := raise(ctx, o, withCatchment, far)
	if err != nil {
		return err
	}
	defer w.down()
	sum, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	r, err := w.thousand(ctx, o, "death", sum, func(context.Context) error { return w.Crash("lon") })
	if err != nil {
		return err
	}
	thousands(o, []result{r})
	return nil
}
