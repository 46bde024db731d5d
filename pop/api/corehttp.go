package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxCoreRequest bounds a config object.
const maxCoreRequest = 1 << 20

// handleCore adds the calls of the control core.
func (s *Server) handleCore(mux *http.ServeMux) {
	for pattern, f := range map[string]func(context.Context, Core, CoreQuery) (any, error){
		"": func(ctx context.Context, c Core, _ CoreQuery) (any, error) { return c.CoreStatus(ctx) },
		"/config": func(ctx context.Context, c Core, _ CoreQuery) (any, error) {
			return c.CoreConfig(ctx)
		},
		"/rollout": func(ctx context.Context, c Core, _ CoreQuery) (any, error) {
			return c.CoreRollout(ctx)
		},
		"/objects": func(ctx context.Context, c Core, q CoreQuery) (any, error) {
			l, err := c.CoreObjects(ctx, q)
			return nonNil(l), err
		},
		"/history": func(ctx context.Context, c Core, q CoreQuery) (any, error) {
			l, err := c.CoreHistory(ctx, q)
			return nonNil(l), err
		},
	} {
		mux.HandleFunc("GET /v1/core"+pattern, func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, s.asksCore(f))
		})
	}
	mux.HandleFunc("GET /v1/core/show", func(w http.ResponseWriter, r *http.Request) {
		if err := s.MayChange(r.Context(), "core show"); err != nil { // it may hold passwords
			fail(w, err)
			return
		}
		reply(w, r, s.asksCore(func(ctx context.Context, c Core, q CoreQuery) (any, error) { return c.CoreShow(ctx, q) }))
	})
	mux.HandleFunc("GET /v1/core/watch", s.coreWatch)
	mux.HandleFunc("GET /v1/core/backup", s.coreBackup)
	for _, verb := range CoreVerbs {
		s.handleChange(mux, "core/"+verb, func(r *http.Request) (any, error) {
			var c CoreChange
			if err := decode(r, &c, maxCoreRequest); err != nil {
				return nil, err
			}
			return s.coreChange(r.Context(), verb, c)
		})
	}
}

// asksCore makes the call that answers a question.
func (s *Server) asksCore(f func(context.Context, Core, CoreQuery) (any, error)) call {
	return func(r *http.Request) (any, error) {
		c, err := s.core()
		if err != nil {
			return nil, err
		}
		q, err := coreQuery(r.URL.Query())
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		return f(ctx, c, q)
	}
}

func coreQuery(values url.Values) (CoreQuery, error) {
	var q CoreQuery
	for key, v := range values {
		var to *int32
		switch key {
		case "kind":
			q.Kind = v[0]
		case "key":
			q.Key = v[0]
		case "version":
			to = &q.Version
		case "limit":
			to = &q.Limit
		default:
			return q, Errorf(Invalid, "core: no parameter %q; there are kind, key, version and limit", key)
		}
		if to != nil {
			n, err := strconv.ParseInt(v[0], 10, 32)
			if err != nil || n < 0 {
				return q, Errorf(Invalid, "%s %q: want a number", key, v[0])
			}
			*to = int32(n)
		}
	}
	return q, nil
}

func (q CoreQuery) values() string {
	v := url.Values{}
	for key, text := range map[string]string{"kind": q.Kind, "key": q.Key} {
		if text != "" {
			v.Set(key, text)
		}
	}
	for key, n := range map[string]int32{"version": q.Version, "limit": q.Limit} {
		if n != 0 {
			v.Set(key, strconv.Itoa(int(n)))
		}
	}
	return v.Encode()
}

// coreWatch streams what changes, an object a line.
func (s *Server) coreWatch(w http.ResponseWriter, r *http.Request) {
	c, err := s.core()
	q, qerr := coreQuery(r.URL.Query())
	if err == nil {
		err = qerr
	}
	if err != nil {
		fail(w, err)
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // a watcher may stay as long as it likes
	w.Header().Set("Content-Type", "application/jsonl")
	soon, stop := prompt(r.Context(), out)
	defer stop()
	_ = soon()
	w.WriteHeader(http.StatusOK)
	_ = out.Flush()
	enc := json.NewEncoder(w)
	err = c.CoreWatch(r.Context(), q, func(o CoreObject) error {
		if err := soon(); err != nil {
			return err
		}
		if err := enc.Encode(o); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		panic(http.ErrAbortHandler)
	}
}

// coreBackup streams a backup. One that was cut short does not look whole:
// the connection breaks, and the file's own digest is missing.
func (s *Server) coreBackup(w http.ResponseWriter, r *http.Request) {
	err := s.MayChange(r.Context(), "core backup") // it holds all secrets
	c, cerr := s.core()
	if err == nil {
		err = cerr
	}
	if err != nil {
		fail(w, err)
		return
	}
	out := http.NewResponseController(w)
	soon, stop := prompt(r.Context(), out)
	defer stop()
	started := false
	err = c.CoreBackup(r.Context(), func(b []byte) error {
		if !started {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.WriteHeader(http.StatusOK)
			started = true
		}
		if err := soon(); err != nil {
			return err
		}
		_, err := w.Write(b)
		return err
	})
	switch {
	case err != nil && !started:
		fail(w, err)
	case err != nil:
		panic(http.ErrAbortHandler)
	}
}
