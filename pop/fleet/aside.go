package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// What POPs tell each other aside: large, seldom, and nothing that a decision
// about routes depends on (slowness of client networks). It is asked for by a
// question of its own, beside the exchange, so that it delays nobody's word on
// what he announces; the proof is the exchange's, with kinds of its own.
const (
	asidePath      = "v1/aside"
	kindAsideAsk   = "aside-ask"
	kindAsideReply = "aside-reply"

	maxAside       = 32 << 20 // bytes of an answer
	maxAsideAsk    = 4 << 10
	asideAnswering = 2 // at once
	asideTime      = 30 * time.Second
)

// asideAsk is the body of a question.
type asideAsk struct {
	From policy.POPID `json:"from"`
	To   policy.POPID `json:"to"`
	Most int          `json:"most"` // entries that are wanted
}

// answerAside answers a question for what is told aside.
func (x *Exchange) answerAside(w http.ResponseWriter, r *http.Request) {
	select {
	case x.asides <- struct{}{}:
		defer func() { <-x.asides }()
	default:
		http.Error(w, "too many questions at once", http.StatusServiceUnavailable)
		return
	}
	nonce := r.Header.Get(nonceHeader)
	ask, err := x.asideQuestion(w, r, nonce)
	if err != nil {
		x.log.Debug("fleet: question aside refused", "remote", r.RemoteAddr, "err", err)
		http.Error(w, explain(err), httpStatus(err))
		return
	}
	body := x.cfg.Aside(ask.Most)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(asideTime))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(macHeader, x.cfg.Secrets.sign(kindAsideReply, r.Method, nonce, body))
	_, _ = w.Write(body) // an asker that is gone asks again
}

// asideQuestion reads, proves and decodes a question, in this order.
func (x *Exchange) asideQuestion(w http.ResponseWriter, r *http.Request, nonce string) (asideAsk, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsideAsk))
	if err != nil {
		return asideAsk{}, x.refuse(TooLarge)
	}
	if !validNonce(nonce) || !x.cfg.Secrets.verify(r.Header.Get(macHeader), kindAsideAsk, r.Method, nonce, body) {
		return asideAsk{}, x.refuse(Forged)
	}
	var ask asideAsk
	if err := json.Unmarshal(body, &ask); err != nil || ask.Most < 0 {
		x.refused.add(Malformed)
		return ask, errors.Join(Malformed, err)
	}
	switch {
	case ask.To != x.cfg.POP || ask.From == x.cfg.POP:
		return ask, x.refuse(WrongPOP)
	case !slices.ContainsFunc(x.cfg.Peers, func(p Peer) bool { return p.POP == ask.From }):
		return ask, x.refuse(UnknownPOP)
	}
	return ask, nil
}

// Asides are the peers that can be asked aside.
func (f *Fleet) Asides() (out []policy.POPID) {
	for _, p := range f.cfg.Peers {
		out = append(out, p.POP)
	}
	return out
}

// Aside asks a peer for what it tells aside, of so many entries at most. The
// answer is proved to be the peer's to this very question.
func (f *Fleet) Aside(ctx context.Context, pop policy.POPID, most int) ([]byte, error) {
	i := slices.IndexFunc(f.cfg.Peers, func(p Peer) bool { return p.POP == pop })
	if i < 0 || f.exchange == nil {
		return nil, fmt.Errorf("peer %s: it is not in fleet.peers", pop)
	}
	ctx, cancel := context.WithTimeout(ctx, asideTime)
	defer cancel()
	b, err := f.exchange.askAside(ctx, f.cfg.Peers[i], most)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", pop, err)
	}
	return b, nil
}

func (x *Exchange) askAside(ctx context.Context, p Peer, most int) ([]byte, error) {
	body, err := json.Marshal(asideAsk{From: x.cfg.POP, To: p.POP, Most: most})
	if err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(p.URL, "/") + "/" + asidePath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	nonce := newNonce()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(nonceHeader, nonce)
	req.Header.Set(macHeader, x.cfg.Secrets.sign(kindAsideAsk, req.Method, nonce, body))
	res, err := x.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, fmt.Errorf("%s answers %s: %q", url, res.Status, bytes.TrimSpace(said))
	}
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxAside+1))
	switch {
	case err != nil:
		return nil, err
	case len(reply) > maxAside:
		return nil, fmt.Errorf("answer %w", x.refuse(TooLarge))
	case !x.cfg.Secrets.verify(res.Header.Get(macHeader), kindAsideReply, req.Method, nonce, reply):
		return nil, fmt.Errorf("answer without our secret's proof: %w", x.refuse(Forged))
	}
	return reply, nil
}
