package netlab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// Options say where a lab finds and puts things. The zero value is usable.
type Options struct {
	Dir    string       // logs and mount points; made if need be. Default: a new folder below os.TempDir, removed by Down
	Images string       // folder of image folders. Default: "images" beside the topology
	Bin    string       // programs that come first in the PATH of all nodes. Default: $CATCHMENT_BIN, else none
	Log    *slog.Logger // what the lab does. Default: nowhere
}

// Lab is a running topology. Its methods may be called from any goroutine.
type Lab struct {
	topo    *Topology
	opt     Options
	tempDir bool
	log     *slog.Logger
	self    string

	world *space // bridges and wires live here
	nodes map[string]*Node
	wires sync.WaitGroup
	stop  context.CancelFunc // ends wires

	downOnce sync.Once
	downErr  error
}

// Up starts a lab: namespaces, links, programs, and the exec commands of all
// nodes. When it fails or ctx ends, everything made so far is taken down.
func Up(ctx context.Context, t *Topology, opt Options) (*Lab, error) {
	l, err := newLab(t, opt)
	if err != nil {
		return nil, err
	}
	if err := l.up(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", t.Name, err), l.Down())
	}
	return l, nil
}

func newLab(t *Topology, opt Options) (*Lab, error) {
	if !Privileged() {
		return nil, errors.New("not privileged: call Enter first")
	}
	l := &Lab{topo: t, opt: opt, log: opt.Log, nodes: map[string]*Node{}}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.opt.Images == "" {
		l.opt.Images = filepath.Join(t.Dir, "images")
	}
	l.opt.Bin = first(opt.Bin, os.Getenv("CATCHMENT_BIN"))
	if l.opt.Bin != "" {
		abs, err := filepath.Abs(l.opt.Bin)
		if err != nil {
			return nil, err
		}
		if l.opt.Bin = abs; !isDir(abs) {
			return nil, fmt.Errorf("folder of programs %s does not exist", abs)
		}
	}
	var err error
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if opt.Dir == "" {
		l.tempDir = true
		l.opt.Dir, err = os.MkdirTemp("", "netlab-"+t.Name+"-")
	} else {
		err = os.MkdirAll(opt.Dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	l.opt.Dir, err = filepath.Abs(l.opt.Dir)
	return l, err
}

func (l *Lab) up(ctx context.Context) error {
	wireCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	var err error
	if l.world, err = newSpace(); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	// All nodes are in the map before anything runs: from here on it is only
	// read.
	for _, spec := range l.topo.Nodes {
		l.nodes[spec.Name] = &Node{lab: l, spec: spec}
	}
	err = l.each(ctx, func(ctx context.Context, n *Node) error { return n.prepare(ctx) })
	if err != nil {
		return err
	}
	for i, link := range l.topo.Links {
		if err := l.connect(wireCtx, i, link); err != nil {
			return fmt.Errorf("link %s -- %s: %w", link.A, link.B, err)
		}
	}
	err = l.each(ctx, func(ctx context.Context, n *Node) error { return n.startMain() })
	if err != nil {
		return err
	}
	return l.each(ctx, func(ctx context.Context, n *Node) error { return n.runExec(ctx) })
}

// each runs f for all linux nodes at once and names the node in its error.
func (l *Lab) each(ctx context.Context, f func(context.Context, *Node) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range l.Nodes() {
		n := l.nodes[name]
		if n.spec.Kind == "bridge" {
			continue
		}
		g.Go(func() error {
			if err := f(ctx, n); err != nil {
				return fmt.Errorf("node %s: %w", n.spec.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Down ends all processes, links and namespaces of the lab and waits for it.
// More calls do nothing and return the same.
func (l *Lab) Down() error {
	l.downOnce.Do(func() {
		l.log.Debug("lab goes down", "lab", l.topo.Name)
		var errs []error
		for _, name := range l.Nodes() {
			errs = append(errs, l.nodes[name].end())
		}
		if l.stop != nil {
			l.stop()
			l.wires.Wait()
		}
		if l.world != nil {
			l.world.close()
		}
		if l.tempDir {
			errs = append(errs, os.RemoveAll(l.opt.Dir))
		}
		l.downErr = errors.Join(errs...)
	})
	return l.downErr
}

// Name of the lab, from its topology.
func (l *Lab) Name() string { return l.topo.Name }

// Dir is where the logs are.
func (l *Lab) Dir() string { return l.opt.Dir }

// Topology the lab was made from.
func (l *Lab) Topology() *Topology { return l.topo }

// Nodes returns the names of all nodes, sorted.
func (l *Lab) Nodes() []string { return slices.Sorted(maps.Keys(l.nodes)) }

// node finds a linux node.
func (l *Lab) node(name string) (*Node, error) {
	n, ok := l.nodes[name]
	if !ok {
		return nil, fmt.Errorf("lab %s has no node %q (nearest: %s)", l.topo.Name, name, nearest(name, l.Nodes()))
	}
	if n.spec.Kind == "bridge" {
		return nil, fmt.Errorf("node %s is a bridge", name)
	}
	return n, nil
}

// NodeInfo is what Inspect says about a node.
type NodeInfo struct {
	Name       string        `json:"name"`
	Kind       string        `json:"kind"`
	Image      string        `json:"image,omitempty"`
	Pid        int           `json:"pid,omitempty"`   // of its init, as the host sees it
	State      string        `json:"state,omitempty"` // running, frozen, crashed
	Addresses  []string      `json:"addresses,omitempty"`
	Processes  []ProcessInfo `json:"processes,omitempty"`
	MainExited string        `json:"main-exited,omitempty"` // why the node's program is no more
}

// Inspect describes all nodes.
func (l *Lab) Inspect(ctx context.Context) ([]NodeInfo, error) {
	var out []NodeInfo
	for _, name := range l.Nodes() {
		info, err := l.nodes[name].info(ctx)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		out = append(out, info)
	}
	return out, nil
}

// Handle returns a netlink handle inside the node's network namespace, for
// what this package has no words for. It is closed by Down.
func (l *Lab) Handle(node string) (*netlink.Handle, error) {
	n, err := l.node(node)
	if err != nil {
		return nil, err
	}
	return n.net.handle, nil
}
