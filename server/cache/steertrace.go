package cache

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy/redirect"
)

// supposed is the buffer that a trace gives a client that says nothing of it.
const supposed = 30 * time.Second

// traceSteer tells what would be decided of a client that plays this object in sequence, from its beginning, and has the
// buffer that it says (CMCD bl) or else the one supposed.
func (x *exchange) traceSteer(f *found) {
	t := x.c.steer[x.site]
	if t == nil || !t.conf.On() || !f.ok || x.r.Method != http.MethodGet {
		return
	}
	s := x.s.steering
	if s == nil {
		s = &Steering{}
	}
	for _, p := range t.targets {
		why := "nothing is known of it"
		if s.POP != nil {
			_, why = s.POP(p.POP)
		}
		x.step("steer", "target", p.POP, "("+p.Host+"):", why)
	}
	if s.Pressure != nil {
		on, why := s.Pressure(t.conf.Above)
		x.step("steer", fmt.Sprintf("wanted: %v,", on), why)
	}
	if s.Stopped != nil {
		if on, why := s.Stopped(); on {
			x.step("steer", "stopped:", why)
		}
	}
	if x.client.IsValid() && s.Slow != nil && s.Slow(x.client) {
		x.step("steer", "the client's network is slow")
	}
	q := redirect.Request{At: x.began, Name: string(x.key.Path), Last: -1, Size: f.entry.Size()}
	readCMCD(&q.CMCD, x.r)
	m := x.media(&f.entry, &q)
	if m.Need() <= 0 {
		x.step("steer", "would be served: how fast it is played is not known, by no manifest, MP4 head or CMCD br")
		return
	}
	x.step("steer", t.suppose(m, q, t.world(s, x.client)))
}

// suppose decides on a client that is in sequence.
func (t *steered) suppose(m redirect.Media, q redirect.Request, w redirect.World) string {
	if !q.CMCD.HasBuffer {
		q.CMCD.HasBuffer, q.CMCD.Buffer = true, supposed
	}
	said := fmt.Sprintf("at %.0f bytes a second at most and %s of buffer", m.Need(), q.CMCD.Buffer)
	if w.Rate <= 0 {
		w.Rate = 2 * m.Need() // it depends on what the client takes from here
	}
	session := redirect.Session{Media: m}
	session.Request(&q)
	var broken []string
	for _, r := range t.options.Rulings(&session, &q, &w, true) {
		if r.Broken && r.Rule != "not-paced" {
			broken = append(broken, r.Rule)
		}
	}
	pace := "as fast as it goes"
	if rate := t.options.Pacing(&session, q.At, &w); rate > 0 && t.conf.Pace {
		pace = fmt.Sprintf("at %.0f bytes a second", rate)
	}
	switch {
	case !t.conf.Redirect && !t.conf.MoveSlow:
		return said + " it would be served " + pace
	case len(broken) > 0:
		return said + " it would be served " + pace + "; not redirected because of: " + strings.Join(slices.Compact(broken), ", ")
	}
	return fmt.Sprintf("%s it would be served %s, then redirected to %s (worst time seen until data flows there: %s)", said, pace, w.Target, w.Worst)
}
