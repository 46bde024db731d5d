package cache

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/session"
	"github.com/catchment/catchment/server/cache/site"
)

// Steering is what is known beyond this server, of this POP and of those that clients can be sent to. Its functions are
// called for requests of sites with steer and must not wait; each may be nil.
type Steering struct {
	// POP says whether a POP takes clients now, and if not, why. Nil: none does.
	POP func(pop string) (ready bool, why string)
	// Pressure says whether this POP wants to send less, where a site asks for it from this share of the POP's capacity
	// on, and why. Nil: only where a site asks for it always.
	Pressure func(above float64) (on bool, why string)
	// Stopped says that too much harm was done, and which.
	Stopped func() (on bool, why string)
	// Slow says whether a client's network is slow.
	Slow func(netip.Addr) bool
	// Rate is what a client's network takes from another POP at least, in bytes a second; 0: not known.
	Rate func(client netip.Addr, pop string) float64
	// Worst is the longest time observed until a client that was sent to a POP was answered there.
	Worst func(pop string) time.Duration
	// Sent notes that a client is sent to a POP, and gives the redirect a mark of letters and digits.
	Sent func(pop string) (mark string)
	// Seen notes that a client came that another POP has sent here: it was answered just now.
	Seen func(from, mark string)
}

// steered is a site with steer, ready for requests.
type steered struct {
	conf    *site.Steer
	targets []site.SteerTarget // those that are cheaper than this POP
	options redirect.Options
	floor   float64 // bytes a second
}

func newSteered(st *site.Site, c *Config) *steered {
	s := &st.Config.Steer
	o := redirect.Options{
		Self: redirect.POP(c.Identity.POP), Reattach: s.Reattach, PaceFrom: s.Buffer, PaceFor: s.PacedFor, LeastRest: int64(s.Least), MoveSlow: s.MoveSlow,
	}
	if o.Reattach == 0 {
		o.Reattach = 2 * time.Second
	}
	return &steered{conf: s, targets: s.Cheaper(c.Identity.POP), options: o, floor: 4 * float64(max(0, c.Front.Limits.SendRate))}
}

// world is what the decision depends on beside the session.
func (t *steered) world(s *Steering, client netip.Addr) (w redirect.World) {
	if s == nil {
		s = &Steering{}
	}
	w.Pressure = t.conf.Above == 0
	if s.Pressure != nil {
		w.Pressure, _ = s.Pressure(t.conf.Above)
	}
	if s.Stopped != nil {
		w.Stopped, _ = s.Stopped()
	}
	if s.POP == nil || !t.conf.Redirect && !t.conf.MoveSlow {
		return w
	}
	for _, x := range t.targets {
		ready, _ := s.POP(x.POP)
		if w.Target != "" && !ready {
			continue
		}
		w.Target, w.Ready = redirect.POP(x.POP), ready
		if ready {
			break
		}
	}
	if w.Target != "" && s.Worst != nil {
		w.Worst = s.Worst(string(w.Target))
	}
	if w.Target != "" && s.Rate != nil {
		w.Rate = s.Rate(client, string(w.Target))
	}
	return w
}

// host is that of a target.
func (t *steered) host(pop redirect.POP) string {
	for _, x := range t.targets {
		if x.POP == string(pop) {
			return x.Host
		}
	}
	return ""
}

// via is a redirect that brought the client.
type via struct{ pop, mark string }

// readVia notes who has sent the client here.
func (x *exchange) readVia(query []byte) {
	if x.c.steer[x.site] != nil {
		x.via.pop, x.via.mark = site.Via(query)
	}
}

// arrived tells that a client that another POP has sent was answered.
func (x *exchange) arrived() {
	if s := x.s.steering; x.via.mark != "" && s != nil && s.Seen != nil && x.w.status >= 200 && x.w.status < 400 {
		s.Seen(x.via.pop, x.via.mark)
	}
}

// steer decides whether a client that plays a stream is served here, held to a pace, or sent elsewhere; true: it was
// sent, and nothing is left to do.
func (a *answer) steer() bool {
	x := a.x
	t := x.c.steer[x.site]
	if t == nil || !t.conf.On() || x.conn == nil || x.conn.Proto() == "h3" || !a.steerable() {
		return false
	}
	ask := x.ask4(t, a)
	v, moving := x.s.sessions.Decide(ask)
	a.moving = moving
	if moving == nil && v.Do != redirect.Redirect && v.Do != redirect.Move {
		return false
	}
	switch v.Do {
	case redirect.Pace:
		x.done.steer = v.Do.String() + " " + strconv.FormatInt(int64(v.Rate), 10) + ": " + v.Why
	case redirect.Serve:
		x.done.steer = v.Do.String() + ": " + v.Why
	default:
		x.done.steer = v.Do.String() + " " + string(v.To) + ": " + v.Why
	}
	x.step("steer", x.done.steer)
	if v.Do != redirect.Redirect && v.Do != redirect.Move {
		return false
	}
	a.sendAway(v, t.host(v.To))
	return true
}

// steerable says whether the answer could be one to a player: one piece of an object, for a client of
// ours and no other cache's.
func (a *answer) steerable() bool {
	x := a.x
	return x.r.Method == http.MethodGet && a.e.life.Status == http.StatusOK && len(a.spans) == 1 && !x.hop.Client.IsValid() &&
		len(x.r.Header["Via"])+len(x.r.Header["Cdn-Loop"]) == 0
}

// ask4 puts together what is asked for.
func (x *exchange) ask4(t *steered, a *answer) session.Ask {
	q := redirect.Request{At: x.s.clock(), Name: string(x.key.Path) + "?" + string(x.key.Query), Last: -1, Size: a.size}
	if a.kind == ranges.Partial {
		q.First, q.Last = a.spans[0].Start, a.spans[0].End-1
	}
	readCMCD(&q.CMCD, x.r)
	if x.via.pop != "" {
		q.Via = []redirect.POP{redirect.POP(x.via.pop)}
	}
	s := x.s.steering
	if s != nil && s.Slow != nil && t.conf.MoveSlow {
		q.Slow = s.Slow(x.client)
	}
	bound := x.bound(&a.e)
	return session.Ask{
		Site: x.site.Name, Client: x.client, Agent: x.r.Header.Get("User-Agent"), Conn: x.conn, Request: q, Media: x.media(&a.e, &q),
		Options: &t.options, Floor: t.floor, Paces: t.conf.Pace,
		World: func() redirect.World {
			w := t.world(s, x.client)
			w.Bound = bound
			return w
		},
	}
}

// bound says that a script could not follow to another host: its browser asks that host for permission with an origin of
// "null" then (Fetch, HTTP-redirect fetch), which only "*" allows.
func (x *exchange) bound(e *entry) bool {
	return len(x.r.Header["Origin"]) > 0 && e.header.Get("Access-Control-Allow-Origin") != "*" || !plainTarget(x.r.RequestURI)
}

// plainTarget says whether a target can stand in a Location as it is.
func plainTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// movedFor is how long a client keeps to a 301, in seconds: not for ever, as it would else.
const movedFor = "3600"

// sendAway answers with a redirect.
func (a *answer) sendAway(v redirect.Verdict, host string) {
	x := a.x
	scheme, status, keep := "http://", http.StatusFound, "no-store"
	if x.secure() {
		scheme = "https://"
	}
	if v.Do == redirect.Move {
		status, keep = http.StatusMovedPermanently, "private, max-age="+movedFor
	}
	mark := "0"
	if s := x.s.steering; s != nil && s.Sent != nil {
		mark = s.Sent(string(v.To))
	}
	sr := x.siteRequest()
	h := x.w.Header()
	for name, lines := range a.e.served() {
		if strings.HasPrefix(name, "Access-Control-") || name == "Timing-Allow-Origin" {
			h[name] = lines
		}
	}
	h.Set("Location", scheme+host+string(sr.Path)+"?"+site.WithVia(string(sr.Query), x.s.cfg.Identity.POP, mark))
	h.Set("Cache-Control", keep)
	h.Set("Content-Length", "0")
	h.Set("Cache-Status", x.cacheStatus(nil))
	x.site.EditResponse(h)
	x.writeTrace()
	x.w.WriteHeader(status)
}

// Steered counts what was done with clients that play streams, since the start.
func (s *Server) Steered() session.Totals { return s.sessions.Totals() }

// Playing are clients that play streams now, at most so many, the one that was heard of last first.
func (s *Server) Playing(most int) []session.State { return s.sessions.Sessions(most) }
