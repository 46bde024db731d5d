package core

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// gate is an authority and its join server in front of a model core.
type gate struct {
	ca   *CA
	core *Memory
	addr string
}

func newGate(t *testing.T) gate {
	ca, err := OpenCA(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	g := gate{ca: ca, core: NewMemory(Options{Limits: wide})}
	g.addr = serveGate(t, ca, g.core.Core)
	return g
}

func serveGate(t *testing.T, ca *CA, c *Core) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := &JoinServer{CA: ca, Core: c, Name: "LON", Hosts: []string{"127.0.0.1"}}
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func (g gate) token(t *testing.T, s Subject) Token {
	tok, err := g.ca.NewToken(deadline(t), g.core.Core, ann, s, g.addr, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = ParseToken(tok.String()); err != nil {
		t.Fatal(err)
	}
	return tok
}

func someKey(t *testing.T) (crypto.Signer, []byte) {
	key, text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

func leafOf(t *testing.T, w Welcome) *x509.Certificate {
	list, err := certificates(w.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func TestJoinOnce(t *testing.T) {
	g, ctx := newGate(t), deadline(t)
	tok := g.token(t, Subject{Name: "FRA", Hosts: []string{"10.9.0.2", "fra.example"}})
	key, _ := someKey(t)
	w, err := Join(ctx, tok, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, w)
	if w.Name != "FRA" || leaf.Subject.CommonName != "FRA" || len(leaf.DNSNames) != 1 || len(leaf.IPAddresses) != 1 || leaf.IsCA {
		t.Errorf("certificate of %v, %v, %v", leaf.Subject, leaf.DNSNames, leaf.IPAddresses)
	}
	if _, err := Join(ctx, tok, key); err != nil {
		t.Errorf("the answer was lost, the same key asks again: %v", err)
	}
	other, _ := someKey(t)
	if _, err := Join(ctx, tok, other); !errors.Is(err, Denied) {
		t.Errorf("another key with a used token: %v", err)
	}
	var j Joined
	if o, err := g.core.Get(ctx, Key{KindMember, "pop/FRA"}); err != nil || o.Into(&j) != nil || j.Token != tok.ID || o.Who != "pop FRA" {
		t.Errorf("who joined: %+v, %v", j, err)
	}
	s, err := g.core.List(ctx, All(KindToken))
	if err != nil || len(s.Objects) != 1 || strings.Contains(string(s.Objects[0].Value), string(tok.Secret[:])) {
		t.Errorf("at rest: %v, %v", s.Objects, err)
	}
}

func TestJoinRefused(t *testing.T) {
	g, ctx := newGate(t), deadline(t)
	key, _ := someKey(t)
	wrong := g.token(t, Subject{Name: "FRA"})
	wrong.Secret[3]++
	if _, err := Join(ctx, wrong, key); !errors.Is(err, Denied) {
		t.Errorf("wrong secret: %v", err)
	}
	unknown := g.token(t, Subject{Name: "FRA"})
	unknown.ID = "0011223344556677"
	if _, err := Join(ctx, unknown, key); !errors.Is(err, Denied) {
		t.Errorf("unknown token: %v", err)
	}
	foreign := g.token(t, Subject{Name: "FRA"})
	foreign.CA[0]++
	if _, err := Join(ctx, foreign, key); !errors.Is(err, Denied) || !strings.Contains(err.Error(), "not of the fleet") {
		t.Errorf("somebody else answers: %v", err)
	}
	late := g.token(t, Subject{Name: "FRA"})
	o, err := g.core.Get(ctx, tokenKey(late.ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.core.Revoke(ctx, o.Lease); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(ctx, late, key); !errors.Is(err, Denied) {
		t.Errorf("its lease is over: %v", err)
	}
	down := g.token(t, Subject{Name: "FRA"})
	g.core.Fail(errors.New("no quorum"))
	if _, err := Join(ctx, down, key); !errors.Is(err, Unavailable) {
		t.Errorf("without a core: %v", err)
	}
	g.core.Fail(nil)
	if _, err := Join(ctx, down, key); err != nil {
		t.Errorf("the core is back: %v", err)
	}
	for _, s := range []Subject{{Name: ""}, {Name: "X", Hosts: []string{"*.example"}}, {Name: "X", Hosts: []string{""}}, {Name: "X", Hosts: []string{voterName}}, {Name: "X", Hosts: []string{"http://x"}}} {
		if _, err := g.ca.NewToken(ctx, g.core.Core, ann, s, g.addr, time.Hour); err == nil {
			t.Errorf("token for %+v", s)
		}
	}
}

// TestJoinFlood: guessing is slow whatever it guesses.
func TestJoinFlood(t *testing.T) {
	g, ctx := newGate(t), deadline(t)
	tok := g.token(t, Subject{Name: "FRA"})
	tok.Secret[0]++
	key, _ := someKey(t)
	for range 100 {
		if _, err := Join(ctx, tok, key); errors.Is(err, Unavailable) && strings.Contains(err.Error(), "429") {
			return
		}
	}
	t.Error("a hundred guesses in a row were answered")
}

func TestRenewAndRevoke(t *testing.T) {
	g, ctx := newGate(t), deadline(t)
	key, _ := someKey(t)
	w, err := Join(ctx, g.token(t, Subject{Name: "FRA", Hosts: []string{"fra.example"}, Voter: true}), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, w)
	with := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
	fresh, _ := someKey(t)
	again, err := Renew(ctx, g.addr, with, w.Bundle, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if l := leafOf(t, again); l.Subject.CommonName != "FRA" || l.VerifyHostname(voterName) != nil || l.VerifyHostname("fra.example") != nil || l.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
		t.Errorf("renewed: %v %v", l.Subject, l.DNSNames)
	}
	if err := g.ca.Revoke(ann, leaf.SerialNumber); err != nil {
		t.Fatal(err)
	}
	if _, err := Renew(ctx, g.addr, with, w.Bundle, fresh); !errors.Is(err, Denied) {
		t.Errorf("renewal of what is revoked: %v", err)
	}
	for i, want := range []int{1, 0} { // the renewed one, of a name; then none is left
		if n, err := g.ca.RevokeName(ann, "FRA"); err != nil || n != want {
			t.Errorf("%d. by the name: %d, %v", i, n, err)
		}
	}
	with2 := tls.Certificate{Certificate: [][]byte{leafOf(t, again).Raw}, PrivateKey: fresh}
	if _, err := Renew(ctx, g.addr, with2, w.Bundle, fresh); !errors.Is(err, Denied) {
		t.Errorf("renewal of what is revoked by name: %v", err)
	}
	if n, err := g.ca.RevokeName(ann, "NYC"); err != nil || n != 0 {
		t.Errorf("who has none: %d, %v", n, err)
	}
	self, err := OpenCA(t.TempDir(), "another")
	if err != nil {
		t.Fatal(err)
	}
	forged, err := self.Issue(key.Public(), Subject{Name: "FRA"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	with.Certificate = [][]byte{leafOf(t, Welcome{Certificate: forged}).Raw}
	if _, err := Renew(ctx, g.addr, with, w.Bundle, fresh); err == nil {
		t.Error("renewed with a certificate of another authority")
	}
}

// TestTrust: revocations and a rotated authority reach the files of a member,
// a forgery does not, and the authority survives its process.
func TestTrust(t *testing.T) {
	dir, c, ctx := t.TempDir(), NewMemory(Options{}), deadline(t)
	ca, err := OpenCA(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	first, err := ca.Trust()
	if err != nil {
		t.Fatal(err)
	}
	files := Files{CA: filepath.Join(dir, "bundle.pem"), CRL: filepath.Join(dir, "revoked.crl")}
	if err := first.write(files); err != nil {
		t.Fatal(err)
	}
	watch, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- FollowTrust(watch, c.Core, files) }()
	defer func() { cancel(); <-done }()

	evil, err := OpenCA(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := evil.Revoke(ann, mustSerial()); err != nil {
			t.Fatal(err)
		}
	}
	if forged, err := evil.Trust(); err != nil || !errors.Is(forged.Believe(first.Bundle), Denied) {
		t.Errorf("a forgery is believed: %v", err)
	}
	if err := evil.Publish(ctx, c.Core, bob); err != nil {
		t.Fatal(err)
	}
	serial := mustSerial()
	if err := ca.Revoke(ann, serial); err != nil {
		t.Fatal(err)
	}
	if err := ca.Rotate("test"); err != nil {
		t.Fatal(err)
	}
	if ca, err = OpenCA(dir, "test"); err != nil {
		t.Fatal(err)
	}
	if err := ca.Publish(ctx, c.Core, ann); err != nil {
		t.Fatal(err)
	}
	wantCerts(t, files, 2)
	crl, err := os.ReadFile(files.CRL)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(crl)
	if err != nil || len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(serial) != 0 {
		t.Errorf("revoked: %+v, %v", list, err)
	}
	forgotten(t, ca, c, files, first)
}

// forgotten: the former authority does not count any more, also not for a
// member that starts again.
func forgotten(t *testing.T, ca *CA, c *Memory, files Files, first Trust) {
	ctx := deadline(t)
	if err := ca.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := ca.Publish(ctx, c.Core, ann); err != nil {
		t.Fatal(err)
	}
	wantCerts(t, files, 1)
	if err := first.Believe(mustRead(t, files.CA)); !errors.Is(err, Denied) {
		t.Errorf("the forgotten authority is believed: %v", err)
	}
	if now, err := ca.Trust(); err != nil || files.number() != now.Number {
		t.Errorf("number %d on disk, %d in force: %v", files.number(), now.Number, err)
	}
}

func wantCerts(t *testing.T, f Files, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		list, err := certificates(mustRead(t, f.CA))
		if err == nil && len(list) == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d certificates in the bundle, want %d: %v", len(list), n, err)
		}
		lapse.Of(t.Context(), 5*time.Millisecond)
	}
}

func mustRead(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParseToken(f *testing.F) {
	f.Add(Token{ID: "0011223344556677", Addr: "10.0.0.1:7001"}.String())
	f.Add(Token{ID: "0011223344556677", Addr: "[2001:db8::1]:7001"}.String())
	f.Add("cj1.@")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		if tok.String() != strings.TrimSpace(s) {
			t.Errorf("%q is parsed and written as %q", s, tok)
		}
	})
}
