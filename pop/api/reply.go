package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// streamWrite is how long one entry of a followed journal may take to be
// taken by the reader.
const streamWrite = 10 * time.Second

// callTimeout bounds every call but a followed journal. A reload that has to
// look names up is the slowest.
const callTimeout = 30 * time.Second

func reply(w http.ResponseWriter, r *http.Request, f call) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callTimeout + streamWrite))
	v, err := f(r)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a caller that is gone needs no answer
}

func fail(w http.ResponseWriter, err error) {
	e := asError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statuses[e.Code])
	_ = json.NewEncoder(w).Encode(e)
}

// watch streams events: as server-sent events to whom asks for those (WHATWG
// HTML, section 9.2), otherwise as one JSON object a line.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // a watcher may stay as long as it likes
	sse := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	if sse {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	soon, stop := prompt(r.Context(), out)
	defer stop()
	_ = soon()
	w.WriteHeader(http.StatusOK)
	_ = out.Flush()
	err := Watch(r.Context(), s.opt.Backend, func(e Event) error {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := soon(); err != nil {
			return err
		}
		if sse {
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Kind, text)
		} else {
			_, err = fmt.Fprintf(w, "%s\n", text)
		}
		if err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		panic(http.ErrAbortHandler) // so that an answer cut short does not look whole
	}
}

// prompt returns what to call before each write of an answer that goes on: the
// reader has its time to take it, but the end of the context ends a write that
// is under way, so that nobody who has stopped reading keeps the daemon.
func prompt(ctx context.Context, out *http.ResponseController) (soon func() error, stop func() bool) {
	soon = func() error {
		_ = out.SetWriteDeadline(time.Now().Add(streamWrite))
		return ctx.Err()
	}
	return soon, context.AfterFunc(ctx, func() { _ = out.SetWriteDeadline(time.Now()) })
}

// journal streams entries. An error after the first entry cuts the connection,
// so that a half answer never looks whole.
func (s *Server) journal(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r.URL.Query(), time.Now())
	if err != nil {
		fail(w, err)
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // a follower may stay as long as it likes
	enc := json.NewEncoder(w)
	started := false
	start := func() {
		started = true
		w.Header().Set("Content-Type", "application/jsonl")
		w.WriteHeader(http.StatusOK)
	}
	soon, stop := prompt(r.Context(), out)
	defer stop()
	if f.Follow {
		_ = soon()
		start()
		_ = out.Flush() // the reader knows that it is connected
	}
	err = s.opt.Backend.Journal(r.Context(), f, func(e JournalEntry) error {
		if !started {
			start()
		}
		if err := soon(); err != nil {
			return err
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
		if f.Follow {
			return out.Flush()
		}
		return nil
	})
	switch {
	case err == nil && !started:
		start()
	case err != nil && !started:
		fail(w, err)
	case err != nil && r.Context().Err() == nil:
		panic(http.ErrAbortHandler)
	}
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
