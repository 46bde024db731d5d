package config

import (
	"net"
	"net/netip"
)

// remoteAPI checks who may reach the API by TCP: beyond this host only those
// who show a certificate.
func (b *builder) remoteAPI() {
	r := b.raw.API
	b.listen("api.gobgp-listen", r.GoBGPListen)
	b.listen("api.listen", r.Listen)
	b.out.API = API{
		Socket: r.Socket, Group: r.Group, GoBGPSocket: r.GoBGPSocket, GoBGPListen: r.GoBGPListen,
		GoBGPChange: r.GoBGPChange, Listen: r.Listen, TLS: b.tls(),
	}
	switch {
	case b.out.API.TLS != nil:
		if r.GoBGPChange {
			b.refuse("api.gobgp-change", "has no meaning with api.tls: name the certificates that may change things in api.tls.change")
		}
		return
	case r.Listen != "":
		b.refuse("api.listen", "%q needs api.tls: certificate, key and client-ca", r.Listen)
	case beyondLoopback(r.GoBGPListen):
		b.refuse("api.gobgp-listen", "%q is beyond loopback, where anybody could ask: it needs api.tls (certificate, key and client-ca); "+
			"the stock client then takes --tls, --tls-ca-file, --tls-client-cert-file and --tls-client-key-file", r.GoBGPListen)
	}
}

// tls checks the files of mutual TLS; nil where none is named.
func (b *builder) tls() *TLS {
	r := b.raw.API.TLS
	if r.Certificate == "" && r.Key == "" && r.ClientCA == "" {
		if len(r.Change) > 0 {
			b.refuse("api.tls.change", "has no meaning without api.tls.certificate, key and client-ca")
		}
		return nil
	}
	whole := true
	for _, f := range []struct{ path, file string }{
		{"api.tls.certificate", r.Certificate}, {"api.tls.key", r.Key}, {"api.tls.client-ca", r.ClientCA},
	} {
		if f.file == "" {
			b.refuse(f.path, "not set: mutual TLS needs certificate, key and client-ca")
			whole = false
			continue
		}
		b.absolute(f.path, f.file)
	}
	if !whole {
		return nil
	}
	return &TLS{Certificate: r.Certificate, Key: r.Key, ClientCA: r.ClientCA, Change: r.Change}
}

// tlsFiles has the files judged by whoever will use them.
func (b *builder) tlsFiles(o Options) {
	if b.out.API.TLS == nil || o.TLS == nil {
		return
	}
	if err := o.TLS(*b.out.API.TLS); err != nil {
		b.refuse("api.tls", "%v", err)
	}
}

// beyondLoopback reports whether a host:port is reached from other hosts, too.
func beyondLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err != nil || !a.IsLoopback()
}
