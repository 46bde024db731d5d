package fleet

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestHandlerRefuses: what is not proved, not for us or not a message.
func TestHandlerRefuses(t *testing.T) {
	good := Message{From: "FRA", To: "LON", Boot: "b", Sequence: 1, Slices: []Claim{up(web4)}}
	for _, tc := range []struct {
		name   string
		change func(*Message)
		forge  func(r *http.Request)
		body   string
		status int
		why    Refusal
	}{
		{name: "good", status: 200},
		{name: "no proof", forge: func(r *http.Request) { r.Header.Del(macHeader) }, status: 401, why: Forged},
		{name: "proof of another secret", forge: func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.Header.Set(macHeader, Secrets{[]byte("another secret, as long")}.sign(kindAsk, "POST", r.Header.Get(nonceHeader), body))
		}, status: 401, why: Forged},
		{name: "proof of a reply", forge: func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.Header.Set(macHeader, secret.sign(kindReply, "POST", r.Header.Get(nonceHeader), body))
		}, status: 401, why: Forged},
		{name: "another nonce", forge: func(r *http.Request) { r.Header.Set(nonceHeader, newNonce()) }, status: 401, why: Forged},
		{name: "another body", forge: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }, status: 401, why: Forged},
		{name: "not JSON", body: "hello", status: 400, why: Malformed},
		{name: "unknown field", body: `{"from":"FRA","to":"LON","boot":"b","sequence":1,"slices":[],"x":1}`, status: 400, why: Malformed},
		{name: "two objects", body: `{"from":"FRA","to":"LON","boot":"b","sequence":1,"slices":[]}{}`, status: 400, why: Malformed},
		{name: "host bits", body: `{"from":"FRA","to":"LON","boot":"b","sequence":1,"slices":[{"slice":"192.0.2.1/24","stance":{"action":"announce"},"verdict":"up"}]}`, status: 400, why: Malformed},
		{name: "no prefix", body: `{"from":"FRA","to":"LON","boot":"b","sequence":1,"slices":[{"slice":"","stance":{"action":"announce"},"verdict":"up"}]}`, status: 400, why: Malformed},
		{name: "not for us", change: func(m *Message) { m.To = "AMS" }, status: 409, why: WrongPOP},
		{name: "our own name", change: func(m *Message) { m.From = "LON" }, status: 409, why: WrongPOP},
		{name: "a stranger", change: func(m *Message) { m.From = "XXX" }, status: 403, why: UnknownPOP},
		{name: "too large", body: strings.Repeat(" ", maxBody+1), status: 413, why: TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newNode(t, "LON", "FRA")
			m := good
			if tc.change != nil {
				tc.change(&m)
			}
			body := tc.body
			if body == "" {
				body = string(encode(t, m))
			}
			r := signed(body)
			if tc.forge != nil {
				tc.forge(r)
			}
			w := httptest.NewRecorder()
			f.exchange.Handler(f.take).ServeHTTP(w, r)
			if w.Code != tc.status {
				t.Errorf("status %d (%s), want %d", w.Code, w.Body, tc.status)
			}
			n := f.Refused()
			if tc.why != "" && n[tc.why] != 1 || tc.why == "" && len(n) != 0 {
				t.Errorf("refused %v, want %s", n, tc.why)
			}
			if got := len(f.View(time.Now()).Peers[0].Slices); (tc.status == 200) != (got == 1) {
				t.Errorf("%d slices known", got)
			}
		})
	}
}

// TestReplayIsHarmless: recorded questions, sent again, change nothing.
func TestReplayIsHarmless(t *testing.T) {
	f := newNode(t, "LON", "FRA")
	h := f.exchange.Handler(f.take)
	send := func(seq uint64, c Claim) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, signed(string(encode(t, Message{From: "FRA", To: "LON", Boot: "b", Sequence: seq, Slices: []Claim{c}}))))
		return w.Code
	}
	send(1, up(web4))
	send(2, down(web4))
	before := fmt.Sprint(f.View(t0))
	if code := send(1, up(web4)); code != 200 {
		t.Errorf("an overtaken question is answered, got %d", code)
	}
	if after := fmt.Sprint(f.View(t0)); before != after {
		t.Errorf("replay changed %s to %s", before, after)
	}
	if n := f.Refused()[Overtaken]; n != 1 {
		t.Errorf("%d counted", n)
	}
}

// TestAskerRefuses: replies that are not bound to the question, or come from
// another POP.
func TestAskerRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply func(nonce string) (proof string, body []byte)
		why   Refusal
	}{
		{"no proof", func(string) (string, []byte) { return "", []byte("{}") }, Forged},
		{"another nonce", func(string) (string, []byte) {
			b := encode(t, Message{From: "FRA", To: "LON", Boot: "b", Sequence: 1})
			return secret.sign(kindReply, "POST", newNonce(), b), b
		}, Forged},
		{"our own question back", func(nonce string) (string, []byte) {
			b := encode(t, Message{From: "FRA", To: "LON", Boot: "b", Sequence: 1})
			return secret.sign(kindAsk, "POST", nonce, b), b
		}, Forged},
		{"another POP", func(nonce string) (string, []byte) {
			b := encode(t, Message{From: "AMS", To: "LON", Boot: "b", Sequence: 1})
			return secret.sign(kindReply, "POST", nonce, b), b
		}, WrongPOP},
		{"garbage", func(nonce string) (string, []byte) {
			return secret.sign(kindReply, "POST", nonce, []byte("garbage")), []byte("garbage")
		}, Malformed},
		{"endless", func(nonce string) (string, []byte) { return "", make([]byte, maxBody+1) }, TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newNode(t, "LON", "FRA")
			f.exchange.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				proof, body := tc.reply(r.Header.Get(nonceHeader))
				w.Header().Set(macHeader, proof)
				w.Write(body)
				return w.Result(), nil
			})
			if err := f.exchange.askers[0].ask(t.Context(), f.take); err == nil || f.Refused()[tc.why] != 1 {
				t.Errorf("err %v, refused %v, want %s", err, f.Refused(), tc.why)
			}
			if v := f.View(time.Now()).Peers[0]; !v.Heard.IsZero() {
				t.Errorf("believed: %+v", v)
			}
		})
	}
}
