package slow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/catchment/catchment/lab/wire"
)

// Addresses of the POP, and of all clients.
var (
	vip4, vip6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:100::1")
)

const (
	clients4, clients6 = "10.0.0.0/8", "fd00::/8"
	port               = 80
	receive            = "4096 131072 6291456" // clients' receive buffers, as Linux has had them for long
)

// world is a POP and all its clients, with a line between them for each.
type world struct {
	pop, middle, home *place
	lines             *wire.Lines
	stop              context.CancelFunc
	running           sync.WaitGroup
}

// raise makes a world; of says what the line of a client is like.
func raise(ctx context.Context, of func(netip.Addr) wire.Config) (_ *world, err error) {
	w := &world{}
	ctx, w.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			w.down()
		}
	}()
	for _, p := range []**place{&w.pop, &w.middle, &w.home} {
		if *p, err = newPlace(); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		cable(w.pop, "line", w.middle, "near"), cable(w.home, "line", w.middle, "far"),
		w.pop.address("line", "198.51.100.1/30"), w.pop.address("line", "2001:db8:f::1/64"),
		w.pop.address("lo", vip4.String()+"/32"), w.pop.address("lo", vip6.String()+"/128"),
		w.home.address("line", "198.51.100.2/30"), w.home.address("line", "2001:db8:f::2/64"),
		w.pop.route(clients4, "198.51.100.2"), w.pop.route(clients6, "2001:db8:f::2"),
		w.home.route(vip4.String()+"/32", "198.51.100.1"), w.home.route(vip6.String()+"/128", "2001:db8:f::1"),
		w.home.route(clients4, ""), w.home.route(clients6, ""))
	if err != nil {
		return nil, err
	}
	if err := w.home.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_rmem", []byte(receive), 0) }); err != nil {
		return nil, err
	}
	all4, all6 := netip.MustParsePrefix(clients4), netip.MustParsePrefix(clients6)
	err = w.middle.do(func() (err error) {
		w.lines, err = wire.OpenLines("near", "far", func(a netip.Addr) wire.Config {
			if all4.Contains(a) || all6.Contains(a) {
				return of(a)
			}
			return wire.Config{}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	w.running.Go(func() { _ = w.lines.Run(ctx) }) // it ends with ctx
	return w, nil
}

// down ends a world.
func (w *world) down() {
	w.stop()
	w.running.Wait()
	for _, p := range []*place{w.pop, w.middle, w.home} {
		if p != nil {
			p.close()
		}
	}
}

// listen opens the POP's port of a family.
func (w *world) listen(ctx context.Context, vip netip.Addr) (l net.Listener, err error) {
	err = w.pop.do(func() error {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(ctx, "tcp", netip.AddrPortFrom(vip, port).String())
		return err
	})
	return l, err
}

// dial connects a client to the POP, with a receive buffer of its own if not 0.
func (w *world) dial(ctx context.Context, client netip.Addr, rcvbuf int) (conn *net.TCPConn, err error) {
	vip := vip4
	if client.Is6() {
		vip = vip6
	}
	err = w.home.do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: client.AsSlice()}, KeepAlive: -1, Control: clientSocket(rcvbuf)}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(vip, port).String())
		if err != nil {
			return fmt.Errorf("%v: %w", client, err)
		}
		conn = c.(*net.TCPConn)
		return nil
	})
	return conn, err
}
