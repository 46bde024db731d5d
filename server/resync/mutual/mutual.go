// Package mutual is TLS between the POPs of a fleet (RFC 8446): each side
// shows a certificate of the fleet's authority, whose common name is the name
// of its POP, and is believed by that alone, wherever it is.
//
// It owns nothing: the files are read again for each connection, so that a new
// certificate, a new authority or a revocation counts from the next one on.
package mutual

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Files are those of a POP's certificate, in PEM; Revoked is a list in DER and
// may be empty, or not there yet.
type Files struct{ Certificate, Key, CA, Revoked string }

// Server is the side that is called. It asks for a certificate of a POP.
func (f Files) Server() (*tls.Config, error) {
	return f.config(x509.ExtKeyUsageClientAuth)
}

// Client is the side that calls.
func (f Files) Client() (*tls.Config, error) {
	return f.config(x509.ExtKeyUsageServerAuth)
}

// Of checks that they can be read and are those of a POP, of this day.
func (f Files) Of(pop string, now time.Time) error {
	conf, err := f.Server()
	if err != nil {
		return err
	}
	leaf := conf.Certificates[0].Leaf
	switch {
	case leaf.Subject.CommonName != pop:
		return fmt.Errorf("certificate: %s is that of %q, and this POP is %s", f.Certificate, leaf.Subject.CommonName, pop)
	case now.After(leaf.NotAfter):
		return fmt.Errorf("certificate: %s ended at %s", f.Certificate, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// config is that of either side. usage is what the other side's certificate
// has to be for. The usual checks are replaced by our own: a POP is known by
// its name, not by its address.
func (f Files) config(usage x509.ExtKeyUsage) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	revoked, err := f.revoked()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert,
		InsecureSkipVerify: true, SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("no certificate")
			}
			return verify(cs.PeerCertificates, roots, revoked, usage)
		},
	}, nil
}

// verify judges a chain that the other side shows, its own first.
func verify(chain []*x509.Certificate, roots *x509.CertPool, revoked *x509.RevocationList, usage x509.ExtKeyUsage) error {
	own, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}
	if _, err := own.Verify(o); err != nil {
		return fmt.Errorf("%q is not of our fleet: %w", own.Subject.CommonName, err)
	}
	if revoked == nil {
		return nil
	}
	if slices.ContainsFunc(revoked.RevokedCertificateEntries, func(r x509.RevocationListEntry) bool { return r.SerialNumber.Cmp(own.SerialNumber) == 0 }) {
		return fmt.Errorf("certificate %x of %q is revoked", own.SerialNumber, own.Subject.CommonName)
	}
	return nil
}

func (f Files) roots() (*x509.CertPool, error) {
	bundle, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("authority: no certificate in %s", f.CA)
	}
	return roots, nil
}

func (f Files) revoked() (*x509.RevocationList, error) {
	if f.Revoked == "" {
		return nil, nil
	}
	der, err := os.ReadFile(f.Revoked)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("revoked: %w", err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("revoked: %s: %w", f.Revoked, err)
	}
	return list, nil
}

// Name is the POP at the other end of a connection that config has verified.
func Name(cs tls.ConnectionState) (string, error) {
	if len(cs.PeerCertificates) == 0 || cs.PeerCertificates[0].Subject.CommonName == "" {
		return "", errors.New("a certificate without a name")
	}
	return cs.PeerCertificates[0].Subject.CommonName, nil
}
