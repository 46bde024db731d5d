package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// minGap keeps an asker from asking in a tight loop when answers are overtaken
// or fail at once.
const minGap = 5 * time.Millisecond

// asker asks one peer, one question at a time.
type asker struct {
	x    *Exchange
	peer Peer
	url  string
	wake chan struct{} // size one

	mu        sync.Mutex
	asked     time.Time // question of the last answer that was believed
	told      time.Time // the last asked that first has reported
	rtt       time.Duration
	err       error
	exchanges uint64
	failures  uint64
	takes     takes // what the peer takes in questions
}

func newAsker(x *Exchange, p Peer) *asker {
	return &asker{x: x, peer: p, url: strings.TrimSuffix(p.URL, "/") + "/" + exchangePath, wake: make(chan struct{}, 1)}
}

// run asks at once, then every poll, and more often while in doubt.
func (a *asker) run(ctx context.Context, sink Sink) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			if !a.inDoubt() {
				continue
			}
		case <-timer.C:
		}
		err := a.ask(ctx, sink)
		a.note(ctx, err)
		timer.Reset(a.pause(err))
	}
}

// pause is how long until the next question if nobody wakes the asker.
func (a *asker) pause(err error) time.Duration {
	poll := a.x.cfg.Poll
	switch {
	case errors.Is(err, Overtaken), err == nil && a.inDoubt():
		return minGap
	case err != nil && a.inDoubt():
		return max(minGap, poll/4)
	}
	return poll - poll/10 + rand.N(poll/5+1)
}

func (a *asker) inDoubt() bool {
	a.mu.Lock()
	asked := a.asked
	a.mu.Unlock()
	return a.x.inDoubt(asked)
}

// first reports whether no answer to a question of the running doubt has been
// reported before.
func (a *asker) first(asked time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	again := a.told.IsZero() || a.x.inDoubt(a.told)
	a.told = asked
	return again
}

// note keeps the outcome, and logs where it changed.
func (a *asker) note(ctx context.Context, err error) {
	a.mu.Lock()
	before := a.err
	if err == nil {
		a.exchanges++
	} else if ctx.Err() == nil && !errors.Is(err, Overtaken) {
		a.failures++
	}
	if !errors.Is(err, Overtaken) && ctx.Err() == nil {
		a.err = err
	}
	after := a.err
	a.mu.Unlock()
	switch {
	case after != nil && (before == nil || before.Error() != after.Error()):
		a.x.log.Warn("fleet: peer does not answer", "pop", a.peer.POP, "err", after)
	case after == nil && before != nil:
		a.x.log.Info("fleet: peer answers again", "pop", a.peer.POP)
	}
}

func (a *asker) report(r *PeerReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.URL, r.RTT, r.Exchanges, r.Failures = a.peer.URL, a.rtt, a.exchanges, a.failures
	if a.err != nil {
		r.Error = a.err.Error()
	}
}

// ask is one exchange. What the peer is told was made after asked.
func (a *asker) ask(ctx context.Context, sink Sink) error {
	ctx, cancel := context.WithTimeout(ctx, a.x.cfg.Timeout)
	defer cancel()
	a.mu.Lock()
	with := a.takes
	a.mu.Unlock()
	asked := time.Now()
	body, err := a.x.speak(ctx, a.peer.POP, with, sink)
	if err != nil {
		return err
	}
	sent := time.Now()
	reply, err := a.post(ctx, body)
	if err != nil {
		return err
	}
	at := time.Now()
	m, err := decode(reply)
	if err != nil {
		a.x.refused.add(Malformed)
		return fmt.Errorf("peer %s: %w", a.peer.POP, err)
	}
	if m.From != a.peer.POP || m.To != a.x.cfg.POP {
		a.x.refused.add(WrongPOP)
		return fmt.Errorf("peer %s: %s answers as %s to %s: %w", a.peer.POP, a.url, m.From, m.To, WrongPOP)
	}
	if err := sink(Answered{Message: m, Asked: asked, At: at, Told: with.about && a.x.cfg.About != nil}); err != nil {
		return fmt.Errorf("peer %s: answer %w", a.peer.POP, a.x.refuse(err))
	}
	a.mu.Lock()
	a.asked, a.rtt = asked, at.Sub(sent)
	a.mu.Unlock()
	return nil
}

// post sends a question and returns the proved body of the reply.
func (a *asker) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", a.peer.POP, err)
	}
	nonce := newNonce()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(nonceHeader, nonce)
	req.Header.Set(reasonsHeader, "yes")
	if a.x.cfg.Load != nil && a.x.cfg.Load() != nil {
		req.Header.Set(loadHeader, "yes")
	}
	if a.x.cfg.About != nil {
		req.Header.Set(aboutHeader, "yes")
	}
	req.Header.Set(macHeader, a.x.cfg.Secrets.sign(kindAsk, req.Method, nonce, body))
	// A kept connection that a restarted peer no longer knows is no failure:
	// the same question may be sent again, on a new one.
	req.Header["Idempotency-Key"] = nil
	res, err := a.x.client.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) {
			err = where.Err // the URL is said beside it, wherever this is shown
		}
		return nil, fmt.Errorf("peer %s: %w", a.peer.POP, err)
	}
	defer res.Body.Close()
	a.mu.Lock()
	ok := res.StatusCode == http.StatusOK
	a.takes = takes{reasons: ok && res.Header.Get(reasonsHeader) != "", about: ok && res.Header.Get(aboutHeader) != ""}
	a.mu.Unlock()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, fmt.Errorf("peer %s: %s answers %s: %q", a.peer.POP, a.url, res.Status, bytes.TrimSpace(said))
	}
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("peer %s: %w", a.peer.POP, err)
	case len(reply) > maxBody:
		return nil, fmt.Errorf("peer %s: answer %w", a.peer.POP, a.x.refuse(TooLarge))
	case !a.x.cfg.Secrets.verify(res.Header.Get(macHeader), kindReply, req.Method, nonce, reply):
		return nil, fmt.Errorf("peer %s: answer without our secret's proof: %w", a.peer.POP, a.x.refuse(Forged))
	}
	return reply, nil
}
