// Package serve is the service and the client of labs and of the demo: an
// HTTP server that answers with the name of its POP, and a client that asks
// again and again and notes who answered, alone or as a crowd of a steady rate.
//
// It decides nothing; it owns its sockets until its context ends. It is no
// cache server and measures no speed.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ServerOptions say what a POP's service does.
type ServerOptions struct {
	Name     string   // what it answers with
	Listen   []string // addresses; they need not exist yet
	SickFile string   // while this file exists, /healthz answers 503
	PageFile string   // what GET /page answers with: a meter's page, in a story; empty: nothing
}

// Serve answers until ctx ends: GET / with the name, GET /healthz with "ok"
// or 503, GET /hold?for=10s slowly, a byte at once and one at the end, GET
// /served and /load with how many have asked for /, and at which address.
func Serve(ctx context.Context, o ServerOptions) error {
	if len(o.Listen) == 0 {
		return errors.New("no address to listen on")
	}
	var served atomic.Uint64
	asked := newCounters(o.Listen)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		asked.count(r)
		w.Header().Set("X-Pop", o.Name)
		fmt.Fprintln(w, o.Name)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(o.SickFile); o.SickFile != "" && err == nil {
			http.Error(w, "sick", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/served", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, served.Load()) })
	mux.Handle("/load", asked)
	mux.HandleFunc("/hold", hold)
	if o.PageFile != "" {
		mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, o.PageFile) })
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, len(o.Listen))
	lc := net.ListenConfig{Control: freebind}
	for i, addr := range o.Listen {
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			srv.Close()
			for range i {
				<-done
			}
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
		go func() { done <- srv.Serve(ln) }()
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	var first error
	for range o.Listen {
		if err := <-done; first == nil && !errors.Is(err, http.ErrServerClosed) {
			first = err
			srv.Close()
		}
	}
	return first
}

// hold keeps a request open, for stories about connections in flight.
func hold(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, "want ?for=DURATION", http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "<")
	http.NewResponseController(w).Flush()
	select {
	case <-time.After(d):
		fmt.Fprint(w, ">")
	case <-r.Context().Done():
	}
}

// freebind allows a VIP that is not on this machine yet.
func freebind(_, _ string, c syscall.RawConn) error {
	var inner error
	err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(err, inner)
}

// Answer is one request of Fetch.
type Answer struct {
	Time   time.Time `json:"t"`             // when it was sent
	Millis float64   `json:"ms"`            // until the whole answer was there, or the failure
	Pop    string    `json:"pop,omitempty"` // who answered
	Status int       `json:"status,omitempty"`
	Err    string    `json:"err,omitempty"`
	Again  bool      `json:"again,omitempty"` // this is the second try: the first was cut (FetchOptions.Again)
}

// End is when the request was over.
func (a Answer) End() time.Time {
	return a.Time.Add(time.Duration(a.Millis * float64(time.Millisecond)))
}

// OK says whether the request succeeded.
func (a Answer) OK() bool { return a.Err == "" && a.Status == http.StatusOK }

// FetchOptions say what a client asks.
type FetchOptions struct {
	URL     string
	Every   time.Duration // from the start of one request to that of the next; default 100 ms
	Timeout time.Duration // of one request; default 1 s
	Count   int           // requests; 0: until the context ends
	// Again asks once more, at once, when a connection that had been made was
	// cut: what browsers do. Anycast does that to the connections that are open
	// when a route moves. A refused connection is not asked again.
	Again  bool
	Answer func(Answer) // gets each one, in order
}

// Fetch asks until ctx ends or Count is reached, one request at a time, each
// on a new connection: anycast has to be asked anew. It returns nil also when
// requests failed; that is for Answer to judge.
func Fetch(ctx context.Context, o FetchOptions) error {
	if o.Every == 0 {
		o.Every = 100 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	client := &http.Client{Timeout: o.Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for n := 1; ; n++ {
		a, err := ask(ctx, client, o)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // the request was cut off by us
		}
		o.Answer(a)
		if n == o.Count {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, o FetchOptions) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Time: time.Now()}
	if err = a.try(client, req); o.Again && cut(err) {
		a.Again = true
		err = a.try(client, req)
	}
	a.Millis = float64(time.Since(a.Time).Microseconds()) / 1000
	if err != nil {
		a.Err = err.Error()
	}
	return a, nil
}

// try makes the request once.
func (a *Answer) try(client *http.Client, req *http.Request) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	a.Status, a.Pop = resp.StatusCode, resp.Header.Get("X-Pop")
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// cut says whether the other end had the connection and no longer knows it.
func cut(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// Line is an answer as Fetch's command prints it: one JSON object.
func (a Answer) Line() string {
	raw, err := json.Marshal(a)
	if err != nil {
		return `{"err":"` + err.Error() + `"}`
	}
	return string(raw)
}
