package fleet

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Handler answers peers' questions at /v1/exchange. What the asker says of
// itself is in the sink before our own status is made.
func (x *Exchange) Handler(sink Sink) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /"+exchangePath, func(w http.ResponseWriter, r *http.Request) {
		select {
		case x.busy <- struct{}{}:
			defer func() { <-x.busy }()
		default:
			http.Error(w, "too many questions at once", http.StatusServiceUnavailable)
			return
		}
		x.answer(w, r, sink)
	})
	if x.cfg.Aside != nil {
		mux.HandleFunc("POST /"+asidePath, x.answerAside)
	}
	return mux
}

func (x *Exchange) answer(w http.ResponseWriter, r *http.Request, sink Sink) {
	nonce := r.Header.Get(nonceHeader)
	m, err := x.question(w, r, nonce)
	if err == nil {
		err = x.refuse(sink(AskedUs{Message: m, At: time.Now()}))
	}
	if errors.Is(err, Overtaken) {
		err = nil // we know more of the asker already: the answer stands on that
	}
	if err != nil {
		x.log.Debug("fleet: question refused", "remote", r.RemoteAddr, "from", m.From, "err", err)
		http.Error(w, explain(err), httpStatus(err))
		return
	}
	body, err := x.speak(r.Context(), m.From, takes{reasons: r.Header.Get(reasonsHeader) != "", load: r.Header.Get(loadHeader) != "", about: r.Header.Get(aboutHeader) != ""}, sink)
	if err != nil {
		x.log.Warn("fleet: cannot answer", "pop", m.From, "err", err)
		http.Error(w, "own status cannot be had", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(reasonsHeader, "yes")
	if x.cfg.About != nil {
		w.Header().Set(aboutHeader, "yes")
	}
	w.Header().Set(macHeader, x.cfg.Secrets.sign(kindReply, r.Method, nonce, body))
	_, _ = w.Write(body) // an asker that is gone asks again
}

// question reads, proves and decodes what was asked, in this order: nothing is
// parsed that was not signed.
func (x *Exchange) question(w http.ResponseWriter, r *http.Request, nonce string) (Message, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return Message{}, x.refuse(TooLarge)
	case err != nil:
		return Message{}, err
	case !validNonce(nonce) || !x.cfg.Secrets.verify(r.Header.Get(macHeader), kindAsk, r.Method, nonce, body):
		return Message{}, x.refuse(Forged)
	}
	m, err := decode(body)
	if err != nil {
		x.refused.add(Malformed)
		return Message{}, errors.Join(Malformed, err)
	}
	if m.To != x.cfg.POP || m.From == x.cfg.POP {
		return m, x.refuse(WrongPOP)
	}
	return m, nil
}

// explain tells the asker what to mend. A stranger learns nothing.
func explain(err error) string {
	switch {
	case errors.Is(err, Forged):
		return "no proof by a secret of ours"
	case errors.Is(err, UnknownPOP):
		return "your POP is not in our fleet.peers"
	case errors.Is(err, WrongPOP):
		return "this is another POP than you ask for, or two POPs have one name"
	}
	return err.Error()
}

func httpStatus(err error) int {
	switch {
	case errors.Is(err, Forged):
		return http.StatusUnauthorized
	case errors.Is(err, UnknownPOP):
		return http.StatusForbidden
	case errors.Is(err, WrongPOP), errors.Is(err, Replayed):
		return http.StatusConflict
	case errors.Is(err, TooLarge):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}
