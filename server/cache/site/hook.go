package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Stage is where in a request's way hooks run.
type Stage uint8

// Stages, in the order in which a request meets them.
const (
	ClientRequest  Stage = iota // matched, before its key is made: the URL and the header may be changed
	Miss                        // not in the store, before upstream is asked
	FillRequest                 // the request to upstream: its header and URL may be changed
	FillResponse                // upstream's answer, before it is judged and stored: status and header may be changed
	ClientResponse              // what the client gets: status and header may be changed
	stages
)

var stageNames = [...]string{"client-request", "miss", "fill-request", "fill-response", "client-response"}

// String is the stage's word in configuration and logs.
func (s Stage) String() string { return stageNames[min(int(s), len(stageNames)-1)] }

// View is what a hook sees of a request, and may change. It is one value from
// the first stage to the last, and belongs to one goroutine at a time; fills
// have their own, since several clients may wait for one.
type View struct {
	Site   *Site
	Client netip.Addr // zero in fills that no client waits for
	Method string
	TLS    bool
	Host   string
	URL    *url.URL // path and query
	// Header is the request's in the first three stages, the response's in the
	// last two. Status is the response's.
	Header http.Header
	Status int
	// Reason says why it is a miss, as in Cache-Status, from Miss on.
	Reason string
	// Notes are for handlers to tell later ones something.
	Notes map[string]string

	reply *Reply
}

// Reply is an answer that a hook gives itself. It is not stored.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Answer ends the stage with an answer of the hook's own. Before FillResponse
// nothing is asked upstream then; in FillResponse and ClientResponse it takes
// the response's place, and what upstream said is not stored.
func (v *View) Answer(r Reply) { v.reply = &r }

// Refuse is Answer with a status and a line of text.
func (v *View) Refuse(status int, text string) {
	v.Answer(Reply{Status: status, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte(text + "\n")})
}

// Handler is a hook. It has to come back soon after its context ends; what it
// changed of the view before it failed stays changed only if it returned nil.
type Handler interface {
	Handle(ctx context.Context, v *View) error
}

// HandlerFunc is a Handler that is a function.
type HandlerFunc func(ctx context.Context, v *View) error

// Handle calls it.
func (f HandlerFunc) Handle(ctx context.Context, v *View) error { return f(ctx, v) }

// OnError is what becomes of a request whose hook fails.
type OnError uint8

// Policies.
const (
	FailClosed OnError = iota // answered with 500 (fills: 502)
	FailOpen                  // as if the hook were not there
)

// Hook is a handler with its place in a chain.
type Hook struct {
	Name    string // for logs and errors
	Stage   Stage
	Order   int // smaller runs first; equal ones in the order given
	Handler Handler
	OnError OnError
	Timeout time.Duration // 0: DefaultHookTimeout
}

// DefaultHookTimeout is how long a hook may take if it does not say.
const DefaultHookTimeout = 100 * time.Millisecond

// HookError is a hook that failed.
type HookError struct {
	Hook  string
	Stage Stage
	Open  bool // the request goes on
	Err   error
}

func (e *HookError) Error() string { return fmt.Sprintf("hook %s at %s: %v", e.Hook, e.Stage, e.Err) }

// Unwrap is the handler's error.
func (e *HookError) Unwrap() error { return e.Err }

// Chain is the hooks of a site by stage. It never changes; nil is an empty one.
type Chain struct{ stages [stages][]Hook }

// NewChain orders hooks.
func NewChain(hooks ...Hook) (*Chain, error) {
	c := &Chain{}
	var errs []error
	for _, h := range hooks {
		switch {
		case h.Stage >= stages:
			errs = append(errs, fmt.Errorf("hook %s: no stage %d", h.Name, h.Stage))
		case h.Handler == nil || h.Name == "":
			errs = append(errs, fmt.Errorf("hook %q at %s: want a name and a handler", h.Name, h.Stage))
		default:
			c.stages[h.Stage] = append(c.stages[h.Stage], h)
		}
	}
	for _, list := range c.stages {
		slices.SortStableFunc(list, func(a, b Hook) int { return a.Order - b.Order })
	}
	return c, errors.Join(errs...)
}

// Has reports whether a stage has hooks: without, no View is needed.
func (c *Chain) Has(s Stage) bool { return c != nil && len(c.stages[s]) > 0 }

// Run calls the hooks of a stage in their order until one answers. The reply is
// what the client gets instead, nil to go on. The errors are for the log: those
// of hooks that fail open, and the one that a hook failed closed with, for
// which a reply is made.
func (c *Chain) Run(ctx context.Context, s Stage, v *View) (*Reply, []*HookError) {
	if !c.Has(s) {
		return nil, nil
	}
	var failed []*HookError
	for i := range c.stages[s] {
		h := &c.stages[s][i]
		v.reply = nil
		err := h.call(ctx, v)
		if err == nil {
			if v.reply != nil {
				return v.reply, failed
			}
			continue
		}
		failed = append(failed, &HookError{Hook: h.Name, Stage: s, Open: h.OnError == FailOpen, Err: err})
		if h.OnError == FailClosed {
			v.Refuse(failedStatus(s), "a script of this site failed")
			return v.reply, failed
		}
	}
	return nil, failed
}

// failedStatus tells a failure of ours from one on the way upstream.
func failedStatus(s Stage) int {
	if s == FillRequest || s == FillResponse {
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}

// call runs one hook on a copy of what it may change, and takes that over if it
// succeeds. A panic is an error.
func (h *Hook) call(ctx context.Context, v *View) (err error) {
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = DefaultHookTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	try := *v
	if h.OnError == FailOpen {
		try = v.clone()
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if err = h.Handler.Handle(ctx, &try); err != nil {
		return err
	}
	if err = ctx.Err(); err != nil {
		return fmt.Errorf("took too long: %w", err)
	}
	*v = try
	return nil
}

// clone copies what a hook may change.
func (v *View) clone() View {
	c := *v
	c.Header = v.Header.Clone()
	if v.URL != nil {
		u := *v.URL
		c.URL = &u
	}
	c.Notes = make(map[string]string, len(v.Notes))
	for k, s := range v.Notes {
		c.Notes[k] = s
	}
	return c
}
