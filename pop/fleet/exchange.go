package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Exchange is the source that asks peers for their status, and the server
// that answers them.
type Exchange struct {
	cfg    Config
	local  Local
	log    *slog.Logger
	boot   string
	client *http.Client
	askers []*asker
	ready  chan struct{}

	// speaking is held, as a token, while our own status is made, so that
	// sequence numbers have the order of what they number.
	speaking chan struct{}
	sequence uint64

	busy    chan struct{} // a token for each question that is being answered
	asides  chan struct{} // likewise of those aside
	refused counter

	mu    sync.Mutex
	doubt time.Time // of Poke
}

// doubtLasts is how long a peer that does not answer is asked more often. The
// doubt of the caller may last longer; ordinary answers end it as well.
const doubtLasts = 30 * time.Second

// maxAnswering bounds how many questions are answered at once.
const maxAnswering = 64

func newExchange(cfg Config, local Local, log *slog.Logger) *Exchange {
	x := &Exchange{
		cfg: cfg, local: local, log: log, boot: rand.Text(),
		ready:    make(chan struct{}),
		speaking: make(chan struct{}, 1),
		busy:     make(chan struct{}, maxAnswering),
		asides:   make(chan struct{}, asideAnswering),
	}
	if x.cfg.Poll <= 0 {
		x.cfg.Poll = time.Second
	}
	if x.cfg.Timeout <= 0 {
		x.cfg.Timeout = time.Second
	}
	x.client = &http.Client{
		Transport: &http.Transport{
			// No proxy, whatever the environment says: these are our own POPs.
			DialContext:            (&net.Dialer{Timeout: x.cfg.Timeout}).DialContext,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 8 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, p := range cfg.Peers {
		x.askers = append(x.askers, newAsker(x, p))
	}
	return x
}

func (x *Exchange) String() string { return "exchange" }

// Run listens and asks until the context ends.
func (x *Exchange) Run(ctx context.Context, sink Sink) error {
	defer x.client.CloseIdleConnections()
	var listener net.Listener
	if x.cfg.Listen != "" {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", x.cfg.Listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	close(x.ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, a := range x.askers {
		wg.Go(func() { a.run(ctx, sink) })
	}
	var err error
	if listener != nil {
		err = x.serve(ctx, listener, sink)
		cancel()
	}
	wg.Wait()
	return err
}

func (x *Exchange) serve(ctx context.Context, l net.Listener, sink Sink) error {
	srv := &http.Server{
		Handler:           x.Handler(sink),
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(x.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %v: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if srv.Shutdown(end) != nil {
		srv.Close()
	}
	<-done
	return nil
}

// takes is what a peer says it understands beside the claims.
type takes struct{ reasons, load, about bool }

// speak makes our own status for one peer, with what else it takes. What
// it says is no older than the call, and a later sequence number never says
// something older.
func (x *Exchange) speak(ctx context.Context, to policy.POPID, with takes, sink Sink) ([]byte, error) {
	select {
	case x.speaking <- struct{}{}:
		defer func() { <-x.speaking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("own status: %w", ctx.Err())
	}
	claims, err := x.local(ctx)
	if err != nil {
		return nil, fmt.Errorf("own status: %w", err)
	}
	x.sequence++
	_ = sink(Own{Slices: claims, At: time.Now()})
	m := Message{From: x.cfg.POP, To: to, Boot: x.boot, Sequence: x.sequence, Slices: clip(claims, with.reasons)}
	if with.load && x.cfg.Load != nil {
		m.Load = x.cfg.Load() // left out where it is empty
	}
	if with.about && x.cfg.About != nil {
		m.About = x.cfg.About()
	}
	body, err := json.Marshal(m)
	if err == nil && len(body) > maxBody && with != (takes{}) { // better neither than nothing
		m.Slices, m.Load = clip(claims, false), nil
		body, err = json.Marshal(m)
	}
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("%d bytes, more than a peer takes", len(body))
	}
	if err != nil {
		return nil, fmt.Errorf("own status: %w", err)
	}
	return body, nil
}

// poke notes the doubt and wakes the askers that it concerns.
func (x *Exchange) poke(since time.Time) {
	x.mu.Lock()
	if since.After(x.doubt) {
		x.doubt = since
	}
	x.mu.Unlock()
	for _, a := range x.askers {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// inDoubt reports whether an answer to a question asked at that time leaves
// the doubt of Poke as it was.
func (x *Exchange) inDoubt(asked time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.doubt.IsZero() && !asked.After(x.doubt) && time.Since(x.doubt) < doubtLasts
}

// awaited reports whether the event is the first answer to a peer's question
// of Poke.
func (x *Exchange) awaited(e Event) bool {
	a, ok := e.(Answered)
	if !ok || x.inDoubt(a.Asked) {
		return false
	}
	for _, p := range x.askers {
		if p.peer.POP == a.From {
			return p.first(a.Asked)
		}
	}
	return false
}

// report adds what the askers know.
func (x *Exchange) report(r *PeerReport) {
	for _, a := range x.askers {
		if a.peer.POP == r.POP {
			a.report(r)
		}
	}
}

// refuse counts a refusal and gives it back.
func (x *Exchange) refuse(err error) error {
	var why Refusal
	if errors.As(err, &why) {
		x.refused.add(why)
	}
	return err
}

// counter counts by reason.
type counter struct {
	mu sync.Mutex
	n  map[Refusal]uint64
}

func (c *counter) add(r Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[Refusal]uint64{}
	}
	c.n[r]++
}

func (c *counter) snapshot() map[Refusal]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[Refusal]uint64, len(c.n))
	for k, v := range c.n {
		out[k] = v
	}
	return out
}
