package core

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
)

// Client is how a POP that is no member connects to those that are: it shows
// its certificate, and believes whoever has a voter's of the fleet. The files
// are read at each handshake.
func (f Files) Client() (*tls.Config, error) {
	if _, err := f.pair(nil); err != nil {
		return nil, fail(Invalid, "%w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, GetClientCertificate: f.pair,
		InsecureSkipVerify: true, // VerifyConnection does it: members are known by what they are, not where
		VerifyConnection:   func(cs tls.ConnectionState) error { return f.voter(cs.PeerCertificates) },
	}, nil
}

func (f Files) pair(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	return &c, err
}

// voter holds if the chain is of a member whose certificate counts now.
func (f Files) voter(chain []*x509.Certificate) error {
	bundle, err := os.ReadFile(f.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: voterName}); err != nil {
		return fail(Denied, "whoever answers is no member of our core: %w", err)
	}
	return f.unrevoked(chain[0])
}

// unrevoked holds for what is not on the list, or where there is none.
func (f Files) unrevoked(c *x509.Certificate) error {
	if f.CRL == "" {
		return nil
	}
	der, err := os.ReadFile(f.CRL)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fail(Corrupt, "%s: %w", f.CRL, err)
	}
	for _, r := range list.RevokedCertificateEntries {
		if r.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return fail(Denied, "certificate %x of %s is revoked", c.SerialNumber, c.Subject.CommonName)
		}
	}
	return nil
}
