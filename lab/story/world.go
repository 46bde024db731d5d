package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/catchment/catchment/lab/netlab"
)

// World is where a story happens: a netlab, or the same topology under
// containerlab.
type World interface {
	Nodes() []string
	Exec(ctx context.Context, node string, args ...string) (string, error)
	// Start runs a command until it ends or stop is called; out may be nil.
	Start(ctx context.Context, node string, args []string, out io.Writer) (stop func(), err error)
	Signal(ctx context.Context, node, who string, sig syscall.Signal) error
	// Do is freeze, thaw, crash, boot, or link with a device and up or down.
	Do(ctx context.Context, op, node string, args ...string) error
	Log(ctx context.Context, node string) string
	Down(ctx context.Context) error
}

// Maker brings up the world of a topology file.
type Maker func(ctx context.Context, file string, vars map[string]string) (World, error)

// InNetlab makes worlds with package netlab.
func InNetlab(opt netlab.Options) Maker {
	return func(ctx context.Context, file string, vars map[string]string) (World, error) {
		t, err := netlab.Load(file, vars)
		if err != nil {
			return nil, err
		}
		lab, err := netlab.Up(ctx, t, opt)
		if err != nil {
			return nil, err
		}
		return inNetlab{lab}, nil
	}
}

type inNetlab struct{ lab *netlab.Lab }

func (w inNetlab) Nodes() []string { return w.lab.Nodes() }

func (w inNetlab) Exec(ctx context.Context, node string, args ...string) (string, error) {
	return w.lab.Exec(ctx, node, args...)
}

func (w inNetlab) Start(_ context.Context, node string, args []string, out io.Writer) (func(), error) {
	p, err := w.lab.Start(node, netlab.Command{Args: args, Stdout: out})
	if err != nil {
		return nil, err
	}
	if out != nil {
		go p.Wait(context.Background()) // ends with the process, which ends with its node
	}
	return func() {
		p.Signal(syscall.SIGKILL)
		<-p.Done()
	}, nil
}

func (w inNetlab) Signal(ctx context.Context, node, who string, sig syscall.Signal) error {
	_, err := w.lab.Signal(ctx, node, who, sig)
	return err
}

func (w inNetlab) Do(ctx context.Context, op, node string, args ...string) error {
	switch op {
	case "freeze":
		return w.lab.Freeze(ctx, node)
	case "thaw":
		return w.lab.Thaw(ctx, node)
	case "crash":
		return w.lab.Crash(node)
	case "boot":
		return w.lab.Boot(ctx, node)
	case "link":
		if len(args) != 2 || args[1] != "up" && args[1] != "down" {
			return errors.New("link wants up or down")
		}
		return w.lab.SetLink(node, args[0], args[1] == "up")
	}
	return fmt.Errorf("netlab cannot %s", op)
}

func (w inNetlab) Log(_ context.Context, node string) string { return w.lab.Log(node) }

func (w inNetlab) Down(context.Context) error { return w.lab.Down() }
