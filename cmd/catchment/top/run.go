package top

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

const (
	// framesPerSecond bounds how often anything is sent to the terminal.
	framesPerSecond = 5
	// askTimeout is how long an answer may take.
	askTimeout = 5 * time.Second
	// changeTimeout is how long a change may take.
	changeTimeout = 35 * time.Second
	// lastEntries is how much of the journal is asked for.
	lastEntries = 50
	// leaveTimeout is how long a terminal that takes no output may keep us.
	leaveTimeout = 2 * time.Second
)

// Daemon is what answers: an *api.Client.
type Daemon interface {
	Status(context.Context) (api.Status, error)
	Explain(context.Context, policy.SliceID) (api.Explanation, error)
	Journal(context.Context, api.JournalFilter, func(api.JournalEntry) error) error
	Drain(context.Context, api.Change) (api.Result, error)
	Undrain(context.Context, api.Change) (api.Result, error)
	Hold(context.Context, api.Change) (api.Result, error)
	Release(context.Context, api.Change) (api.Result, error)
}

// Options are what a screen is made of.
type Options struct {
	Daemon   Daemon
	In, Out  *os.File // a terminal
	Env      []string // TERM is looked at
	Mono     bool     // no colour
	Interval time.Duration
}

// Run shows the POP until the user quits or the context ends, or a signal
// ends it, which is no error. Where no daemon answers at the start it fails
// with its error before it touches the terminal; one that goes away later is
// waited for.
func Run(ctx context.Context, o Options) error {
	restore, err := terminal(o)
	if err != nil {
		return err
	}
	// The command's own handler sees to SIGTERM.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := calls{ctx: ctx, Options: o}
	first, ok := c.ask().(Answered)
	if !ok {
		_, err := o.Daemon.Status(ctx)
		return err
	}
	m, _ := Update(New(0, 0, 3*o.Interval+time.Second), first)
	out := &output{File: o.Out}
	// drop ends the program where it cannot be told to: what waits to be sent
	// to it waits no longer.
	running, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	p := tea.NewProgram(screen{m: m, calls: c, out: out},
		tea.WithContext(running), tea.WithInput(o.In), tea.WithOutput(out), tea.WithEnvironment(o.Env), tea.WithFPS(framesPerSecond),
		tea.WithColorProfile(colorprofile.ANSI), tea.WithoutSignalHandler())
	done := make(chan error, 1)
	go func() {
		_, err := p.Run()
		done <- err
	}()
	var wg sync.WaitGroup
	wg.Go(func() { c.follow(p.Send) })
	err = wait(ctx, p, done, restore)
	cancel()
	drop()
	wg.Wait()
	return err
}

// wait returns when the program has ended. It is told to when the context
// ends; a terminal that takes no output does not keep it.
func wait(ctx context.Context, p *tea.Program, done chan error, restore func()) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	go p.Send(leave{})
	select {
	case err := <-done:
		return err
	case <-time.After(leaveTimeout):
		restore()
		return nil // no word of ours would get through either
	}
}

// terminal refuses what cannot show a screen, and returns what sets the
// terminal back to what it is now.
func terminal(o Options) (restore func(), err error) {
	const instead = "; `catchment status` writes the same once"
	if t := lookup(o.Env, "TERM"); t == "" || t == "dumb" {
		return nil, fmt.Errorf("a terminal of type %q cannot show a screen%s", t, instead)
	}
	var state *unix.Termios
	for _, f := range []*os.File{o.Out, o.In} {
		if state, err = unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
			return nil, errors.New("top needs a terminal for what it shows and for keys" + instead)
		}
	}
	fd := int(o.In.Fd())
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, state) }, nil
}

// mono reports whether the environment asks for no colour: NO_COLOR (set to
// anything: no-color.org), or a terminal type that has none.
func mono(env []string) bool {
	t := lookup(env, "TERM")
	return lookup(env, "NO_COLOR") != "" || strings.HasPrefix(t, "vt") || strings.HasSuffix(t, "-m") || strings.HasSuffix(t, "-mono")
}

// lookup is the last value of a variable in an environment.
func lookup(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// calls carries out effects. Its methods run outside of the loop.
type calls struct {
	ctx context.Context // ends with Run
	Options
}

// ask asks for the status: Answered or Failed.
func (c calls) ask() Event {
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	st, err := c.Daemon.Status(ctx)
	if err != nil {
		return Failed{Why: err.Error(), At: time.Now()}
	}
	return Answered{Status: st, At: time.Now()}
}

// explain asks for explanations.
func (c calls) explain(ids []policy.SliceID) Event {
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	out := Explained{IDs: ids}
	for _, id := range ids {
		e, err := c.Daemon.Explain(ctx, id)
		if err != nil {
			out.Err = err.Error()
			return out
		}
		out.All = append(out.All, e)
	}
	return out
}

// change makes a call that changes something.
func (c calls) change(d Do) Event {
	ctx, cancel := context.WithTimeout(c.ctx, changeTimeout)
	defer cancel()
	call := [...]func(context.Context, api.Change) (api.Result, error){
		Drain: c.Daemon.Drain, Undrain: c.Daemon.Undrain, Hold: c.Daemon.Hold, Release: c.Daemon.Release,
	}[d.Verb]
	r, err := call(ctx, d.Change)
	out := Changed{Do: d, Result: r}
	if err != nil {
		out.Err = err.Error()
	}
	return out
}

// follow sends the journal, and starts again where it ends, until the context
// ends.
func (c calls) follow(send func(tea.Msg)) {
	for c.ctx.Err() == nil {
		first := true
		err := c.Daemon.Journal(c.ctx, api.JournalFilter{Limit: lastEntries, Follow: true}, func(e api.JournalEntry) error {
			send(Journaled{Entry: e, First: first})
			first = false
			return c.ctx.Err()
		})
		if err != nil {
			send(JournalLost{Why: err.Error()})
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(c.Interval):
		}
	}
}
