package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
)

// Options say where to look.
type Options struct {
	ConfigPath string
	Socket     string        // of the daemon; empty: as the configuration says
	Version    string        // of this program
	RTR        string        // host:port of an RPKI cache to ask; empty: those of the daemon
	Watch      time.Duration // how long dropped segments are counted where a session is down
}

// patience bounds each answer of the daemon and of sockets.
const patience = 2 * time.Second

// Look collects what Findings judges. It fails only where there is nothing to
// go by: no configuration file can be read and no daemon answers.
func Look(ctx context.Context, o Options) (*Host, error) {
	h := &Host{Version: o.Version, ConfigPath: o.ConfigPath}
	if abs, err := filepath.Abs(o.ConfigPath); err == nil {
		h.ConfigPath = abs // commands are run from anywhere
	}
	unread := h.load(nil)
	socket := h.socket(o)
	h.findDaemon(socket)
	if env := h.environment(); len(env) > 0 && unread == nil {
		unread = h.load(env)
		socket = h.socket(o)
	}
	h.ask(ctx, socket)
	if unread != nil {
		if h.Status == nil {
			return nil, unread
		}
		h.blind("the configuration", unread)
	}
	h.Clock = clock()
	h.lookAtSockets(ctx, socket)
	h.lookAtState()
	h.lookAtSecret()
	h.lookAtNetwork()
	h.lookAtNeighbors()
	h.lookAtSessions(ctx, o.Watch)
	h.lookAtRPKI(ctx, o)
	h.lookAtKernel()
	h.lookAtBPF()
	return h, ctx.Err()
}

func (h *Host) blind(what string, err error) {
	h.Blind = append(h.Blind, what+": "+err.Error())
}

// load reads the configuration. The error is about the file; mistakes in it
// are findings.
func (h *Host) load(env []string) error {
	f, err := os.Open(h.ConfigPath)
	if err != nil {
		return err
	}
	f.Close()
	h.Mistakes, h.Neighbors = nil, nil
	var neighbors []gobgp.NeighborInfo
	c, err := config.Load(h.ConfigPath, config.Options{Env: env, BGP: func(section map[string]any) ([]netip.Addr, error) {
		c, err := gobgp.ParseConfig(section)
		if err != nil {
			return nil, err
		}
		var addrs []netip.Addr
		neighbors, h.Origins, h.rtrServers = c.Neighbors(), c.Origins(), c.RPKIServers()
		for _, n := range neighbors {
			addrs = append(addrs, n.Address)
		}
		return addrs, nil
	}})
	if err != nil {
		h.Mistakes = strings.Split(err.Error(), "\n")
		return nil
	}
	h.Config = c
	for i, n := range neighbors {
		nb := Neighbor{NeighborInfo: n, Index: i}
		for _, s := range c.BFD {
			nb.BFD = nb.BFD || s.Neighbor == n.Address
		}
		h.Neighbors = append(h.Neighbors, nb)
	}
	return nil
}

// socket is where the daemon should answer.
func (h *Host) socket(o Options) string {
	if o.Socket == "" && h.Config != nil {
		return h.Config.API.Socket
	}
	if o.Socket == "" {
		return "/run/catchment/catchment.sock"
	}
	return o.Socket
}

// ask asks the daemon how it is and, by GoBGP's API, about its sessions.
func (h *Host) ask(ctx context.Context, socket string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := api.NewClient(socket)
	defer c.Close()
	st, err := c.Status(ctx)
	var gone *api.Unreachable
	switch {
	case err == nil:
		h.Status = &st
	case errors.Is(err, fs.ErrPermission):
		h.blind("the daemon", fmt.Errorf("%w: be root, or in the group of the socket", err))
	case errors.As(err, &gone): // lookAtSockets says so
	default:
		h.blind("the daemon", err)
	}
	if h.Status == nil || h.Config == nil || h.Config.API.GoBGPSocket == "" {
		return
	}
	sessions, err := gobgp.Inspect(ctx, h.Config.API.GoBGPSocket)
	if err != nil {
		h.blind("what sessions agreed on", err)
	}
	for i := range h.Neighbors {
		for _, s := range sessions {
			if s.Neighbor.WithZone("") == h.Neighbors[i].Address.WithZone("") {
				h.Neighbors[i].Session = &s
			}
		}
	}
}

// lookAtSockets connects to everything that the daemon should listen on.
func (h *Host) lookAtSockets(ctx context.Context, control string) {
	try := func(key, network, address string) {
		if address == "" {
			return
		}
		d := net.Dialer{Timeout: patience}
		c, err := d.DialContext(ctx, network, dialable(network, address))
		s := Socket{Key: key, Address: address}
		switch {
		case err == nil:
			c.Close()
		case errors.Is(err, fs.ErrPermission):
			return // our right is missing, not the daemon's socket; ask has said so
		default:
			s.Err = reason(err)
		}
		h.Sockets = append(h.Sockets, s)
	}
	try("api.socket", "unix", control)
	if h.Config == nil {
		return
	}
	try("api.gobgp-socket", "unix", h.Config.API.GoBGPSocket)
	if h.Daemon != nil && h.Daemon.OtherNetNS {
		return
	}
	try("api.gobgp-listen", "tcp", h.Config.API.GoBGPListen)
	try("metrics.listen", "tcp", h.Config.Metrics.Listen)
	try("fleet.listen", "tcp", h.Config.Fleet.Listen)
}

// dialable turns a wildcard address into one that can be connected to.
func dialable(network, address string) string {
	host, port, err := net.SplitHostPort(address)
	if network == "unix" || err != nil {
		return address
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

// reason is an error of the network without what everybody knows already.
func reason(err error) string {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err.Error()
	}
	return err.Error()
}

func (h *Host) lookAtSecret() {
	if h.Config == nil || h.Config.Fleet.SecretFile == "" {
		return
	}
	_, err := fleet.ReadSecrets(h.Config.Fleet.SecretFile)
	switch {
	case errors.Is(err, fs.ErrPermission):
		h.blind("fleet.secret-file", err)
	case err != nil:
		h.Secret = err.Error()
	}
}

// lookAtSessions tries the neighbors whose sessions are down, and counts what
// the kernel drops meanwhile.
func (h *Host) lookAtSessions(ctx context.Context, watch time.Duration) {
	if h.Status == nil || h.Network == nil {
		return
	}
	var down []*Neighbor
	for _, st := range h.Status.Neighbors {
		if st.State == bgp.Established || st.AdminDown {
			continue
		}
		for i := range h.Neighbors {
			if h.Neighbors[i].Address.WithZone("") == st.Address.WithZone("") {
				down = append(down, &h.Neighbors[i])
			}
		}
	}
	if len(down) == 0 {
		return
	}
	before, err := drops()
	if err != nil {
		h.blind("dropped segments", err)
	}
	probeAll(ctx, down, watch)
	after, err := drops()
	if err != nil {
		return // as before
	}
	for name, n := range after {
		after[name] = n - before[name]
	}
	h.Network.Drops = after
}
