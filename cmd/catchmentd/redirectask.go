package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// targetAsker asks POPs, under the names that clients would be sent to, whether
// their cache server serves: it goes the client's way, DNS and TLS and all.
type targetAsker struct {
	client  *http.Client
	running sync.WaitGroup

	mu    sync.Mutex
	state map[string]*askedTarget // by URL
	pops  map[string][]string
}

type askedTarget struct {
	at      time.Time // of the last question
	busy    bool
	bad     int    // answers in a row
	trouble string // empty: it serves
}

// Asking: how often, how long, and after how many answers that are missing a POP
// that has served is taken for one that does not.
const (
	targetInterval = 2 * time.Second
	targetTimeout  = 2 * time.Second
	targetBad      = 2
)

func newTargetAsker() *targetAsker {
	return &targetAsker{
		client: &http.Client{
			Timeout:       targetTimeout,
			Transport:     &http.Transport{DisableKeepAlives: true}, // each time as a new client; no proxy
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		state: map[string]*askedTarget{},
	}
}

// ask begins the questions that are due.
func (a *targetAsker) ask(ctx context.Context, pops map[string][]string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pops = pops
	wanted := map[string]bool{}
	for _, urls := range pops {
		for _, u := range urls {
			wanted[u] = true
			s := a.state[u]
			if s == nil {
				s = &askedTarget{bad: targetBad, trouble: "it was not asked yet whether it serves " + u}
				a.state[u] = s
			}
			if !s.busy && now.Sub(s.at) >= targetInterval {
				s.busy, s.at = true, now
				a.running.Go(func() { a.one(ctx, u, s) })
			}
		}
	}
	maps.DeleteFunc(a.state, func(u string, _ *askedTarget) bool { return !wanted[u] })
}

// one asks one.
func (a *targetAsker) one(ctx context.Context, base string, s *askedTarget) {
	err := a.get(ctx, base+"/.well-known/catchment/health")
	a.mu.Lock()
	defer a.mu.Unlock()
	s.busy = false
	if err == nil {
		s.bad, s.trouble = 0, ""
		return
	}
	if s.bad++; s.bad >= targetBad {
		s.trouble = fmt.Sprintf("%s does not serve: %v", base, err)
	}
}

func (a *targetAsker) get(ctx context.Context, u string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(r)
	var where *url.Error
	if errors.As(err, &where) {
		err = where.Err
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// trouble says why clients would not be served at a POP; empty: they would be.
func (a *targetAsker) trouble(pop string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.pops[pop] {
		if s := a.state[u]; s != nil && s.trouble != "" {
			return s.trouble
		}
	}
	if len(a.pops[pop]) == 0 {
		return "clients come by no scheme that its site has"
	}
	return ""
}

// wait returns when no question runs any more.
func (a *targetAsker) wait() {
	a.running.Wait()
	a.client.CloseIdleConnections()
}
