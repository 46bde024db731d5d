package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/catchment/catchment/pop/api"
)

// remote says where a daemon of another host is, and with which certificate
// it is asked. The flags are named as the stock gobgp client's.
type remote struct {
	address       string // host:port of its api.listen; empty: the daemon of this host
	ca, cert, key string // files, PEM
}

func (r *remote) addFlags(flags *pflag.FlagSet, env func(string) string) {
	flags.StringVar(&r.address, "address", env("CATCHMENT_ADDRESS"), "`HOST:PORT` of a daemon elsewhere (its api.listen), by mutual TLS (or CATCHMENT_ADDRESS)")
	flags.StringVar(&r.ca, "tls-ca-file", "", "with --address: who signed the daemon's certificate; default: whom this host trusts")
	flags.StringVar(&r.cert, "tls-client-cert-file", "", "with --address: our certificate")
	flags.StringVar(&r.key, "tls-client-key-file", "", "with --address: its key")
}

// client makes the connection to the daemon that the flags name.
func (a *app) client() (*api.Client, error) {
	r := a.remote
	if r.address == "" {
		if r.ca != "" || r.cert != "" || r.key != "" {
			return nil, usagef("--tls-ca-file, --tls-client-cert-file and --tls-client-key-file are for --address")
		}
		return api.NewClient(a.socket), nil
	}
	if r.cert == "" || r.key == "" {
		return nil, usagef("--address %s: the daemon wants to see a certificate: --tls-client-cert-file and --tls-client-key-file", r.address)
	}
	pair, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-client-cert-file %s, --tls-client-key-file %s: %w", r.cert, r.key, err)
	}
	t := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		text, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca-file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-ca-file %s holds no certificate", r.ca)
		}
	}
	return api.NewRemoteClient(r.address, t), nil
}

// withClient runs f with a connection to the daemon.
func (a *app) withClient(f func(*api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}
