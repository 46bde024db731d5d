package relay

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/core"
)

// identity proves who says something, and judges others' proofs.
type identity interface {
	// own returns our certificate, DER, and what signs with its key.
	own() (certificate []byte, sign func(statement []byte) ([]byte, error), err error)
	// check holds if the certificate is of a POP of the fleet, whose name it
	// returns, and its key made the signature.
	check(certificate, statement, signature []byte) (pop string, err error)
}

// signedAs keeps signatures of statements apart from others by the same key.
const signedAs = "catchment relay statement 1\x00"

// remembered is how long a certificate counts before it is judged again.
const remembered = 5 * time.Second

// certificates is identity by the files of the fleet's authority, which are
// read again now and then.
type certificates struct {
	files core.Files
	again time.Duration // remembered, but for tests

	mu     sync.Mutex
	read   time.Time // when mine was
	mine   tls.Certificate
	judged map[[sha256.Size]byte]judgement
}

type judgement struct {
	cert *x509.Certificate
	at   time.Time
}

// mostJudged bounds the certificates remembered.
const mostJudged = 4096

func newCertificates(f core.Files) *certificates {
	return &certificates{files: f, again: remembered, judged: map[[sha256.Size]byte]judgement{}}
}

func (c *certificates) pair() (*tls.Certificate, error) {
	own, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return nil, fmt.Errorf("relay certificate: %w", err)
	}
	return &own, nil
}

func (c *certificates) own() ([]byte, func([]byte) ([]byte, error), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read.IsZero() || time.Since(c.read) > c.again {
		mine, err := c.pair()
		if err != nil {
			return nil, nil, err
		}
		c.mine, c.read = *mine, time.Now()
	}
	key, ok := c.mine.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("relay certificate: its key cannot sign")
	}
	return c.mine.Certificate[0], func(statement []byte) ([]byte, error) { return signed(key, statement) }, nil
}

func signed(key crypto.Signer, statement []byte) ([]byte, error) {
	message := append([]byte(signedAs), statement...)
	if _, plain := key.Public().(ed25519.PublicKey); plain {
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	return key.Sign(rand.Reader, digest[:], crypto.SHA256)
}

func (c *certificates) check(certificate, statement, signature []byte) (string, error) {
	cert, err := c.judge(certificate)
	if err != nil {
		return "", err
	}
	algorithm := x509.ECDSAWithSHA256
	switch cert.PublicKey.(type) {
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSA
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	case *ecdsa.PublicKey:
	default:
		return "", errors.New("a kind of key that signs nothing here")
	}
	err = cert.CheckSignature(algorithm, append([]byte(signedAs), statement...), signature)
	return cert.Subject.CommonName, err
}

// judge reads a certificate that somebody shows and holds it against the
// authority's and its revocations as they are now, or were a moment ago.
func (c *certificates) judge(der []byte) (*x509.Certificate, error) {
	id := sha256.Sum256(der)
	c.mu.Lock()
	j, ok := c.judged[id]
	c.mu.Unlock()
	if ok && time.Since(j.at) < c.again {
		return j.cert, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := c.trust(cert); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.judged) >= mostJudged {
		clear(c.judged)
	}
	c.judged[id] = judgement{cert, time.Now()}
	return cert, nil
}

// trust holds for certificates of the fleet that are valid now.
func (c *certificates) trust(cert *x509.Certificate) error {
	bundle, err := os.ReadFile(c.files.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("%s is not of our fleet: %w", cert.Subject.CommonName, err)
	}
	if c.files.CRL == "" {
		return nil
	}
	der, err := os.ReadFile(c.files.CRL)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("%s: %w", c.files.CRL, err)
	}
	for _, r := range list.RevokedCertificateEntries {
		if r.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return fmt.Errorf("certificate %x of %s is revoked", cert.SerialNumber, cert.Subject.CommonName)
		}
	}
	return nil
}

// whoever is the POP at the other end of a connection.
func (c *certificates) whoever(chain []*x509.Certificate) (string, error) {
	if len(chain) == 0 {
		return "", errors.New("no certificate")
	}
	if err := c.trust(chain[0]); err != nil {
		return "", err
	}
	return chain[0].Subject.CommonName, nil
}

// server and client are the two ends of a connection's TLS. The usual checks
// are replaced by our own, which read the files of now.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair() },
		VerifyConnection: func(cs tls.ConnectionState) error { _, err := c.whoever(cs.PeerCertificates); return err },
	}
}

func (c *certificates) client(parent string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // VerifyConnection does it: a parent is known by its name, not by where it is
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.pair() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			who, err := c.whoever(cs.PeerCertificates)
			if err == nil && who != parent {
				err = fmt.Errorf("%s answers in the place of %s", who, parent)
			}
			return err
		},
	}
}
