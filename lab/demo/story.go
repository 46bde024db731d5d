package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/policy"
)

// How long the story waits for what must happen, and how long it lets a
// person look.
const (
	patience = 20 * time.Second
	look     = 2 * time.Second
)

// story is the demo while it runs.
type story struct {
	world    *world
	timeline *Timeline
	routes   *kernel
	journals *journals
	clients  map[string]*tally
}

// step is one chapter: tell does it to the world and says what was seen.
type step struct {
	title string
	short string // in the table at the end
	tell  func(*story, context.Context) (string, error)
}

var steps = []step{
	{"The client reaches the nearest POP", "nearest POP", (*story).comesUp},
	{"The service at LON is killed", "service killed", (*story).killed},
	{"The service returns", "service back", (*story).returns},
	{"LON is drained for maintenance", "POP drained", (*story).drained},
	{"The same check fails at all POPs", "check wrong everywhere", (*story).allFail},
}

// do notes something the demo does, from which the following is measured.
func (s *story) do(what, detail string) time.Time {
	now := time.Now()
	s.timeline.Add(Event{At: now, Who: narrator, What: what, Detail: detail, Cause: true})
	return now
}

// say notes something the demo sees.
func (s *story) say(what, format string, args ...any) {
	s.timeline.Add(Event{At: time.Now(), Who: narrator, What: what, Detail: fmt.Sprintf(format, args...)})
}

// until waits for a condition; what names it when it does not come.
func until(ctx context.Context, limit time.Duration, what string, met func() bool) error {
	switch {
	case await.True(ctx, limit, 5*time.Millisecond, met):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("not seen within %v: %s", limit, what)
}

// answeredBy waits until a POP answers the client in both families.
func (s *story) answeredBy(ctx context.Context, who string) error {
	return until(ctx, patience, "the client is answered by "+who, func() bool {
		for _, t := range s.clients {
			if t.by() != who {
				return false
			}
		}
		return true
	})
}

// killed: the route leaves the router's kernel, the next POP answers.
func (s *story) killed(ctx context.Context) (string, error) {
	killed := s.do("kill -9", fmt.Sprintf("the service at LON (process %d)", s.world.services[lon.node].Pid))
	if err := s.world.kill(lon); err != nil {
		return "", err
	}
	if err := s.routesTo(ctx, "t2"); err != nil {
		return "", err
	}
	if err := s.answeredBy(ctx, fra.pop); err != nil {
		return "", err
	}
	if err := await.Lapse(ctx, look); err != nil {
		return "", err
	}
	var gone []string
	answered := killed
	for _, f := range families {
		at, _ := s.routes.left(f, lon.pop, killed)
		gone = append(gone, fmt.Sprintf("%s (%s)", span(at.Sub(killed)), f.name))
		if at, ok := s.clients[f.name].first(fra.pop, killed); ok && at.After(answered) {
			answered = at
		}
	}
	n := between(s.clients, killed, time.Now())
	return fmt.Sprintf("route gone from t1's kernel after %s; answered by FRA after %s; %d of %d requests failed",
		strings.Join(gone, ", "), span(answered.Sub(killed)), n.failed, n.requests), nil
}

func (s *story) routesTo(ctx context.Context, who string) error {
	return until(ctx, patience, "the routes of "+routerNode+" lead to "+who, func() bool { return s.routes.all(who) })
}

// returns: the route comes back, but not before the hold-down is over.
func (s *story) returns(ctx context.Context) (string, error) {
	started := s.do("start", "the service at LON")
	if _, err := s.world.serve(lon); err != nil {
		return "", err
	}
	if err := s.routesTo(ctx, lon.pop); err != nil {
		return "", err
	}
	if err := s.answeredBy(ctx, lon.pop); err != nil {
		return "", err
	}
	if err := await.Lapse(ctx, look); err != nil {
		return "", err
	}
	d, ok := s.journals.first(lon, started, announced)
	if !ok {
		return "", errors.New("LON's journal does not say that it announces")
	}
	wait := d.at.Sub(started)
	if wait < holdDown {
		return "", fmt.Errorf("LON announced after %s, before the hold-down of %v was over", span(wait), holdDown)
	}
	if n := between(s.clients, started, time.Now()); n.failed > 0 {
		return "", fmt.Errorf("%d of %d requests failed", n.failed, n.requests)
	}
	return fmt.Sprintf("announced again after %s (hold-down %v); no request failed", span(wait), holdDown), nil
}

// drained: away and back without a failed request.
func (s *story) drained(ctx context.Context) (string, error) {
	began := s.do("drain", "catchment drain "+serviceName+", at LON")
	if _, err := s.world.lab.Exec(ctx, lon.node, "catchment", "drain", serviceName); err != nil {
		return "", err
	}
	if err := s.answeredBy(ctx, fra.pop); err != nil {
		return "", err
	}
	err := until(ctx, patience, "LON's journal says that it drains", func() bool {
		_, ok := s.journals.first(lon, began, draining)
		return ok
	})
	if err != nil {
		return "", err
	}
	if err := until(ctx, patience, "LON withdraws", func() bool { return s.journals.both(lon, withdrawn) }); err != nil {
		return "", err
	}
	out, _ := s.journals.last(lon, ipv4)
	if err := await.Lapse(ctx, look); err != nil {
		return "", err
	}
	s.do("undrain", "catchment undrain "+serviceName+", at LON")
	if _, err := s.world.lab.Exec(ctx, lon.node, "catchment", "undrain", serviceName); err != nil {
		return "", err
	}
	if err := s.answeredBy(ctx, lon.pop); err != nil {
		return "", err
	}
	if err := await.Lapse(ctx, look); err != nil {
		return "", err
	}
	n := between(s.clients, began, time.Now())
	if n.failed > 0 {
		return "", fmt.Errorf("%d of %d requests failed", n.failed, n.requests)
	}
	return fmt.Sprintf("empty and withdrawn after %s; none of %d requests failed%s", span(out.at.Sub(began)), n.requests, n.cut()), nil
}

// cut says how many requests were made in two tries.
func (a asked) cut() string {
	switch a.again {
	case 0:
		return ""
	case 1:
		return " (1 was cut while the route moved, and asked again)"
	}
	return fmt.Sprintf(" (%d were cut while the route moved, and asked again)", a.again)
}

// allFail: a wrong check everywhere takes nothing away. It is mended at LON
// first: while LON fails it is needed, and it stays.
func (s *story) allFail(ctx context.Context) (string, error) {
	began := s.do("break", "/healthz answers 503 at LON, FRA and NYC; the service itself still works")
	if err := s.world.sicken(sites...); err != nil {
		return "", err
	}
	kept := func(d decision) bool { return guarded(d) && announced(d) }
	if err := s.allAre(ctx, "kept by a guard", kept, sites...); err != nil {
		return "", err
	}
	if err := await.Lapse(ctx, 2*look); err != nil {
		return "", err
	}
	guards, err := s.why(ctx)
	if err != nil {
		return "", err
	}
	if err := s.mend(ctx); err != nil {
		return "", err
	}
	n := between(s.clients, began, time.Now())
	switch {
	case s.routes.lost(began):
		return "", fmt.Errorf("the route was gone from %s for a while", routerNode)
	case n.failed > 0:
		return "", fmt.Errorf("%d of %d requests failed", n.failed, n.requests)
	}
	return fmt.Sprintf("kept by guard %s; none of %d requests failed%s", guards, n.requests, n.cut()), nil
}

func (s *story) mend(ctx context.Context) error {
	s.do("mend", "/healthz answers 200 again at LON")
	if err := s.world.heal(lon); err != nil {
		return err
	}
	if err := s.allAre(ctx, "healthy", healthy, lon); err != nil {
		return err
	}
	if err := s.answeredBy(ctx, lon.pop); err != nil {
		return err
	}
	if err := await.Lapse(ctx, look); err != nil {
		return err
	}
	s.do("mend", "and at FRA and NYC")
	if err := s.world.heal(fra, nyc); err != nil {
		return err
	}
	return s.allAre(ctx, "healthy, or wait for the hold-down", recovered, fra, nyc)
}

// allAre waits until the newest decisions of POPs are like that.
func (s *story) allAre(ctx context.Context, what string, like func(decision) bool, at ...site) error {
	return until(ctx, patience, "all POPs are "+what, func() bool {
		return !slices.ContainsFunc(at, func(p site) bool { return !s.journals.both(p, like) })
	})
}

// why asks the POPs which guard keeps the service, and shows what LON says.
func (s *story) why(ctx context.Context) (string, error) {
	var guards []string
	for _, p := range sites {
		e, err := s.world.explain(ctx, p, ipv4)
		if err != nil {
			return "", err
		}
		r := e.Slice.Reason
		if r.Code != policy.Guarded {
			return "", fmt.Errorf("%s is not kept by a guard but says: %v", p.pop, r)
		}
		if !strings.Contains(strings.Join(guards, " "), r.Guard) {
			guards = append(guards, r.Guard)
		}
		if p != lon {
			continue
		}
		s.timeline.Add(Event{At: time.Now(), Who: p.pop, What: "explain", Detail: fmt.Sprintf("%v: %v because %v", ipv4.prefix, e.Slice.Stance, r)})
	}
	return strings.Join(guards, " and "), nil
}
