package slow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/catchment/catchment/lab/wire"
	"github.com/catchment/catchment/pop/slowness"
)

// threshold is where slow begins, as by default: 5 Mbit/s, in bytes a second.
const threshold = 625_000.0

// plan is a flow with its truth.
type plan struct {
	truth  slowness.Class
	kind   string // of flow, among those of the same truth
	client netip.Addr
	line   wire.Config
	cc     string // congestion control of the sender
	lasts  time.Duration

	// The sender: everything at once, or bursts of so many bytes with pauses.
	burst int
	pause time.Duration

	// The reader: a receive buffer (0: the kernel's), a rate (0: all there is),
	// or a player that reads until it has high and again from low on, in bytes,
	// while it plays; or one that stops for good after stop bytes.
	rcvbuf           int
	reads            float64
	plays, low, high float64
	stop             int64
	full             bool // the player has high, and waits for low
}

func (p *plan) String() string {
	s := fmt.Sprintf("%v (%s) %v %s, %.0f kB/s, RTT %v, queue %d kB", p.truth, p.kind, p.client, p.cc,
		float64(p.line.Rate)/8e3, 2*p.line.Delay.Round(time.Millisecond), p.line.Queue/1000)
	if p.line.Loss > 0 {
		s += fmt.Sprintf(", loss %.2f %%", 100*p.line.Loss)
	}
	if p.rcvbuf > 0 {
		s += fmt.Sprintf(", rcvbuf %d kB", p.rcvbuf/1000)
	}
	if p.reads > 0 {
		s += fmt.Sprintf(", reads %.0f kB/s", p.reads/1e3)
	}
	if p.plays > 0 {
		s += fmt.Sprintf(", plays %.0f kB/s with %.1f to %.1f s", p.plays/1e3, p.low/p.plays, p.high/p.plays)
	}
	return s
}

// maker makes one kind of flow.
type maker struct {
	truth slowness.Class
	kind  string
	make  func(d dice, p *plan)
}

// dice are random choices.
type dice struct{ *rand.Rand }

// between is a number of which the logarithm is evenly spread.
func (d dice) between(a, b float64) float64 { return a * math.Pow(b/a, d.Float64()) }

// delay sets the round-trip time, in milliseconds.
func (d dice) delay(p *plan, least, most float64) {
	p.line.Delay = time.Duration(d.between(least, most) / 2 * float64(time.Millisecond))
}

// rate sets the rate, in bytes a second, with a queue of some time of it.
func (d dice) rate(p *plan, least, most, seconds float64) {
	r := d.between(least, most)
	p.line.Rate = int64(8 * r)
	p.line.Queue = int(max(15e3, r*d.between(0.03, seconds)))
}

// wide is a path that limits nobody here: well over the threshold, with a queue
// that a congestion control can work with.
func (d dice) wide(p *plan) {
	d.delay(p, 5, 100)
	d.rate(p, 2*threshold, 6*threshold, 0.3)
	p.line.Queue = max(p.line.Queue, int(p.line.Delay.Seconds()*float64(p.line.Rate)/8))
}

func (d dice) seconds(p *plan, least, most float64) {
	p.lasts = time.Duration(d.between(least, most) * float64(time.Second))
}

// Rates of what is slow: of a tenth of the threshold to two thirds of it.
const leastSlow, mostSlow = threshold / 15, threshold * 2 / 3

// makers are the kinds of flows, all equally frequent among those of a truth.
func makers() []maker {
	return []maker{
		{slowness.Fast, "path", func(d dice, p *plan) { d.wide(p) }},
		{slowness.Fast, "pauses of the server", func(d dice, p *plan) {
			d.wide(p)
			d.delay(p, 5, 30)
			p.burst, p.pause = int(d.between(300e3, 1.2e6)), time.Duration(d.between(0.3, 2)*float64(time.Second))
		}},
		{slowness.Fast, "small files", func(d dice, p *plan) {
			d.wide(p)
			p.burst, p.pause = int(d.between(20e3, 150e3)), time.Duration(d.between(0.1, 0.6)*float64(time.Second))
		}},
		{slowness.Fast, "reader", func(d dice, p *plan) {
			d.wide(p)
			d.delay(p, 5, 50)
			d.rate(p, 4*threshold, 6*threshold, 0.3)
			p.reads, p.rcvbuf = d.between(1.6, 2.5)*threshold, 512<<10
		}},
		{slowness.Fast, "bbr, some loss", func(d dice, p *plan) {
			d.wide(p)
			d.delay(p, 5, 60)
			p.cc, p.line.Loss = "bbr", d.between(0.003, 0.02)
		}},
		{slowness.PathSlow, "path", func(d dice, p *plan) {
			d.delay(p, 5, 150)
			d.rate(p, leastSlow, mostSlow, 0.5)
		}},
		{slowness.PathSlow, "deep queue", func(d dice, p *plan) {
			d.delay(p, 5, 100)
			d.rate(p, leastSlow, mostSlow, 0.5)
			p.line.Queue = int(float64(p.line.Rate) / 8 * d.between(0.5, 3))
		}},
		{slowness.PathSlow, "deep queue, small window", func(d dice, p *plan) {
			d.delay(p, 5, 60)
			d.rate(p, leastSlow, mostSlow/2, 0.5)
			p.line.Queue = int(float64(p.line.Rate) / 8 * d.between(1.5, 3))
			p.rcvbuf = int(d.between(64e3, float64(p.line.Queue)))
		}},
		{slowness.PathSlow, "some loss", func(d dice, p *plan) {
			d.delay(p, 5, 60)
			d.rate(p, leastSlow, mostSlow, 0.5)
			p.line.Loss = d.between(0.0005, 0.003)
		}},
		{slowness.ReceiverSlow, "reader", func(d dice, p *plan) {
			d.wide(p)
			p.reads = d.between(leastSlow, mostSlow)
		}},
		{slowness.ReceiverSlow, "reader, window set", func(d dice, p *plan) {
			d.wide(p)
			p.reads, p.rcvbuf = d.between(leastSlow, mostSlow), int(d.between(32e3, 400e3))
		}},
		{slowness.ReceiverSlow, "small window", func(d dice, p *plan) {
			d.wide(p)
			d.delay(p, 60, 150)
			p.rcvbuf = int(d.between(0.15, 0.5) * threshold * 2 * p.line.Delay.Seconds())
		}},
		{slowness.BufferFull, "player", func(d dice, p *plan) {
			d.wide(p)
			d.seconds(p, 22, 32)
			p.plays = d.between(0.12, 0.6) * threshold
			p.low = p.plays * d.between(2, 5)
			p.high = p.low + p.plays*d.between(3, 8)
		}},
		{slowness.BufferFull, "stops for good", func(d dice, p *plan) {
			d.wide(p)
			p.stop = int64(d.between(0.5, 3) * threshold)
		}},
		{slowness.Lossy, "cubic", func(d dice, p *plan) {
			d.wide(p)
			d.delay(p, 60, 150)
			p.cc, p.line.Loss = "cubic", d.between(0.025, 0.07)
		}},
	}
}

// shorten makes it a flow of some seconds; a player plays films of small pieces.
func (p *plan) shorten() {
	p.lasts = 4500 * time.Millisecond
	if p.plays > 0 {
		p.low, p.high, p.rcvbuf = p.low/4, p.low/4+(p.high-p.low)/4, 256<<10
	}
}

// plans are n flows of each truth, in an order by chance, of both families and
// both congestion controls; each client is in a network of its own.
func plans(seed uint64, n int) []*plan {
	d := dice{rand.New(rand.NewPCG(seed, 7))}
	by := map[slowness.Class][]maker{}
	for _, m := range makers() {
		by[m.truth] = append(by[m.truth], m)
	}
	var all []*plan
	for truth := slowness.Fast; truth <= slowness.Lossy; truth++ {
		for i := range n {
			m := by[truth][i%len(by[truth])]
			p := &plan{truth: truth, kind: m.kind, cc: []string{"cubic", "bbr"}[i/len(by[truth])%2]}
			d.seconds(p, 6, 16)
			m.make(d, p)
			all = append(all, p)
		}
	}
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i, p := range all {
		if p.client = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}); i%2 == 1 {
			p.client = netip.AddrFrom16([16]byte{0xfd, 0, 0, 0, byte(i >> 8), byte(i), 15: 1})
		}
	}
	return all
}
