package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// DNSStatus is the DNS server as it is now.
type DNSStatus struct {
	POP    policy.POPID `json:"pop"`
	Now    time.Time    `json:"now"`
	Listen []string     `json:"listen"`
	Zones  []DNSZone    `json:"zones"`
	// Names are those that are chosen, as in the configuration.
	Names    []string `json:"names,omitempty"`
	Networks int64    `json:"networks,omitempty"` // ranges of addresses with one location
	POPs     []DNSPOP `json:"pops,omitempty"`
	// Error says why files that have changed are not in force.
	Error string `json:"error,omitempty"`
}

// DNSZone is a zone that is served.
type DNSZone struct {
	Name   string `json:"name"`
	Serial uint32 `json:"serial"`
	Names  int64  `json:"names"`
	Signed bool   `json:"signed,omitempty"`
}

// DNSPOP is a POP as the choice sees it.
type DNSPOP struct {
	POP      policy.POPID   `json:"pop"`
	Name     string         `json:"name,omitempty"` // its unicast name
	Health   policy.Verdict `json:"health"`
	Stance   policy.Action  `json:"stance"`
	Headroom *float64       `json:"headroom,omitempty"` // share of its capacity that is free; nil: not known
	Caches   int64          `json:"caches,omitempty"`
	Down     int64          `json:"caches_down,omitempty"` // of them, by their checks
	// Lends are shares of its clients that are sent to POPs with room reserved.
	Lends []DNSLoan `json:"lends,omitempty"`
}

// DNSLoan is a share of a POP's clients, 0 to 1, that another one gets.
type DNSLoan struct {
	To    policy.POPID `json:"to"`
	Share float64      `json:"share"`
}

// DNSQuestion is one to explain.
type DNSQuestion struct {
	Name     string `json:"name"`
	Client   string `json:"client,omitempty"`   // address or network, as by the client subnet; empty: not told
	Resolver string `json:"resolver,omitempty"` // who asks; empty: the client's address
	Local    string `json:"local,omitempty"`    // the address that is asked; empty: an anycast one
	V6       bool   `json:"v6,omitempty"`       // AAAA, not A
}

// DNSExplanation says how an answer comes about.
type DNSExplanation struct {
	Name      string       `json:"name"`
	POP       policy.POPID `json:"pop"`
	Addresses []string     `json:"addresses,omitempty"`
	Target    string       `json:"target,omitempty"` // of the CNAME
	Scope     int32        `json:"scope"`
	Steps     []DNSStep    `json:"steps"`
}

// DNSStep is one of the steps.
type DNSStep struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// DNS is what operators see of the DNS server.
type DNS interface {
	DNSStatus(context.Context) (DNSStatus, error)
	DNSExplain(context.Context, DNSQuestion) (DNSExplanation, error)
}

func (s *Server) dns() (DNS, error) {
	if s.opt.DNS == nil {
		return nil, Errorf(NotFound, "there is no DNS server here: neither dns.listen nor dns.tls.listen is set in its configuration")
	}
	return s.opt.DNS, nil
}

// handleDNS adds its calls.
func (s *Server) handleDNS(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/dns", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) {
			d, err := s.dns()
			if err != nil {
				return nil, err
			}
			return d.DNSStatus(r.Context())
		})
	})
	mux.HandleFunc("GET /v1/dns/explain", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) {
			d, err := s.dns()
			if err != nil {
				return nil, err
			}
			q, err := dnsQuestion(r.URL.Query())
			if err != nil {
				return nil, err
			}
			return d.DNSExplain(r.Context(), q)
		})
	})
}

func dnsQuestion(v url.Values) (q DNSQuestion, err error) {
	for key, v := range v {
		switch key {
		case "name":
			q.Name = v[0]
		case "client":
			q.Client = v[0]
		case "resolver":
			q.Resolver = v[0]
		case "local":
			q.Local = v[0]
		case "v6":
			q.V6 = v[0] == "true"
		default:
			return q, Errorf(Invalid, "dns: no parameter %q; there are name, client, resolver, local and v6", key)
		}
	}
	for _, a := range []struct{ key, addr string }{{"resolver", q.Resolver}, {"local", q.Local}} {
		if _, err := netip.ParseAddr(a.addr); a.addr != "" && err != nil {
			return q, Errorf(Invalid, "%s %q: want an address", a.key, a.addr)
		}
	}
	if _, err := q.Subnet(); err != nil {
		return q, err
	}
	if strings.TrimSuffix(q.Name, ".") == "" {
		return q, Errorf(Invalid, "name: not set")
	}
	return q, nil
}

// Subnet is the client's network; an address alone counts as its /24 or /56,
// as resolvers tell it. Not valid: it is not told.
func (q *DNSQuestion) Subnet() (netip.Prefix, error) {
	if q.Client == "" {
		return netip.Prefix{}, nil
	}
	if p, err := netip.ParsePrefix(q.Client); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(q.Client)
	if err != nil {
		return netip.Prefix{}, Errorf(Invalid, "client %q: want an address or a network", q.Client)
	}
	bits := 56
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	return a.Prefix(bits)
}

// DNSStatus asks how the DNS server is.
func (c *Client) DNSStatus(ctx context.Context) (DNSStatus, error) {
	return get[DNSStatus](ctx, c, "dns")
}

// DNSExplain asks how an answer comes about.
func (c *Client) DNSExplain(ctx context.Context, q DNSQuestion) (DNSExplanation, error) {
	v := url.Values{"name": {q.Name}}
	for key, s := range map[string]string{"client": q.Client, "resolver": q.Resolver, "local": q.Local} {
		if s != "" {
			v.Set(key, s)
		}
	}
	if q.V6 {
		v.Set("v6", "true")
	}
	return get[DNSExplanation](ctx, c, "dns/explain?"+v.Encode())
}
