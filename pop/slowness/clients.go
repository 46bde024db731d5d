package slowness

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// apart is how many clients a network keeps apart, of those that sent most:
// whoever could outvote the others (admission by chance, as in Ben Basat et al.,
// "Randomized admission policy for efficient top-k and frequency estimation").
const apart = 6

// weight is how many samples of one client count, at most, where there are
// others: as many as a network needs to be judged by itself, unless told
// otherwise. Of fewer than several clients nothing follows for networks wider
// than /24 or /48, of which most parts were never seen: that a client picked by
// chance is slow is known with 90 % confidence for 65 % when three of three are.
const (
	weight  = 8
	several = 3
)

// client is what one client of a network has sent: an IPv4 address by its last
// byte, an IPv6 /64 (a host takes new addresses there as it likes) by the last
// 16 bits of that. All zero: nobody.
type client struct {
	id          uint16
	slow, quick uint8 // samples that are slow, and clear ones that are not
}

func clientOf(a netip.Addr) uint16 {
	a = a.Unmap()
	b := a.As16()
	if a.Is4() {
		return uint16(b[15])
	}
	return uint16(b[6])<<8 | uint16(b[7])
}

func (c *client) samples() int { return int(c.slow) + int(c.quick) }

func (c *client) halve() {
	if c.slow, c.quick = c.slow/2, c.quick/2; c.samples() == 0 {
		*c = client{}
	}
}

// at finds a client among those kept apart.
func (r *record) at(id uint16) *client {
	for i := range r.clients {
		if c := &r.clients[i]; c.id == id && c.samples() > 0 {
			return c
		}
	}
	return nil
}

// full reports whether a client has no room for another sample.
func (r *record) full(id uint16) bool {
	c := r.at(id)
	return c != nil && max(c.slow, c.quick) == math.MaxUint8
}

// hear counts a clear sample of a client. With all places taken a new one takes
// that of the one who sent least, by a chance of one in what that has sent: so
// one who sends much comes in soon, and stays.
func (r *record) hear(id uint16, slow bool, by *rand.Rand) {
	c := r.at(id)
	if c == nil {
		c = &r.clients[0]
		for i := range r.clients {
			if x := &r.clients[i]; x.samples() < c.samples() {
				c = x
			}
		}
		if by.IntN(c.samples()+1) > 0 {
			return
		}
		*c = client{id: id}
	}
	if slow {
		c.slow++
	} else {
		c.quick++
	}
}

// votes are clear samples with none of a client's above weight.
type votes struct {
	slow, clear float64
	clients     int // at least so many have sent them
}

func (v *votes) add(o *votes) {
	v.slow, v.clear, v.clients = v.slow+o.slow, v.clear+o.clear, v.clients+o.clients
}

// network adds up what POPs know of one network, whose clients are the same at
// all of them.
func (s *sum) network(recs []record) {
	var room [2 * apart]heardOf
	clients := room[:0]
	var all, known heardOf
	for i := range recs {
		r := &recs[i]
		s.record(r)
		slow := float64(r.class[PathSlow]) + float64(r.class[ReceiverSlow])
		all.slow, all.quick = all.slow+slow, all.quick+float64(r.clear())-slow
		for _, c := range r.clients {
			if c.samples() > 0 {
				clients = tell(clients, c)
			}
		}
	}
	v := votes{clients: len(clients)}
	for _, c := range clients {
		known.slow, known.quick = known.slow+c.slow, known.quick+c.quick
		part := min(1, weight/(c.slow+c.quick))
		v.slow, v.clear = v.slow+part*c.slow, v.clear+part*(c.slow+c.quick)
	}
	// What is of nobody that is kept apart is of many, none of whom sent much.
	rest := heardOf{0, max(0, all.slow-known.slow), max(0, all.quick-known.quick)}
	v.slow, v.clear = v.slow+rest.slow, v.clear+rest.slow+rest.quick
	if rest.slow+rest.quick > 0 {
		v.clients = max(v.clients, 2)
	}
	s.votes.add(&v)
}

// heardOf is what POPs together tell of a client.
type heardOf struct {
	id          uint16
	slow, quick float64
}

// tell adds what one POP tells.
func tell(all []heardOf, c client) []heardOf {
	i := slices.IndexFunc(all, func(x heardOf) bool { return x.id == c.id })
	if i < 0 {
		i = len(all)
		all = append(all, heardOf{id: c.id})
	}
	all[i].slow += float64(c.slow)
	all[i].quick += float64(c.quick)
	return all
}
