package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/catchment/catchment/health"
)

// tlsParams is how TLS is spoken and what is wanted of the certificate.
type tlsParams struct {
	config            *tls.Config
	minDays, warnDays int
}

// newTLSParams reads the CA file. name is verified where the configuration
// names no other.
func newTLSParams(c Config, name string) (*tlsParams, error) {
	if c.ServerName != "" {
		name = c.ServerName
	}
	p := &tlsParams{
		config:  &tls.Config{ServerName: name, InsecureSkipVerify: c.Insecure, MinVersion: tls.VersionTLS12},
		minDays: c.MinDays, warnDays: c.WarnDays,
	}
	if c.CAFile == "" {
		return p, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca-file: %w", err)
	}
	p.config.RootCAs = x509.NewCertPool()
	if !p.config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca-file: no certificate in %s", c.CAFile)
	}
	return p, nil
}

func (p *tlsParams) client(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	c := tls.Client(conn, p.config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return c, nil
}

// expiry judges how long the server's certificate is still valid, by the wall
// clock. Without limits it passes.
func (p *tlsParams) expiry(state tls.ConnectionState) health.Result {
	if p.minDays == 0 && p.warnDays == 0 || len(state.PeerCertificates) == 0 {
		return health.Result{Outcome: health.Pass}
	}
	end := state.PeerCertificates[0].NotAfter
	left := time.Until(end)
	res := health.Result{Outcome: health.Pass,
		Detail: fmt.Sprintf("certificate expires %s, in %d days", end.UTC().Format(time.DateOnly), int(left/(24*time.Hour)))}
	switch {
	case left < time.Duration(p.minDays)*24*time.Hour:
		res.Outcome = health.Fail
	case left < time.Duration(p.warnDays)*24*time.Hour:
		res.Outcome = health.Warn
	}
	return res
}
