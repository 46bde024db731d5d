package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy/redirect"
)

// Mode is how a player is served.
type Mode int

// Modes.
const (
	Nearest  Mode = iota // by the near POP, as fast as it goes
	Pacing               // by the near POP, paced when the buffer is long
	Ours                 // paced, and sent to the cheap POP when nobody notices
	DNS                  // the same, and whose path to the cheap POP is known to carry enough begins there
	Cheapest             // by the cheap POP from the start
	modes
)

func (m Mode) String() string {
	return [...]string{"nearest", "pacing only", "ours", "ours and DNS", "cheapest first"}[m]
}

// player is a viewer of segments of four seconds. What happens to him by chance
// depends on the segment alone, so that all modes meet the same luck.
type player struct {
	seed         uint64
	average      float64 // bytes a second of media; no second needs more than twice that
	near, cheap  float64 // what the paths carry, in bytes a second, on average
	nearRTT      float64 // seconds
	reattach     float64 // seconds until data flows at the cheap POP, at worst
	hidden       bool    // nobody knows what the path to the cheap POP carries
	says         bool    // CMCD
	most, starts float64 // seconds of buffer that he fills to, and starts with
	segments     int
	seekEvery    float64 // seconds of play
}

const segment = 4.0 // seconds

func newPlayer(seed uint64) *player {
	r := rand.New(rand.NewPCG(seed, 77))
	between := func(a, b float64) float64 { return a * math.Pow(b/a, r.Float64()) }
	p := &player{seed: seed, average: between(60e3, 1.5e6), nearRTT: between(0.004, 0.04), reattach: between(0.2, 3)}
	p.near, p.cheap = p.average*between(2.2, 30), p.average*between(0.6, 30)
	p.hidden, p.says = r.IntN(4) == 0, r.IntN(2) == 0
	p.most, p.starts = between(12, 90), between(1, 6)
	p.segments, p.seekEvery = 60+r.IntN(200), between(60, 2000)
	return p
}

// luck gives numbers that depend on the segment and on what they are for.
func (p *player) luck(segment, what int) float64 {
	z := p.seed*0x9e3779b97f4a7c15 + uint64(segment)<<8 + uint64(what)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// size of a segment: variable, and no more than twice the average.
func (p *player) size(i int) float64 {
	return p.average * segment * min(2, 0.4+1.2*p.luck(i, 1)+0.4*p.luck(i, 2))
}

// Played is what a player saw, and what the POPs sent him.
type Played struct {
	Stalls           int
	Stalled, Startup float64 // seconds
	Near, Cheap      float64 // bytes
	Redirects, Seeks int
	Paced            int
	TooSure          int     // redirects with less buffer than the decision thought
	PeakNear         float64 // highest rate of a segment from near by, bytes a second
}

// screen is the player's clock and buffer.
type screen struct {
	now, buffer float64
	playing     bool
	out         *Played
}

// pass lets seconds go by. Running dry is a stall.
func (s *screen) pass(seconds float64) {
	s.now += seconds
	if !s.playing {
		return
	}
	if s.buffer -= seconds; s.buffer < 0 {
		s.out.Stalls++
		s.out.Stalled -= s.buffer
		s.buffer, s.playing = 0, false
	}
}

// farther is the time by which a POP that DNS gives is farther, in seconds: the
// most within a region of a Month.
const farther = 0.012

// enough reports whether the path to the cheap POP is known, and carries the
// worst second of the stream at its low quantile, and a tenth more.
func (p *player) enough() bool { return !p.hidden && 0.75*p.cheap >= 1.1*2*p.average }

// Play plays all segments in a mode.
func (p *player) Play(mode Mode) Played {
	var out Played
	s := &screen{out: &out}
	o := redirect.Options{Self: "near"}
	session := &redirect.Session{Media: redirect.Media{Average: p.average, Peak: 2 * p.average}}
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return start.Add(time.Duration(s.now * 1e9)) }
	named := mode == DNS && p.enough()
	world := redirect.World{Pressure: mode == Pacing || mode == Ours || mode == DNS, Worst: time.Duration(p.reattach * 1e9)}
	if mode == Ours || mode == DNS {
		world.Target, world.Ready = "cheap", true
		if !p.hidden {
			world.Rate = 0.75 * p.cheap // of its low quantile: the worst that luck makes of it
		}
	}
	name, seeked := 0, 0.0
	for i := range p.segments {
		if seeked += segment; seeked > p.seekEvery*(0.5+p.luck(i, 3)) {
			seeked, name, s.buffer, s.playing = 0, name+10, 0, false
			out.Seeks++
		}
		if s.buffer > p.most {
			s.pass(s.buffer - p.most)
		}
		name++
		size := p.size(i)
		q := &redirect.Request{At: clock(), Name: fmt.Sprint("/v/", name, ".ts"), Last: -1, Size: int64(size)}
		if p.says {
			q.CMCD = redirect.CMCD{HasBuffer: true, Buffer: time.Duration(math.Floor(s.buffer*10)/10*1000) * time.Millisecond, Startup: !s.playing}
		}
		v := o.Decide(session, q, &world)
		wait, rate := p.nearRTT, p.near*(0.75+0.5*p.luck(i, 4))
		switch away := mode == Cheapest || v.Do == redirect.Redirect; {
		case named: // an answer of DNS, before the first byte
			out.Cheap += size
			wait, rate = p.nearRTT+farther, p.cheap*(0.75+0.5*p.luck(i, 6))
		case away:
			out.Cheap += size
			wait, rate = p.nearRTT+p.reattach*(0.3+0.7*p.luck(i, 5)), p.cheap*(0.75+0.5*p.luck(i, 6))
			if mode == Ours || mode == DNS {
				if out.Redirects++; session.Buffer().Seconds() > s.buffer+0.01 {
					out.TooSure++
				}
			} else {
				wait = 2 * p.nearRTT
			}
		case v.Do == redirect.Pace:
			out.Paced++
			rate = min(rate, v.Rate)
			fallthrough
		default:
			out.Near += size
			out.PeakNear = max(out.PeakNear, rate)
		}
		s.pass(wait + size/rate)
		if mode != Cheapest && !named && v.Do != redirect.Redirect {
			session.Got(int64(size), clock())
		}
		s.buffer += segment
		if !s.playing && s.buffer >= p.starts {
			s.playing = true
		}
		if out.Startup == 0 && s.playing {
			out.Startup = s.now
		}
	}
	return out
}

// Players plays n players in all modes and adds up by mode; extra counts those
// that stalled more often than beside the nearest POP.
func Players(n int) (sums [modes]Played, extra [modes]int) {
	for seed := range uint64(n) {
		p := newPlayer(seed)
		var near Played
		for mode := range modes {
			a := p.Play(mode)
			if mode == Nearest {
				near = a
			}
			if a.Stalls > near.Stalls {
				extra[mode]++
			}
			sums[mode].add(&a)
		}
	}
	return sums, extra
}

func (s *Played) add(a *Played) {
	s.Stalls, s.Stalled, s.Startup = s.Stalls+a.Stalls, s.Stalled+a.Stalled, s.Startup+a.Startup
	s.Near, s.Cheap, s.Redirects, s.Seeks = s.Near+a.Near, s.Cheap+a.Cheap, s.Redirects+a.Redirects, s.Seeks+a.Seeks
	s.Paced, s.TooSure, s.PeakNear = s.Paced+a.Paced, s.TooSure+a.TooSure, s.PeakNear+a.PeakNear
}

// Away is the share of bytes that came from the cheap POP.
func (s *Played) Away() float64 { return s.Cheap / max(1, s.Cheap+s.Near) }
