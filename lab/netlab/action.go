package netlab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Signal sends sig to the processes of a node that have that name (the
// kernel's name of it, or the last part of their first argument), or to
// "pid:N" or "pidfile:/path". It returns those hit; none is an error.
func (l *Lab) Signal(ctx context.Context, node, who string, sig syscall.Signal) ([]ProcessInfo, error) {
	n, err := l.node(node)
	if err != nil {
		return nil, err
	}
	c, err := n.live()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node, err)
	}
	rep, err := c.ask(ctx, request{Op: "signal", Who: who, Sig: int(sig)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node, err)
	}
	return rep.Procs, nil
}

// Freeze stops every process of a node; its kernel goes on answering pings
// and acknowledging segments. For a node that answers nothing use Crash.
func (l *Lab) Freeze(ctx context.Context, node string) error {
	return l.signalAll(ctx, node, syscall.SIGSTOP, "frozen")
}

// Thaw continues what Freeze stopped.
func (l *Lab) Thaw(ctx context.Context, node string) error {
	return l.signalAll(ctx, node, syscall.SIGCONT, "running")
}

func (l *Lab) signalAll(ctx context.Context, node string, sig syscall.Signal, state string) error {
	if _, err := l.Signal(ctx, node, "all", sig); err != nil {
		return err
	}
	n := l.nodes[node]
	n.mu.Lock()
	n.state = state
	n.mu.Unlock()
	return nil
}

// SetLink takes an interface of a node down or up; the other end of the cable
// loses or gets its carrier.
func (l *Lab) SetLink(node, dev string, up bool) error {
	n, err := l.node(node)
	if err != nil {
		return err
	}
	return n.setLink(dev, up)
}

func (n *Node) setLink(dev string, up bool) error {
	link, err := n.net.handle.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s:%s: %w", n.spec.Name, dev, err)
	}
	if up {
		err = n.net.handle.LinkSetUp(link)
	} else {
		err = n.net.handle.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("%s:%s: %w", n.spec.Name, dev, err)
	}
	return nil
}

// devs are the node's interfaces in the topology.
func (n *Node) devs() []string {
	var out []string
	for _, l := range n.lab.topo.Links {
		for _, e := range []Endpoint{l.A, l.B} {
			if e.Node == n.spec.Name {
				out = append(out, e.Dev)
			}
		}
	}
	return out
}

// Crash is a power failure: the links go down first, so that no process's
// end is seen by a neighbour, then all processes are killed.
func (l *Lab) Crash(node string) error {
	n, err := l.node(node)
	if err != nil {
		return err
	}
	for _, dev := range n.devs() {
		if err := n.setLink(dev, false); err != nil {
			return err
		}
	}
	return n.kill()
}

// Kill kills all processes of a node and leaves its links up: its kernel
// closes the connections, as after kill -9 of each program.
func (l *Lab) Kill(node string) error {
	n, err := l.node(node)
	if err != nil {
		return err
	}
	return n.kill()
}

// Boot starts a crashed or killed node again: fresh root, links up, program,
// exec commands. It keeps none of its files.
func (l *Lab) Boot(ctx context.Context, node string) error {
	n, err := l.node(node)
	if err != nil {
		return err
	}
	if _, err := n.live(); err == nil {
		return fmt.Errorf("%s: is running", node)
	}
	if err := n.bootAgain(ctx); err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	return nil
}

func (n *Node) bootAgain(ctx context.Context) error {
	if err := n.clearAddresses(); err != nil {
		return err
	}
	if err := n.boot(ctx); err != nil {
		return err
	}
	for _, dev := range n.devs() {
		if err := n.setLink(dev, true); err != nil {
			return err
		}
	}
	if err := n.startMain(); err != nil {
		return err
	}
	return n.runExec(ctx)
}

// clearAddresses takes what the former life of the node left in its
// namespace: addresses, and with them routes.
func (n *Node) clearAddresses() error {
	addrs, err := n.net.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.IP.IsLoopback() || a.IP.IsLinkLocalUnicast() {
			continue
		}
		link, err := n.net.handle.LinkByIndex(a.LinkIndex)
		if err != nil {
			return err
		}
		if err := n.net.handle.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// LogFile is where the output of a node's program goes.
func (l *Lab) LogFile(node string) string {
	return filepath.Join(l.opt.Dir, node+".log")
}

// Log returns everything a node's programs wrote: its main program's log
// first, then those of Start, each under its file's name.
func (l *Lab) Log(node string) string {
	files, _ := filepath.Glob(filepath.Join(l.opt.Dir, node+"-*.log"))
	var out strings.Builder
	for _, f := range append([]string{l.LogFile(node)}, files...) {
		raw, err := os.ReadFile(f)
		if err != nil || len(raw) == 0 {
			continue
		}
		fmt.Fprintf(&out, "== %s\n%s", filepath.Base(f), raw)
	}
	return out.String()
}
