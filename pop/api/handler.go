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

// PageHandler is the API for a page that the daemon serves on a listener that
// tells nothing of who connects. Changes are allowed or not for all of them.
func (s *Server) PageHandler(change bool) http.Handler {
	h := s.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := local{"the page, from " + r.RemoteAddr, change, "web.change"}
		h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), who)))
	})
}

// Handler is the API without the socket. Who calls is known only on the
// server's own connections, so through another one nobody may change anything.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]call{
		"GET /v1/rights":             s.rights,
		"GET /v1/status":             s.status,
		"GET /v1/services":           s.services,
		"GET /v1/slices":             s.slices,
		"GET /v1/explain/{slice...}": s.explain,
		"GET /v1/fleet":              s.fleet,
		"GET /v1/maintenance":        s.maintenance,
		"POST /v1/plan":              s.planned,

		"GET /v1/cost":    s.costStatus,
		"GET /v1/ingress": func(r *http.Request) (any, error) { return s.ingress(r.Context()) },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { reply(w, r, f) })
	}
	mux.HandleFunc("GET /v1/journal", s.journal)
	mux.HandleFunc("GET /v1/watch", s.watch)
	s.handleCore(mux)
	s.handleCache(mux)
	s.handleResync(mux)
	s.handleDNS(mux)
	s.handleSlowness(mux)
	for verb := range changes {
		s.handleChange(mux, verb, func(r *http.Request) (any, error) {
			var c Change
			if err := decode(r, &c, maxRequest); err != nil {
				return nil, err
			}
			return s.change(r.Context(), verb, c)
		})
	}
	s.handleMaintenance(mux)
	s.handleChange(mux, "reload", func(r *http.Request) (any, error) {
		var none struct{}
		if err := decode(r, &none, maxRequest); err != nil {
			return nil, err
		}
		return s.reload(r.Context())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, Errorf(NotFound, "no call %s %s in version 1 of the API", r.Method, r.URL.Path))
	})
	return mux
}

// handleChange asks for the right to change before anything else: who may not
// learns no more than that.
func (s *Server) handleChange(mux *http.ServeMux, verb string, f call) {
	mux.HandleFunc("POST /v1/"+verb, func(w http.ResponseWriter, r *http.Request) {
		if err := s.MayChange(r.Context(), verb); err != nil {
			fail(w, err)
			return
		}
		reply(w, r, f)
	})
}

func (s *Server) rights(r *http.Request) (any, error) { return rightsOf(r.Context()), nil }

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

// Slices are those of all services, in their order.
func (s Status) Slices() []SliceStatus {
	var all []SliceStatus
	for _, svc := range s.Services {
		all = append(all, svc.Slices...)
	}
	return all
}

// decode reads one JSON object of at most so many bytes strictly; an empty body
// is an empty object.
func decode(r *http.Request, into any, most int64) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, most))
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

// JournalLast is how many entries the journal call gives that names no limit,
// and journalMost the largest limit: beyond it there is only all, which is not
// held in memory.
const (
	JournalLast = 1000
	journalMost = 10000
)

// validate refuses a filter that the daemon would need much memory for.
func (f JournalFilter) validate() error {
	if f.Limit < 0 || f.Limit > journalMost {
		return Errorf(Invalid, "limit %d: want a number up to %d, or 0 for all", f.Limit, journalMost)
	}
	return nil
}

// filter reads the query of the journal call.
func filter(q url.Values, now time.Time) (JournalFilter, error) {
	f := JournalFilter{Limit: JournalLast}
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
			if f.Limit, err = strconv.Atoi(v); err != nil {
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
	return f, f.validate()
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
