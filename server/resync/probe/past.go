package probe

import "time"

// past is what has been asked of a flow lately, so that one whose POP only seems
// to be gone, or speaks by fits and starts, is asked less and less.
type past struct {
	doubts int
	calm   time.Time // until when it is not asked in doubt
	woken  bool      // for as long as one may be, and its client never came
}

// calmFirst is for how long a flow is not asked in doubt again after the first
// time; each time it doubles, calmTimes times.
const (
	calmFirst = time.Second
	calmTimes = 6
)

// pasts are those of flows. What is not heard of any more is forgotten after
// once or twice the age that flows may have, or sooner if there are too many.
type pasts struct {
	now, before map[key]past
	turned      time.Time
	most        int
	age         time.Duration
}

func newPasts(most int, age time.Duration) pasts {
	return pasts{now: map[key]past{}, before: map[key]past{}, most: most, age: age}
}

func (p *pasts) of(k key) past {
	if x, ok := p.now[k]; ok {
		return x
	}
	return p.before[k]
}

func (p *pasts) set(k key, x past, now time.Time) {
	if now.Sub(p.turned) >= p.age || len(p.now) >= p.most {
		if now.Sub(p.turned) >= 2*p.age {
			clear(p.now)
		}
		clear(p.before)
		p.now, p.before, p.turned = p.before, p.now, now
	}
	p.now[k] = x
}

func (p *pasts) forget(k key) {
	delete(p.now, k)
	delete(p.before, k)
}

// asked notes that a flow is asked in doubt.
func (p *pasts) asked(k key, now time.Time) {
	x := p.of(k)
	x.calm = now.Add(calmFirst << min(x.doubts, calmTimes))
	x.doubts++
	p.set(k, x, now)
}
