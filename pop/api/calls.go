package api

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/catchment/catchment/policy"
)

// changes are the calls that change something, whatever they come in by.
var changes = map[string]func(context.Context, Backend, Change) (Result, error){
	"drain":   intent(policy.IntentDrain),
	"hold":    intent(policy.IntentHold),
	"pin":     intent(policy.IntentPin),
	"stop":    intent(policy.IntentStop),
	"undrain": release(policy.IntentDrain),
	"release": release(policy.IntentHold, policy.IntentPin),
}

// MayChange refuses a caller without the right to change things, naming what
// that takes, and logs who is about to change what.
func (s *Server) MayChange(ctx context.Context, call string) error {
	who := callerOf(ctx)
	if err := who.mayChange(); err != nil {
		s.opt.Logger.Warn("control API: not allowed", "call", call, "by", who.String())
		return err
	}
	s.opt.Logger.Info("control API", "call", call, "by", who.String())
	return nil
}

// Caller is who makes the call of this context, as the `by` of an intent.
func Caller(ctx context.Context) string { return callerOf(ctx).String() }

// Rights are what the caller may do. Reading takes no more than to connect.
type Rights struct {
	By     string `json:"by"`     // who the caller is, as the `by` of an intent
	Change bool   `json:"change"` // may change things
}

func rightsOf(ctx context.Context) Rights { return Rights{By: Caller(ctx), Change: Trusted(ctx)} }

// Trusted reports whether who makes the call of this context may change things.
func Trusted(ctx context.Context) bool { return callerOf(ctx).mayChange() == nil }

// change carries out one of changes for a caller who MayChange.
func (s *Server) change(ctx context.Context, call string, c Change) (Result, error) {
	if err := c.validate(); err != nil {
		return Result{}, err
	}
	if c.POP != "" {
		return s.elsewhere(ctx, call, c)
	}
	return changes[call](ctx, s.opt.Backend, c)
}

// elsewhere has another POP carry out a change.
func (s *Server) elsewhere(ctx context.Context, call string, c Change) (Result, error) {
	core, err := s.core()
	switch {
	case err != nil:
		return Result{}, err
	case call == "stop":
		return Result{}, Errorf(Invalid, "a daemon is stopped at its own POP only")
	case strings.TrimSpace(c.Why) == "":
		return Result{}, Errorf(Invalid, "why: what is asked of another POP says why")
	}
	return core.CoreOrder(ctx, call, Caller(ctx), c)
}

// Carry carries out a change that somebody asked for at another POP: by is
// who, as the `by` of an intent.
func Carry(ctx context.Context, b Backend, call, by string, c Change) (Result, error) {
	f, ok := changes[call]
	if !ok || call == "stop" {
		return Result{}, Errorf(Invalid, "no change %q for another POP", call)
	}
	if err := c.validate(); err != nil {
		return Result{}, err
	}
	c.POP = ""
	return f(withCaller(ctx, far(by)), b, c)
}

// far asked at another POP.
type far string

func (f far) String() string { return string(f) }

func (f far) mayChange() error { return nil } // it was asked where it came in

// reload reads the configuration again for a caller who MayChange.
func (s *Server) reload(ctx context.Context) (Reloaded, error) {
	lines, err := s.opt.Backend.Reload(ctx, Caller(ctx))
	return Reloaded{Changes: nonNil(lines)}, err
}

// intent makes the call that asks for a kind of intent.
func intent(kind policy.IntentKind) func(context.Context, Backend, Change) (Result, error) {
	return func(ctx context.Context, b Backend, c Change) (Result, error) {
		if kind == policy.IntentPin && c.Rung != "" && c.Stance == nil {
			stance, err := named(ctx, b, c)
			if err != nil {
				return Result{}, err
			}
			c.Stance, c.Rung = &stance, ""
		}
		if c.Rung != "" || (kind == policy.IntentPin) != (c.Stance != nil) {
			return Result{}, Errorf(Invalid, "%s: a stance is needed with pin, and has no meaning otherwise", kind)
		}
		if kind == policy.IntentStop && (c.Service != "" || c.Slice != policy.SliceID{}) {
			return Result{}, Errorf(Invalid, "stop is for the whole daemon: use drain for a service or a slice")
		}
		in := policy.Intent{
			Kind: kind, Service: c.Service, Slice: c.Slice, By: Caller(ctx), Why: c.Why,
			At: time.Now(), Wait: time.Duration(c.Wait), Force: c.Force,
		}
		if c.Stance != nil {
			in.Stance = *c.Stance
		}
		if c.For > 0 {
			in.Until = in.At.Add(time.Duration(c.For))
		}
		return b.Intent(ctx, in)
	}
}

// Ladders is a Backend that knows its rungs by name.
type Ladders interface {
	// Rung is the place of a rung in the ladder of a service, or of a slice's;
	// of all services where neither is given, if it is the same in each.
	Rung(ctx context.Context, name string, service policy.ServiceID, slice policy.SliceID) (int, error)
}

// named is the stance of a rung that a change names.
func named(ctx context.Context, b Backend, c Change) (policy.Stance, error) {
	l, ok := b.(Ladders)
	if !ok {
		return policy.Stance{}, Errorf(Invalid, "rung %q: want its number", c.Rung)
	}
	n, err := l.Rung(ctx, c.Rung, c.Service, c.Slice)
	return policy.Stance{Action: policy.Announce, Rung: n}, err
}

// release makes the call that ends intents of these kinds.
func release(kinds ...policy.IntentKind) func(context.Context, Backend, Change) (Result, error) {
	return func(ctx context.Context, b Backend, c Change) (Result, error) {
		if c.Stance != nil || c.Rung != "" || c.Wait != 0 || c.For != 0 || c.Force {
			return Result{}, Errorf(Invalid, "to end intents takes a service or a slice, and a why")
		}
		return b.Release(ctx, Released{Kinds: kinds, Service: c.Service, Slice: c.Slice, By: Caller(ctx), Why: c.Why})
	}
}

func (c Change) validate() error {
	if p := c.Slice.Prefix(); p.IsValid() && p != p.Masked() {
		return Errorf(Invalid, "slice %v has host bits; meant is %v", p, p.Masked())
	}
	if c.Wait < 0 || c.For < 0 {
		return Errorf(Invalid, "wait and for are not negative")
	}
	if len(c.Why) > 1000 || strings.ContainsFunc(c.Why, unicode.IsControl) { // it becomes a part of journal lines
		return Errorf(Invalid, "why: at most 1000 bytes of text on one line")
	}
	return nil
}
