package h2

import (
	"os"
	"time"
)

// tick is how often a connection with something at work is looked after.
func (o *Options) tick() time.Duration {
	t := 10 * time.Second
	for _, d := range []time.Duration{o.Grace, o.HeadTime, o.IdleTime, o.BodyTime} {
		if d > 0 {
			t = min(t, d/4)
		}
	}
	return max(t, 5*time.Millisecond)
}

// arm sets when the goroutine that reads is woken for want of anything else.
func (c *Conn) arm(now time.Time) {
	var t time.Time
	switch {
	case len(c.streams) > 0 || c.block.id != 0 || !c.greeted || c.flushing:
		t = now.Add(c.tick)
	case c.opts.IdleTime > 0:
		t = c.active.Add(c.opts.IdleTime)
	}
	if c.leaving == warned && (t.IsZero() || c.leaveAt.Before(t)) {
		t = c.leaveAt
	}
	if c.wake.After(now) && (t.IsZero() || !c.wake.After(t)) {
		return // earlier than need be does no harm and costs no timer
	}
	c.wake = t
	c.wire.SetWake(t)
}

// woken looks after what takes too long. It is called when Read was woken, by the time or by the Owner.
func (c *Conn) woken(now time.Time) error {
	c.wake = time.Time{}
	if c.leaving == staying && c.owner.Leaving() {
		c.goAway(now)
	}
	if c.leaving == warned && !now.Before(c.leaveAt) {
		c.lastCall()
	}
	if err := c.lookAfter(now); err != nil {
		return err
	}
	c.noise -= c.noise / 4
	c.flush()
	return c.over()
}

func (c *Conn) lookAfter(now time.Time) error {
	o := &c.opts
	switch {
	case !c.greeted && o.HeadTime > 0 && now.Sub(c.active) >= o.HeadTime:
		c.owner.Note(SlowHead)
		return broken(ProtocolError, "no preface in time")
	case c.block.id != 0 && o.HeadTime > 0 && now.Sub(c.block.since) >= o.HeadTime:
		c.owner.Note(SlowHead)
		return broken(EnhanceYourCalm, "header block took too long")
	case len(c.streams) == 0 && o.IdleTime > 0 && now.Sub(c.active) >= o.IdleTime && !c.flushing:
		return errDone
	}
	for _, s := range c.streams {
		if e, slow := s.slow(now); slow {
			c.owner.Note(e)
			c.reset(s.id, Cancel)
			c.drop(s, os.ErrDeadlineExceeded)
		}
	}
	return nil
}

// slow says whether the client keeps s below the least rates.
func (s *stream) slow(now time.Time) (Event, bool) {
	o := &s.c.opts
	if len(s.parts) > 0 && o.Grace > 0 && o.SendRate > 0 && now.Sub(s.since) >= o.Grace {
		if float64(s.took) < float64(o.SendRate)*o.Grace.Seconds() {
			return SlowRead, true
		}
		s.took, s.since = 0, now
	}
	if !s.handler || s.ended {
		return 0, false
	}
	if o.BodyTime > 0 && now.Sub(s.began) >= o.BodyTime {
		return SlowBody, true
	}
	if s.waiting && o.Grace > 0 && o.BodyRate > 0 {
		return SlowBody, s.quiet+now.Sub(s.waited) >= o.Grace
	}
	return 0, false
}

// limit is a deadline that a handler has set.
type limit struct {
	at    time.Time
	timer *time.Timer
}

// set makes the stream look at its deadlines when t has come.
func (l *limit) set(s *stream, t time.Time) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.at = t
	if !t.IsZero() {
		l.timer = time.AfterFunc(time.Until(t), func() {
			s.c.mu.Lock()
			defer s.c.mu.Unlock()
			s.cond.Broadcast()
		})
	}
}

func (l *limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }
