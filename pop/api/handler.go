package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// maxRequest bounds the body of a change.
const maxRequest = 64 << 10

// call answers one request with a value, or fails.
type call func(*http.Request) (any, error)

// Handler is the API without the socket. Who calls is known only on the
// server's own connections, so through another one nobody may change anything.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]call{
		"GET /v1/status":             s.status,
		"GET /v1/services":           s.services,
		"GET /v1/slices":             s.slices,
		"GET /v1/explain/{slice...}": s.explain,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { reply(w, r, f) })
	}
	mux.HandleFunc("GET /v1/journal", s.journal)
	mux.HandleFunc("GET /v1/watch", s.watch)
	for verb, f := range map[string]call{
		"drain": s.intent(policy.IntentDrain), "hold": s.intent(policy.IntentHold),
		"pin": s.intent(policy.IntentPin), "stop": s.intent(policy.IntentStop),
		"undrain": s.release(policy.IntentDrain), "release": s.release(policy.IntentHold, policy.IntentPin),
		"reload": s.reload,
	} {
		mux.HandleFunc("POST /v1/"+verb, func(w http.ResponseWriter, r *http.Request) { s.change(w, r, verb, f) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, Errorf(NotFound, "no call %s %s in version 1 of the API", r.Method, r.URL.Path))
	})
	return mux
}

// change checks the right to change, and logs who did what.
func (s *Server) change(w http.ResponseWriter, r *http.Request, verb string, f call) {
	who := callerOf(r.Context())
	if !who.mayChange(s.opt.Group) {
		s.opt.Logger.Warn("control API: not allowed", "call", verb, "by", who.String())
		fail(w, Errorf(Forbidden, "%s may read but not change: that takes root, the daemon's user or the configured group", who))
		return
	}
	s.opt.Logger.Info("control API", "call", verb, "by", who.String())
	reply(w, r, f)
}

func (s *Server) status(r *http.Request) (any, error) {
	st, err := s.opt.Backend.Status(r.Context())
	return st, err
}

func (s *Server) services(r *http.Request) (any, error) {
	st, err := s.opt.Backend.Status(r.Context())
	return nonNil(st.Services), err
}

func (s *Server) slices(r *http.Request) (any, error) {
	st, err := s.opt.Backend.Status(r.Context())
	return nonNil(st.Slices()), err
}

func (s *Server) explain(r *http.Request) (any, error) {
	id, err := parseSlice(r.PathValue("slice"))
	if err != nil {
		return nil, err
	}
	return s.opt.Backend.Explain(r.Context(), id)
}

// intent makes the call that asks for a kind of intent.
func (s *Server) intent(kind policy.IntentKind) call {
	return func(r *http.Request) (any, error) {
		var c Change
		if err := decode(r, &c); err != nil {
			return nil, err
		}
		if (kind == policy.IntentPin) != (c.Stance != nil) {
			return nil, Errorf(Invalid, "%s: a stance is needed with pin, and has no meaning otherwise", kind)
		}
		if kind == policy.IntentStop && (c.Service != "" || c.Slice != policy.SliceID{}) {
			return nil, Errorf(Invalid, "stop is for the whole daemon: use drain for a service or a slice")
		}
		in := policy.Intent{
			Kind: kind, Service: c.Service, Slice: c.Slice, By: callerOf(r.Context()).String(), Why: c.Why,
			At: time.Now(), Wait: time.Duration(c.Wait), Force: c.Force,
		}
		if c.Stance != nil {
			in.Stance = *c.Stance
		}
		if c.For > 0 {
			in.Until = in.At.Add(time.Duration(c.For))
		}
		return s.opt.Backend.Intent(r.Context(), in)
	}
}

// release makes the call that ends intents of these kinds.
func (s *Server) release(kinds ...policy.IntentKind) call {
	return func(r *http.Request) (any, error) {
		var c Change
		if err := decode(r, &c); err != nil {
			return nil, err
		}
		if c.Stance != nil || c.Wait != 0 || c.For != 0 || c.Force {
			return nil, Errorf(Invalid, "to end intents takes a service or a slice, and a why")
		}
		return s.opt.Backend.Release(r.Context(), Released{
			Kinds: kinds, Service: c.Service, Slice: c.Slice, By: callerOf(r.Context()).String(), Why: c.Why,
		})
	}
}

func (s *Server) reload(r *http.Request) (any, error) {
	var none struct{}
	if err := decode(r, &none); err != nil {
		return nil, err
	}
	changes, err := s.opt.Backend.Reload(r.Context(), callerOf(r.Context()).String())
	return Reloaded{Changes: nonNil(changes)}, err
}

// Slices are those of all services, in their order.
func (s Status) Slices() []SliceStatus {
	var all []SliceStatus
	for _, svc := range s.Services {
		all = append(all, svc.Slices...)
	}
	return all
}

// decode reads one JSON object strictly; an empty body is an empty object.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return Errorf(Invalid, "request: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Errorf(Invalid, "request: something follows the object")
	}
	if c, ok := into.(*Change); ok {
		return c.validate()
	}
	return nil
}

func (c Change) validate() error {
	if p := c.Slice.Prefix(); p.IsValid() && p != p.Masked() {
		return Errorf(Invalid, "slice %v has host bits; meant is %v", p, p.Masked())
	}
	if c.Wait < 0 || c.For < 0 {
		return Errorf(Invalid, "wait and for are not negative")
	}
	if len(c.Why) > 1000 {
		return Errorf(Invalid, "why: at most 1000 bytes")
	}
	return nil
}

func parseSlice(s string) (policy.SliceID, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return policy.SliceID{}, Errorf(Invalid, "slice %q: want a prefix such as 192.0.2.0/24 or 2001:db8::/48", s)
	}
	if p != p.Masked() {
		return policy.SliceID{}, Errorf(Invalid, "slice %v has host bits; meant is %v", p, p.Masked())
	}
	return policy.SliceID(p), nil
}

// filter reads the query of the journal call.
func filter(q url.Values, now time.Time) (JournalFilter, error) {
	var f JournalFilter
	for key, values := range q {
		v, err := values[0], error(nil)
		switch key {
		case "service":
			f.Service = policy.ServiceID(v)
		case "slice":
			f.Slice, err = parseSlice(v)
		case "since":
			f.Since, err = parseSince(v, now)
		case "limit":
			if f.Limit, err = strconv.Atoi(v); err != nil || f.Limit < 0 {
				err = Errorf(Invalid, "limit %q: want a number", v)
			}
		case "follow":
			if f.Follow, err = strconv.ParseBool(v); err != nil {
				err = Errorf(Invalid, "follow %q: want 1 or 0", v)
			}
		default:
			err = Errorf(Invalid, "journal: no parameter %q; there are service, slice, since, limit and follow", key)
		}
		if err != nil {
			return JournalFilter{}, err
		}
	}
	return f, nil
}

func parseSince(v string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(strings.TrimPrefix(v, "-")); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return time.Time{}, Errorf(Invalid, "since %q: want a time such as 2030-01-31T13:00:00Z or a duration back from now such as 1h", v)
	}
	return t, nil
}
