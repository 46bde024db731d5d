package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"

	"google.golang.org/grpc/credentials"
)

// Credentials tells who is at the other end of a connection to the gRPC
// server: on a Unix socket by the kernel's word, on TCP by mutual TLS where
// certificates are configured. Plain TCP reads, and changes only where
// api.gobgp-change says so.
func (s *Server) Credentials() credentials.TransportCredentials {
	d := doorman{group: s.opt.Group, plainChange: s.opt.PlainChange}
	if s.certs != nil {
		d.certs = s.certs
		d.tls = credentials.NewTLS(s.certs.config())
	}
	return d
}

type doorman struct {
	group       string
	plainChange bool
	certs       *certificates // nil: no TLS
	tls         credentials.TransportCredentials
}

// authInfo carries the caller to the calls of its connection.
type authInfo struct {
	credentials.CommonAuthInfo
	who caller
}

func (authInfo) AuthType() string { return "catchment" }

func (a authInfo) String() string { return a.who.String() }

func (d doorman) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	safe := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	if u, ok := c.(*net.UnixConn); ok {
		return c, authInfo{safe, processOf(u, d.group)}, nil
	}
	if d.tls == nil {
		none := credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}
		return c, authInfo{none, local{c.RemoteAddr().String(), d.plainChange, "api.gobgp-change"}}, nil
	}
	secured, info, err := d.tls.ServerHandshake(c)
	if err != nil {
		return nil, nil, err
	}
	return secured, authInfo{safe, d.certs.holder(info.(credentials.TLSInfo).State, c.RemoteAddr())}, nil
}

func (d doorman) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, Errorf(Internal, "these credentials are a server's")
}

func (d doorman) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "catchment"}
}

func (d doorman) Clone() credentials.TransportCredentials { return d }

func (d doorman) OverrideServerName(string) error { return nil }

var _ credentials.TransportCredentials = doorman{}

// holder is who a verified connection belongs to.
func (c *certificates) holder(state tls.ConnectionState, from net.Addr) caller {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return stranger{}
	}
	leaf := state.PeerCertificates[0]
	h := holder{changes: c.opt.Change, address: hostOf(from), valid: func() error { return c.verify(state.PeerCertificates) }}
	if leaf.Subject.CommonName != "" {
		h.names = append(h.names, leaf.Subject.CommonName)
	}
	h.names = append(h.names, leaf.DNSNames...)
	h.names = append(h.names, leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		h.names = append(h.names, u.String())
	}
	return h
}

// verify judges a chain by what is in force now.
func (c *certificates) verify(chain []*x509.Certificate) error {
	o := x509.VerifyOptions{
		Roots: c.now().ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range chain[1:] {
		o.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(o)
	return err
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
