package netlab

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/lab/wire"
)

// connect lays cable number i. A plain cable is one veth pair from node to
// node; one with a wire is two pairs whose far ends stay in the lab's own
// namespace, with the wire between them.
func (l *Lab) connect(ctx context.Context, i int, spec LinkSpec) error {
	if spec.Wire == (wire.Config{}) {
		return l.cable(l.end(spec.A, i), l.end(spec.B, i), spec.MTU)
	}
	far := [2]string{fmt.Sprintf("w%da", i), fmt.Sprintf("w%db", i)}
	for k, e := range []Endpoint{spec.A, spec.B} {
		if err := l.cable(l.end(e, i), cableEnd{space: l.world, dev: far[k]}, spec.MTU); err != nil {
			return err
		}
		if spec.Wire.NeedsPackets() {
			if err := l.singleSegments(e, i); err != nil {
				return err
			}
		}
	}
	var w *wire.Wire
	err := l.world.do(func() error {
		var err error
		w, err = wire.Open(far[0], far[1], spec.Wire)
		return err
	})
	if err != nil {
		return err
	}
	l.wires.Go(func() {
		if err := w.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			l.log.Error("wire stopped", "link", spec.A.String()+" -- "+spec.B.String(), "error", err)
		}
	})
	return nil
}

// cableEnd is where one end of a veth pair goes.
type cableEnd struct {
	space  *space
	dev    string
	bridge string // in space: the end becomes a port of it
}

// end is where an endpoint is: in its node, or for a bridge a port in the
// lab's own namespace.
func (l *Lab) end(e Endpoint, i int) cableEnd {
	n := l.nodes[e.Node]
	if n.spec.Kind != "bridge" {
		return cableEnd{space: n.net, dev: e.Dev}
	}
	return cableEnd{space: l.world, dev: fmt.Sprintf("p%d%s", i, clip(e.Dev, 8)), bridge: e.Node}
}

func clip(s string, n int) string { return s[:min(n, len(s))] }

// cable makes a veth pair with its ends in place and up.
func (l *Lab) cable(a, b cableEnd, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = a.dev, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: b.dev, PeerNamespace: netlink.NsFd(b.space.file.Fd())}
	if mtu > 0 {
		veth.PeerMTU = uint32(mtu)
	}
	// Made inside a's namespace, with its peer directly in b's.
	if err := a.space.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the cable: %w", err)
	}
	for _, e := range []cableEnd{a, b} {
		link, err := e.space.handle.LinkByName(e.dev)
		if err != nil {
			return fmt.Errorf("%s: %w", e.dev, err)
		}
		if e.bridge != "" {
			if err := l.port(link, e.bridge); err != nil {
				return err
			}
		}
		if err := e.space.handle.LinkSetUp(link); err != nil {
			return fmt.Errorf("%s up: %w", e.dev, err)
		}
	}
	return nil
}

// port puts a link into a bridge, which is made when it has its first port.
func (l *Lab) port(link netlink.Link, name string) error {
	h := l.world.handle
	dev := "br-" + clip(name, 12)
	bridge, err := h.LinkByName(dev)
	if _, missing := err.(netlink.LinkNotFoundError); missing {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = dev
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("make bridge %s: %w", name, err)
		}
		bridge, err = h.LinkByName(dev)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	if err := h.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bridge %s up: %w", name, err)
	}
	if err := h.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("port of bridge %s: %w", name, err)
	}
	return nil
}

// singleSegments has the node's kernel cut its data before the cable, so
// that a wire sees, loses and counts packets and not 64 kB bundles of them.
func (l *Lab) singleSegments(e Endpoint, i int) error {
	end := l.end(e, i)
	link, err := end.space.handle.LinkByName(end.dev)
	if err != nil {
		return err
	}
	if err := end.space.handle.LinkSetGSOMaxSegs(link, 1); err != nil {
		return fmt.Errorf("%s: %w", e, err)
	}
	return nil
}
