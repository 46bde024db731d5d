package core

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lifetimes. Certificates begin an hour early: clocks of new POPs are off.
const (
	caLife      = 10 * 365 * 24 * time.Hour
	DefaultLife = 90 * 24 * time.Hour // of a POP's certificate; renew it at two thirds
	early       = time.Hour
)

// CA is the fleet's own certificate authority: one POP keeps it in its state
// directory. It says who is who among members and POPs, nothing else trusts
// it. Its directory is a secret; back it up.
type CA struct {
	dir string
	mu  sync.Mutex
	now caState
}

// caState is the content of ca.json, which is written whole or not at all.
type caState struct {
	Keys    [][]byte  `json:"keys"`   // PKCS #8, of each certificate
	Certs   [][]byte  `json:"certs"`  // DER; the first is the one in use, the others were and are still trusted
	Number  int64     `json:"number"` // of the last revocation list or bundle
	Revoked []Revoked `json:"revoked,omitempty"`
	Issued  []issued  `json:"issued,omitempty"` // that have not run out, so that they can be revoked by name
}

// issued is a certificate that the authority made.
type issued struct {
	Serial string    `json:"serial"` // hexadecimal
	Name   string    `json:"name"`
	Until  time.Time `json:"until"`
}

// Revoked is one entry of the revocation list.
type Revoked struct {
	Serial string    `json:"serial"` // hexadecimal
	At     time.Time `json:"at"`
	Write
}

// OpenCA opens the authority of a directory, and makes it where there is none.
func OpenCA(dir, fleet string) (*CA, error) {
	ca := &CA{dir: dir}
	b, err := os.ReadFile(ca.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return ca, ca.make(fleet)
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, &ca.now); err != nil {
		return nil, fail(Corrupt, "%s: %v", ca.path(), err)
	}
	_, _, err = ca.now.signer(0)
	return ca, err
}

func (ca *CA) path() string { return filepath.Join(ca.dir, "ca.json") }

// make starts a new key and certificate; former certificates stay trusted.
func (ca *CA) make(fleet string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "catchment " + fleet, Organization: []string{"catchment"}},
		NotBefore: now.Add(-early), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	next := ca.now
	next.Keys, next.Certs = append([][]byte{pkcs8}, next.Keys...), append([][]byte{der}, next.Certs...)
	return ca.save(next)
}

func (ca *CA) save(next caState) error {
	next.Number++
	return ca.keep(next)
}

// keep writes what nobody else has to know.
func (ca *CA) keep(next caState) error {
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := replaceFile(ca.path(), b); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	ca.now = next
	return nil
}

// signer is the certificate and the key of the i-th; 0 is in use.
func (s caState) signer(i int) (*x509.Certificate, crypto.Signer, error) {
	if i >= len(s.Certs) || len(s.Keys) != len(s.Certs) {
		return nil, nil, fail(Corrupt, "certificate authority without a certificate")
	}
	cert, err := x509.ParseCertificate(s.Certs[i])
	if err != nil {
		return nil, nil, fail(Corrupt, "certificate authority: %v", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(s.Keys[i])
	if err != nil {
		return nil, nil, fail(Corrupt, "certificate authority: %v", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, nil, fail(Corrupt, "certificate authority: its key cannot sign")
	}
	return cert, signer, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
}

// Fingerprint is the SHA-256 of the authority's certificate in use.
func (ca *CA) Fingerprint() [sha256.Size]byte {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return sha256.Sum256(ca.now.Certs[0])
}

// Subject is who a certificate is for.
type Subject struct {
	Name  string   `json:"name"`            // the POP's or member's
	Hosts []string `json:"hosts,omitempty"` // addresses and DNS names others reach it by
	// Voter: it may speak the protocol of members. What a POP that only joined
	// has opens no connection to a member.
	Voter bool `json:"voter,omitempty"`
	// Address is where a voter will be as a member, host:port. It is not in
	// the certificate.
	Address string `json:"address,omitempty"`
}

// voterName is the DNS name in a voter's certificate that members ask of each
// other; it never resolves.
const voterName = "voter.core.catchment.invalid"

func (s Subject) check() error {
	if err := (Key{KindMember, s.Name}).check(); err != nil {
		return err
	}
	for _, h := range s.Hosts {
		if strings.EqualFold(h, voterName) {
			return fail(Denied, "%q is not a name of a host", h)
		}
		if _, err := netip.ParseAddr(h); err != nil && (h == "" || len(h) > 253 || strings.ContainsAny(h, "*/: \x00")) {
			return fail(Invalid, "%q is no address and no name of a host", h)
		}
	}
	return nil
}

// Issue certifies a public key for a subject, as server and as client.
// life 0 means DefaultLife. The result is PEM.
func (ca *CA) Issue(pub crypto.PublicKey, s Subject, life time.Duration) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if life <= 0 {
		life = DefaultLife
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	parent, key, err := ca.now.signer(0)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.Name, Organization: []string{"catchment"}},
		NotBefore: now.Add(-early), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range s.Hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, a.AsSlice())
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	if s.Voter {
		tmpl.DNSNames = append(tmpl.DNSNames, voterName)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}
	next := ca.now
	next.Issued = append(slices.DeleteFunc(slices.Clone(next.Issued), func(i issued) bool { return i.Until.Before(now) }),
		issued{serial.Text(16), s.Name, now.Add(life).UTC().Truncate(time.Second)})
	if err := ca.keep(next); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// subjectOf is the subject a certificate was issued for.
func subjectOf(c *x509.Certificate) Subject {
	s := Subject{Name: c.Subject.CommonName}
	for _, h := range c.DNSNames {
		if h == voterName {
			s.Voter = true
		} else {
			s.Hosts = append(s.Hosts, h)
		}
	}
	for _, ip := range c.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	return s
}

// Revoke puts a certificate on the list for good. Trust has to be published
// before others know; connections that are open stay open, so a member that
// is not trusted any more has to be removed as well.
func (ca *CA) Revoke(w Write, serial *big.Int) error {
	if err := w.check(); err != nil {
		return err
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	_, err := ca.revoke(w, serial.Text(16))
	return err
}

// RevokeName does so with all that the authority has issued under a name and
// that have not run out, and returns how many were still good.
func (ca *CA) RevokeName(w Write, name string) (int, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var serials []string
	for _, i := range ca.now.Issued {
		if i.Name == name && i.Until.After(time.Now()) {
			serials = append(serials, i.Serial)
		}
	}
	return ca.revoke(w, serials...)
}

// revoke puts serials on the list that are not there yet, and counts them.
func (ca *CA) revoke(w Write, serials ...string) (n int, err error) {
	next := ca.now
	next.Revoked = slices.Clone(next.Revoked)
	for _, s := range serials {
		if !slices.ContainsFunc(next.Revoked, func(r Revoked) bool { return r.Serial == s }) {
			next.Revoked = append(next.Revoked, Revoked{s, time.Now().UTC(), w})
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, ca.save(next)
}

// Rotate makes a new key and certificate; what the old one signed stays valid
// until Forget. In between, publish Trust and let every POP renew.
func (ca *CA) Rotate(fleet string) error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.make(fleet)
}

// Forget ends trust in all former certificates of the authority.
func (ca *CA) Forget() error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	next := ca.now
	next.Certs, next.Keys = next.Certs[:1], next.Keys[:1]
	return ca.save(next)
}

// crl is the revocation list, DER, signed by the certificate in use.
func (s caState) crl() ([]byte, error) {
	cert, key, err := s.signer(0)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.RevocationList{Number: big.NewInt(s.Number), ThisUpdate: time.Now().Add(-early), NextUpdate: cert.NotAfter}
	for _, r := range s.Revoked {
		n, ok := new(big.Int).SetString(r.Serial, 16)
		if !ok {
			return nil, fail(Corrupt, "revoked serial %q", r.Serial)
		}
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: r.At})
	}
	return x509.CreateRevocationList(rand.Reader, tmpl, cert, key)
}

func (s caState) bundle() []byte {
	var b bytes.Buffer
	for _, der := range s.Certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.Bytes()
}

// NewKey makes a key for a certificate and returns it with its PEM form.
func NewKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Serial is a certificate's serial number as Revoke wants it and people write it.
func Serial(text string) (*big.Int, error) {
	n, ok := new(big.Int).SetString(strings.ReplaceAll(text, ":", ""), 16)
	if !ok || n.Sign() <= 0 {
		return nil, fail(Invalid, "serial number %q: want hexadecimal digits", text)
	}
	return n, nil
}

// replaceFile writes a secret file whole or not at all.
func replaceFile(path string, b []byte) error {
	var salt [6]byte
	rand.Read(salt[:])
	part := path + "." + hex.EncodeToString(salt[:])
	defer os.Remove(part)
	if err := writeSynced(part, bytes.NewReader(b)); err != nil {
		return err
	}
	return os.Rename(part, path)
}
