package slowness

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// key is a network: an IPv4 /24 as 1<<63 and its 24 bits, an IPv6 /48 as its 48
// bits. Keys of neighbours are neighbours.
type key uint64

const isV4 key = 1 << 63

func keyOf(a netip.Addr) key {
	a = a.Unmap()
	b := a.As16()
	var k key
	if a.Is4() {
		for _, x := range b[12:15] {
			k = k<<8 | key(x)
		}
		return k | isV4
	}
	for _, x := range b[:6] {
		k = k<<8 | key(x)
	}
	return k
}

// prefix is the network of a key with n bits cut off.
func (k key) prefix(cut int) netip.Prefix {
	k = k >> cut << cut
	if k&isV4 != 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(k >> 16), byte(k >> 8), byte(k)}), 24-cut)
	}
	var b [16]byte
	for i := range 6 {
		b[i] = byte(k >> (40 - 8*i))
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 48-cut)
}

// record is what is kept of a network.
type record struct {
	key                   key
	rate                  [buckets]uint8
	class                 [classes]uint8
	epoch                 uint16 // half-lives since 1970, up to which it has decayed
	seen                  uint32 // minutes since 1970, of the last sample
	busy, receiver        float32
	rtt, minRTT           float32 // weighted sum of milliseconds, and the least
	sent, again, megabyte float32
	clients               [apart]client // those that sent most of the samples; free ones are zero
}

// halve makes everything count half.
func (r *record) halve() {
	for i := range r.rate {
		r.rate[i] /= 2
	}
	for i := range r.class {
		r.class[i] /= 2
	}
	for _, f := range []*float32{&r.busy, &r.receiver, &r.rtt, &r.sent, &r.again, &r.megabyte} {
		*f /= 2
	}
	for i := range r.clients {
		r.clients[i].halve()
	}
}

// decay brings a record to an epoch.
func (r *record) decay(epoch uint16) {
	for n := 0; r.epoch < epoch && n < 9; n++ {
		r.halve()
		r.epoch++
	}
	r.epoch = max(r.epoch, epoch)
}

// samples is how many count, halved ones for what they are.
func (r *record) samples() int {
	n := 0
	for _, x := range r.class {
		n += int(x)
	}
	return n
}

// clear is how many of them say something.
func (r *record) clear() int { return r.samples() - int(r.class[Unclear]) }

func (r *record) add(s *Sample, c Class, now time.Time, by *rand.Rand) {
	if b := bucket(s.Rate()); r.rate[b] == math.MaxUint8 || r.class[c] == math.MaxUint8 || r.full(clientOf(s.Client)) {
		r.halve()
	}
	if c != Unclear {
		r.hear(clientOf(s.Client), c.Slow(), by)
	}
	r.rate[bucket(s.Rate())]++
	r.class[c]++
	r.seen = max(r.seen, uint32(now.Unix()/60))
	r.busy += float32(s.Busy.Seconds())
	r.receiver += float32(s.Receiver.Seconds())
	r.rtt += float32(s.RTT.Seconds() * 1000)
	if m := float32(s.MinRTT.Seconds() * 1000); m > 0 && (r.minRTT == 0 || m < r.minRTT) {
		r.minRTT = m
	}
	r.sent += float32(s.Sent)
	r.again += float32(s.Again)
	r.megabyte += float32(s.Bytes) / 1e6
}

// sum is many records added up, with room for all of them.
type sum struct {
	votes                 votes
	rate                  rates
	class                 [classes]float64
	seen                  uint32
	busy, receiver        float64
	rtt, minRTT           float64
	sent, again, megabyte float64
}

func (s *sum) record(r *record) {
	for i, x := range r.rate {
		s.rate.AddWithCount(i, float64(x))
	}
	for i, x := range r.class {
		s.class[i] += float64(x)
	}
	s.seen = max(s.seen, r.seen)
	s.busy, s.receiver, s.rtt = s.busy+float64(r.busy), s.receiver+float64(r.receiver), s.rtt+float64(r.rtt)
	s.sent, s.again, s.megabyte = s.sent+float64(r.sent), s.again+float64(r.again), s.megabyte+float64(r.megabyte)
	s.least(float64(r.minRTT))
}

func (s *sum) least(ms float64) {
	if ms > 0 && (s.minRTT == 0 || ms < s.minRTT) {
		s.minRTT = ms
	}
}

func (s *sum) add(o *sum, k *sketches) {
	s.votes.add(&o.votes)
	k.merge(&s.rate, &o.rate)
	for i, x := range o.class {
		s.class[i] += x
	}
	s.seen = max(s.seen, o.seen)
	s.busy, s.receiver, s.rtt = s.busy+o.busy, s.receiver+o.receiver, s.rtt+o.rtt
	s.sent, s.again, s.megabyte = s.sent+o.sent, s.again+o.again, s.megabyte+o.megabyte
	s.least(o.minRTT)
}
