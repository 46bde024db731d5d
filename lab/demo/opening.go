package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/pop/api"
)

// holdDown is what the POPs of the world are configured with; a test compares.
const holdDown = 5 * time.Second

// comesUp: sessions, routes, the first answers.
func (s *story) comesUp(ctx context.Context) (string, error) {
	for _, p := range sites {
		if _, err := s.world.serve(p); err != nil {
			return "", err
		}
	}
	for _, node := range daemons {
		if err := s.world.start(node); err != nil {
			return "", err
		}
	}
	s.say("starts", "catchmentd in all POPs and routers")
	sessions, err := s.sessions(ctx)
	if err != nil {
		return "", err
	}
	s.say("sees", "%d BGP sessions established; the POPs hear each other", sessions)
	if err := s.routesTo(ctx, lon.pop); err != nil {
		return "", err
	}
	s.do("asks", fmt.Sprintf("the client begins: %v and %v, each every %v", ipv4.vip.Addr(), ipv6.vip.Addr(), every))
	if s.clients, err = s.world.ask(s.timeline.Add); err != nil {
		return "", err
	}
	if err := s.answeredBy(ctx, lon.pop); err != nil {
		return "", err
	}
	began := time.Now()
	if err := await.Lapse(ctx, look); err != nil {
		return "", err
	}
	n := between(s.clients, began, time.Now())
	if n.failed > 0 {
		return "", fmt.Errorf("%d of %d requests failed", n.failed, n.requests)
	}
	return fmt.Sprintf("answered by LON, %d requests, median %s", n.requests, span(n.median)), nil
}

// sessions waits until all daemons have all their sessions, the POPs announce
// and hear each other, and counts the sessions.
func (s *story) sessions(ctx context.Context) (int, error) {
	problem, count := "", 0
	err := until(ctx, patience, "all sessions", func() bool {
		problem, count = "", 0
		for _, node := range daemons {
			st, err := s.world.clients[node].Status(ctx)
			if err != nil {
				problem = err.Error()
				return false
			}
			if problem = unready(st); problem != "" {
				return false
			}
			count += len(st.Neighbors)
		}
		return true
	})
	if err != nil && problem != "" {
		err = fmt.Errorf("%w (%s)", err, problem)
	}
	return count / 2, err // each session has two ends
}

// unready says what a POP or router still lacks; empty: nothing.
func unready(st api.Status) string {
	for _, n := range st.Neighbors {
		if n.State != bgp.Established {
			return fmt.Sprintf("%s: neighbor %v is %s", st.POP, n.Address, n.State)
		}
	}
	for _, svc := range st.Services {
		for _, sl := range svc.Slices {
			if sl.Announced == nil {
				return fmt.Sprintf("%s: %v is not announced: %v", st.POP, sl.Slice, sl.Reason)
			}
		}
	}
	for _, p := range st.Fleet {
		if p.Heard.IsZero() || p.Stale {
			return fmt.Sprintf("%s has not heard %s: %s", st.POP, p.POP, p.Error)
		}
	}
	return ""
}
