package load

import (
	"context"
	"net/netip"

	"github.com/catchment/catchment/health/socket"
)

// connections counts established TCP connections by local address.
type connections struct{ addrs []netip.Addr }

// NewConnections returns a sampler of Connections: what the kernel of this
// host says of these addresses (sock_diag), a point an address. It needs no
// help of the server and no capability.
func NewConnections(addrs []netip.Addr) Sampler { return connections{addrs} }

// Sample implements Sampler.
func (c connections) Sample(ctx context.Context) (Reading, error) {
	counts, err := socket.Connections(ctx, c.addrs)
	if err != nil {
		return nil, err
	}
	var r Reading
	for _, a := range c.addrs {
		r = append(r, Point{Name: a.String(), Unit: Connections, Value: float64(counts[a.Unmap().WithZone("")])})
	}
	return r, nil
}
