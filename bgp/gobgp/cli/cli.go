package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/spf13/cobra"
)

// DefaultSocket is where catchmentd listens for GoBGP's API unless its config
// says otherwise.
const DefaultSocket = "/run/catchment/gobgp.sock"

// StockName is the name under which the program is the stock client.
const StockName = "gobgp"

// Options say who calls.
type Options struct {
	Name     string // the program's name in usage texts: catchment or gobgp
	Out, Err io.Writer
	// Socket is asked unless a flag names another target, if it is there;
	// else 127.0.0.1:50051, as the stock client does. Empty: DefaultSocket.
	Socket string
}

// Exit statuses of Run.
const (
	exitOK          = 0 // also: the command line is wrong, as in the stock client
	exitFailed      = 1
	exitInterrupted = 130 // by SIGINT, as shells show it
	exitTerminated  = 143 // by SIGTERM
)

// client is one command line being carried out.
type client struct {
	name   string
	out    *bufio.Writer
	errs   io.Writer
	socket string
	flags  flags

	ctx    context.Context
	api    api.GobgpApiClient
	target target
	failed error // of a command, said on stdout
	close  func()

	targetGiven func() bool // by flags
}

// Run carries out one command line and returns the exit status. It returns
// when the command is done, or, with the status that shells show for a
// signal, when ctx is.
func Run(ctx context.Context, o Options, args []string) int {
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	c := &client{name: o.Name, out: bufio.NewWriterSize(o.Out, 64<<10), errs: o.Err, socket: o.Socket, ctx: ctx, close: func() {}}
	defer c.out.Flush()
	if o.Name == StockName && len(args) > 0 && args[0] == "--version" {
		c.println("gobgp version", stockVersion())
		return exitOK
	}
	// Abbreviations are a setting of cobra's package; put it back.
	defer func(was bool) { cobra.EnablePrefixMatching = was }(cobra.EnablePrefixMatching)
	cobra.EnablePrefixMatching = true

	root := c.root()
	root.SetArgs(args)
	root.SetErr(c.errs)
	cmd, err := root.ExecuteContextC(ctx)
	c.close()
	switch {
	case ctx.Err() != nil:
		return signalled(ctx)
	case c.failed != nil:
		c.printError(c.failed)
		c.advise(c.failed)
		return exitFailed
	case err != nil:
		explainUsage(c.errs, cmd, err)
	}
	return exitOK
}

// signalled is the status for the signal that has ended ctx.
func signalled(ctx context.Context) int {
	if strings.HasPrefix(context.Cause(ctx).Error(), syscall.SIGTERM.String()) { // signal.NotifyContext says so
		return exitTerminated
	}
	return exitInterrupted
}

// explainUsage says what cobra would.
func explainUsage(w io.Writer, cmd *cobra.Command, err error) {
	fmt.Fprintln(w, cmd.ErrPrefix(), err)
	if strings.HasPrefix(err.Error(), "unknown command ") {
		fmt.Fprintf(w, "Run '%v --help' for usage.\n", cmd.CommandPath())
		return
	}
	fmt.Fprintln(w, cmd.UsageString())
}

// stockVersion is that of the GoBGP module we are built with.
func stockVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/osrg/gobgp/v3" {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "3"
}

// command is one word of the tree. f's error is printed on stdout.
func (c *client) command(use string, f func(args []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use}
	if f != nil {
		cmd.Run = func(_ *cobra.Command, args []string) { c.failed = f(args) }
	}
	return cmd
}

// subjectFirst carries out "SUBJECT VERB ARG...", which cobra has no word
// for: verbs is a tree of its own, which gets the verb and its arguments first
// and the subject last.
func (c *client) subjectFirst(verbs *cobra.Command, args []string) error {
	verbs.SilenceErrors, verbs.SilenceUsage = true, true
	verbs.SetArgs(append(slices.Clone(args[1:]), args[0]))
	verbs.SetErr(c.errs)
	c.helpTo(verbs, func(*cobra.Command) {})
	cmd, err := verbs.ExecuteContextC(c.ctx)
	if err != nil {
		explainUsage(c.errs, cmd, err)
		return err
	}
	return c.failed
}

// last splits off the subject that subjectFirst has put last.
func last(args []string) (subject string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[len(args)-1], args[:len(args)-1]
}

func (c *client) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }
func (c *client) println(args ...any)               { fmt.Fprintln(c.out, args...) }

// printJSON writes v on one line.
func (c *client) printJSON(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fmt.Fprintf(c.errs, "%s: write JSON: %v\n", c.name, err)
	}
	c.out.Write(append(b, '\n'))
}

func (c *client) printError(err error) {
	if c.flags.json {
		c.printJSON(struct {
			Error string `json:"error"`
		}{err.Error()})
		return
	}
	c.println(err)
}

// receiver is a stream of the API.
type receiver[T any] interface{ Recv() (T, error) }

// collect reads a stream to its end.
func collect[T, V any](stream receiver[T], err error, of func(T) V) ([]V, error) {
	out := make([]V, 0)
	for err == nil {
		var r T
		if r, err = stream.Recv(); err == nil {
			out = append(out, of(r))
		}
	}
	if err == io.EOF {
		return out, nil
	}
	return out, err
}

// exists says whether a socket is at path.
func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// usagef is the answer to arguments that make no sense: how they would.
func (c *client) usagef(format string, args ...any) error {
	return fmt.Errorf("usage: %s %s", c.name, fmt.Sprintf(format, args...))
}
