package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CertFile names a certificate chain and its key, both PEM.
type CertFile struct {
	Cert, Key string
}

// Certs chooses certificates by the name that clients ask for (RFC 6066 §3): exact, then one-label wildcard, then the
// first. A change is seen by the next handshake; connections go on.
type Certs struct {
	now   atomic.Pointer[certSet]
	mu    sync.Mutex // one change at a time
	extra []tls.Certificate
}

type certSet struct {
	byName map[string]*tls.Certificate
	first  *tls.Certificate
}

// errNoCert fails a handshake when nothing was loaded.
var errNoCert = errors.New("front: no certificate")

// Load reads all files and, when every one is good, uses them from now on instead of those before. Certificates given to
// Add stay behind them.
func (c *Certs) Load(files []CertFile) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []tls.Certificate
	for _, f := range files {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return fmt.Errorf("certificate %s: %w", f.Cert, err)
		}
		list = append(list, cert)
	}
	return c.use(append(list, c.extra...))
}

// Add uses certificates from memory beside those loaded.
func (c *Certs) Add(certs ...tls.Certificate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []tls.Certificate
	if s := c.now.Load(); s != nil {
		seen := make(map[*tls.Certificate]bool)
		list, seen[s.first] = append(list, *s.first), true
		for _, v := range s.byName {
			if !seen[v] {
				list, seen[v] = append(list, *v), true
			}
		}
	}
	c.extra = append(c.extra, certs...)
	return c.use(append(list, certs...))
}

func (c *Certs) use(list []tls.Certificate) error {
	if len(list) == 0 {
		return errNoCert
	}
	s := &certSet{byName: make(map[string]*tls.Certificate), first: &list[0]}
	for i := range list {
		leaf := list[i].Leaf
		if leaf == nil {
			var err error
			if leaf, err = x509.ParseCertificate(list[i].Certificate[0]); err != nil {
				return fmt.Errorf("certificate: %w", err)
			}
			list[i].Leaf = leaf
		}
		names := leaf.DNSNames
		if len(names) == 0 && len(leaf.IPAddresses) == 0 {
			names = []string{leaf.Subject.CommonName}
		}
		for _, n := range names {
			n = strings.ToLower(n)
			if s.byName[n] == nil {
				s.byName[n] = &list[i]
			}
		}
	}
	c.now.Store(s)
	return nil
}

// get is tls.Config.GetCertificate.
func (c *Certs) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := c.now.Load()
	if s == nil {
		return nil, errNoCert
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if v := s.byName[name]; v != nil {
		return v, nil
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		if v := s.byName["*."+rest]; v != nil {
			return v, nil
		}
	}
	return s.first, nil
}

// Certs is where the certificates are loaded and reloaded.
func (f *Front) Certs() *Certs { return &f.certs }

// SetTicketKeys sets the keys of TLS session tickets, newest first (RFC 8446 §4.6.1): POPs that share them resume one
// another's sessions. Old keys still open tickets, the first seals new ones. At least one is needed.
func (f *Front) SetTicketKeys(keys [][32]byte) error {
	if len(keys) == 0 {
		return errors.New("front: no ticket key")
	}
	f.tlsConf.SetSessionTicketKeys(keys)
	if f.h3 != nil {
		f.h3.conf.SetSessionTicketKeys(keys)
	}
	return nil
}

// newTLS makes the configuration for TCP.
func (f *Front) newTLS() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: f.certs.get, NextProtos: []string{"http/1.1"},
		DynamicRecordSizingDisabled: true,
	}
	if f.opts.HTTP2 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	return c
}

// handshake does the TLS handshake of a new connection. false: the connection has ended.
func (c *Conn) handshake() bool {
	f := c.front
	t := tls.Server(c.sock, f.tlsConf)
	c.stream = t
	if d := f.opts.Limits.HandshakeTime; d > 0 {
		c.sock.SetDeadline(time.Now().Add(d))
	}
	err := t.HandshakeContext(context.Background())
	if err != nil {
		f.stats.badHandshakes.Add(1)
		f.log.Debug("TLS handshake", "client", c.remote, "err", err)
		plainHTTP(err)
		c.finish()
		return false
	}
	f.stats.handshakes.Add(1)
	c.sock.SetDeadline(time.Time{})
	return true
}

// plainHTTP tells a client that spoke HTTP without TLS so.
func plainHTTP(err error) {
	var h tls.RecordHeaderError
	if !errors.As(err, &h) || h.Conn == nil {
		return
	}
	switch string(h.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		h.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
	}
}

// SelfSigned makes a certificate for the names and addresses, valid for a day, signed by itself: for tests and labs.
func SelfSigned(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "catchment"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// EncodePEM gives chain and key of a certificate as PEM, as Certs.Load reads them.
func EncodePEM(cert tls.Certificate) (chain, key []byte, err error) {
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate key: %w", err)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
