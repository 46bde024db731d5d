package core

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Welcome is what a POP gets that joined or renewed: PEM but for the list.
type Welcome struct {
	Name        string `json:"name"`
	Certificate []byte `json:"certificate"`
	Bundle      []byte `json:"bundle"`
	CRL         []byte `json:"crl"` // DER
	// Fleet says what the daemon needs next; this package only carries it.
	Fleet json.RawMessage `json:"fleet,omitempty"`
}

type joinRequest struct {
	Token  string `json:"token,omitempty"`
	Secret []byte `json:"secret,omitempty"`
	CSR    []byte `json:"csr"` // DER
}

// JoinServer answers POPs that join with a token and POPs that renew their
// certificates. It is the one service of the core that strangers reach.
type JoinServer struct {
	CA    *CA
	Core  *Core
	Name  string   // of the POP it runs in
	Hosts []string // its addresses
	Life  time.Duration
	// Fleet makes what Welcome carries for who was let in; nil: nothing. After
	// an error the same key may ask again.
	Fleet func(context.Context, Subject) (json.RawMessage, error)
}

const (
	joinPath, renewPath = "/v1/join", "/v1/renew"
	maxJoin             = 16 << 10
	joinRate            = 5 // a second, of all askers together: a secret is not for guessing, a core not for flooding
)

// Serve answers on a listener until ctx ends, and closes it.
func (j *JoinServer) Serve(ctx context.Context, l net.Listener) error {
	cfg, err := j.tls()
	if err != nil {
		l.Close()
		return about(err, "join", "")
	}
	mux := http.NewServeMux()
	rates := newThrottle(Limits{Rate: joinRate, Burst: 20, Writer: 4})
	mux.HandleFunc("POST "+joinPath, func(w http.ResponseWriter, r *http.Request) { j.answer(w, r, rates, j.join) })
	mux.HandleFunc("POST "+renewPath, func(w http.ResponseWriter, r *http.Request) { j.answer(w, r, rates, j.renew) })
	srv := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog:    slog.NewLogLogger(j.Core.opt.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(tls.NewListener(l, cfg)) }()
	select {
	case err := <-done:
		return about(err, "join", "")
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	<-done
	return nil
}

// tls is a server certificate from the authority itself, made anew each time.
func (j *JoinServer) tls() (*tls.Config, error) {
	key, _, err := NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := j.CA.Issue(key.Public(), Subject{Name: j.Name, Hosts: j.Hosts}, caLife)
	if err != nil {
		return nil, err
	}
	trust, err := j.CA.Trust()
	if err != nil {
		return nil, err
	}
	cert := tls.Certificate{PrivateKey: key}
	for _, b := range [][]byte{leaf, trust.Bundle} {
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			cert.Certificate = append(cert.Certificate, block.Bytes)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trust.Bundle)
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}, nil
}

type joinHandler func(r *http.Request, req joinRequest, csr *x509.CertificateRequest) (Subject, error)

func (j *JoinServer) answer(w http.ResponseWriter, r *http.Request, rates *throttle, who joinHandler) {
	if wait, ok := rates.take("all", 1, time.Now()); !ok {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		http.Error(w, "too many ask", http.StatusTooManyRequests)
		return
	}
	got, err := j.welcome(w, r, who)
	if err != nil {
		j.Core.opt.Log.Warn("core: join refused", "from", r.RemoteAddr, "path", r.URL.Path, "err", err)
		status := http.StatusForbidden
		if errors.Is(err, Unavailable) || errors.Is(err, Limited) || errors.Is(err, Full) {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, "refused; the log of the POP that was asked says why", status)
		return
	}
	j.Core.opt.Log.Info("core: certificate issued", "pop", got.Name, "from", r.RemoteAddr, "path", r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(got)
}

func (j *JoinServer) welcome(w http.ResponseWriter, r *http.Request, who joinHandler) (Welcome, error) {
	var req joinRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJoin)).Decode(&req); err != nil {
		return Welcome{}, fail(Invalid, "request: %v", err)
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err == nil {
		err = csr.CheckSignature() // it has the key it wants certified
	}
	if err != nil {
		return Welcome{}, fail(Invalid, "certificate request: %v", err)
	}
	s, err := who(r, req, csr)
	if err != nil {
		return Welcome{}, err
	}
	cert, err := j.CA.Issue(csr.PublicKey, s, j.Life)
	if err != nil {
		return Welcome{}, err
	}
	trust, err := j.CA.Trust()
	if err != nil {
		return Welcome{}, err
	}
	out := Welcome{Name: s.Name, Certificate: cert, Bundle: trust.Bundle, CRL: trust.CRL}
	if j.Fleet != nil {
		if out.Fleet, err = j.Fleet(r.Context(), s); err != nil {
			return Welcome{}, err
		}
	}
	return out, nil
}

// join: what the token says is who it is; names in the request mean nothing.
func (j *JoinServer) join(r *http.Request, req joinRequest, csr *x509.CertificateRequest) (Subject, error) {
	if len(req.Secret) != 32 {
		return Subject{}, fail(Invalid, "secret of %d bytes", len(req.Secret))
	}
	digest := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return redeem(r.Context(), j.Core, req.Token, [32]byte(req.Secret), hex.EncodeToString(digest[:]))
}

// renew: who has a valid certificate gets another for the same names.
func (j *JoinServer) renew(r *http.Request, _ joinRequest, _ *x509.CertificateRequest) (Subject, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Subject{}, fail(Denied, "no certificate")
	}
	leaf := r.TLS.PeerCertificates[0]
	if j.CA.revoked(leaf) {
		return Subject{}, fail(Denied, "certificate %x of %s is revoked", leaf.SerialNumber, leaf.Subject.CommonName)
	}
	return subjectOf(leaf), nil
}

func (ca *CA) revoked(c *x509.Certificate) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	text := c.SerialNumber.Text(16)
	for _, r := range ca.now.Revoked {
		if r.Serial == text {
			return true
		}
	}
	return false
}

// Join asks with a token for a certificate of key. It may be called again
// with the same key while the token lasts, as long as no answer came. Keep
// the key on disk before: the token is used up with it.
func Join(ctx context.Context, t Token, key crypto.Signer) (Welcome, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // the pin is stronger than a name
		VerifyConnection: func(cs tls.ConnectionState) error { return pinned(cs.PeerCertificates, t.CA) },
	}
	req := joinRequest{Token: t.ID, Secret: t.Secret[:]}
	w, err := ask(ctx, cfg, "https://"+t.Addr+joinPath, req, key)
	return w, about(err, "join", t.Addr)
}

// pinned holds if the first certificate was signed by the one with the
// fingerprint, which is among them, and is meant for servers.
func pinned(chain []*x509.Certificate, pin [sha256.Size]byte) error {
	for _, c := range chain {
		if sha256.Sum256(c.Raw) != pin {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	return fail(Denied, "whoever answers is not of the fleet that made the token")
}

// Renew asks for a new certificate, for the same or another key, with one
// that is valid. bundle says whose answer counts.
func Renew(ctx context.Context, addr string, with tls.Certificate, bundle []byte, key crypto.Signer) (Welcome, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return Welcome{}, about(fail(Invalid, "no certificate in the bundle"), "renew", addr)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{with}}
	w, err := ask(ctx, cfg, "https://"+addr+renewPath, joinRequest{}, key)
	return w, about(err, "renew", addr)
}

func ask(ctx context.Context, cfg *tls.Config, url string, req joinRequest, key crypto.Signer) (Welcome, error) {
	var err error
	if req.CSR, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key); err != nil {
		return Welcome{}, fail(Invalid, "%v", err)
	}
	body, err := Marshal(req)
	if err != nil {
		return Welcome{}, err
	}
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Welcome{}, fail(Invalid, "%v", err)
	}
	tr := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Do(hr)
	if err != nil {
		var own *Error
		if errors.As(err, &own) {
			return Welcome{}, own
		}
		return Welcome{}, &Error{Code: Unavailable, Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Welcome{}, &Error{Code: Unavailable, Uncertain: true, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		code := Denied
		if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
			code = Unavailable
		}
		return Welcome{}, fail(code, "%s: %s", resp.Status, bytes.TrimSpace(b))
	}
	var w Welcome
	if err := json.Unmarshal(b, &w); err != nil {
		return Welcome{}, fail(Invalid, "answer: %v", err)
	}
	return w, w.fits(key)
}

// fits checks that the certificate is for the key and from the bundle.
func (w Welcome) fits(key crypto.Signer) error {
	leafs, err := certificates(w.Certificate)
	if err != nil {
		return err
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(leafs[0].PublicKey) {
		return fail(Invalid, "the certificate is for another key")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.Bundle)
	_, err = leafs[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
