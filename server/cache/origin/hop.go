package origin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
)

// hopField marks requests between cache servers of ours: a list (RFC 9651) of
// the nodes a request has gone through, oldest first, for instance
//
//	Catchment-Hop: "LON-b";pop="LON";tier=peer;scheme=https;for="192.0.2.7";mac=:...:
//
// mac, on the last one, is HMAC-SHA-256 under the fleet's secret over method,
// host, path with query and the list up to there.
const hopField = "Catchment-Hop"

// maxHops is the longest way through cache servers; longer is a circle.
const maxHops = 8

// Identity is who this cache server is to others.
type Identity struct {
	// Node is unique in the fleet; POP is the POP's name.
	Node, POP string
	// CDN is our name in CDN-Loop (RFC 8586) and Via, a token or host name, equal
	// in the whole fleet; "catchment" if empty.
	CDN string
	// Secret signs and proves our mark. Without one it is believed from Trusted only.
	Secret []byte
	// Trusted are the networks of our own cache servers.
	Trusted []netip.Prefix
}

// Hop is what our mark on an incoming request says. The zero Hop is a request of
// a client.
type Hop struct {
	// Tier is Peer if a server of our POP asks us as the key's owner, Parent if
	// one of another POP asks us as its parent, Origin if it is a client's.
	Tier Tier
	// Scheme and Client are those of the client's request.
	Scheme string
	Client netip.Addr
	// Nodes and POPs are those gone through, oldest first.
	Nodes, POPs []string
}

func (id *Identity) cdn() string {
	if id.CDN == "" {
		return "catchment"
	}
	return id.CDN
}

// ReadHop reads our mark on a request from remote. A mark that is not proved is
// as if it were not there; h keeps it, but it never goes on. The error is of
// kind Loop, if the request has been at this node (or as a parent's, in this
// POP) before, by our mark or by CDN-Loop (RFC 8586).
func (id *Identity) ReadHop(h http.Header, method, host, uri string, remote netip.Addr) (Hop, error) {
	if id.looped(h) {
		return Hop{}, id.loopError("CDN-Loop names this node")
	}
	field := h[hopField]
	if len(field) == 0 {
		return Hop{}, nil
	}
	list, err := httpsfv.UnmarshalList(field)
	if err != nil || len(list) == 0 || len(list) > 4*maxHops {
		return Hop{}, nil
	}
	out, mac, err := parseHops(list)
	if err != nil || !id.proved(list, mac, method, host, uri, remote) {
		return Hop{}, nil
	}
	switch {
	case len(out.Nodes) >= maxHops:
		return Hop{}, id.loopError("too many hops")
	case slices.Contains(out.Nodes, id.Node):
		return Hop{}, id.loopError(fmt.Sprintf("it came by %s", strings.Join(out.Nodes, ", ")))
	case out.Tier == Parent && id.POP != "" && slices.Contains(out.POPs, id.POP):
		return Hop{}, id.loopError(fmt.Sprintf("it came by POP %s", strings.Join(out.POPs, ", ")))
	}
	return out, nil
}

func (id *Identity) loopError(why string) error {
	return &Error{Kind: KindLoop, Upstream: id.Node, Err: errors.New(why)}
}

func parseHops(list httpsfv.List) (Hop, []byte, error) {
	var out Hop
	var mac []byte
	bad := errors.New("not a hop")
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		node, isString := item.Value.(string)
		if !ok || !isString || node == "" {
			return out, nil, bad
		}
		tier, _ := item.Params.Get("tier")
		switch tier {
		case httpsfv.Token("peer"):
			out.Tier = Peer
		case httpsfv.Token("parent"):
			out.Tier = Parent
		default:
			return out, nil, bad
		}
		pop, _ := item.Params.Get("pop")
		scheme, _ := item.Params.Get("scheme")
		client, _ := item.Params.Get("for")
		proof, _ := item.Params.Get("mac")
		popName, _ := pop.(string)
		out.Nodes, out.POPs = append(out.Nodes, node), append(out.POPs, popName)
		switch scheme {
		case httpsfv.Token("http"), httpsfv.Token("https"):
			out.Scheme = string(scheme.(httpsfv.Token))
		default:
			return out, nil, bad
		}
		out.Client = netip.Addr{}
		if s, ok := client.(string); ok {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return out, nil, bad
			}
			out.Client = addr
		}
		mac, _ = proof.([]byte)
	}
	return out, mac, nil
}

// proved tells whether list may be believed.
func (id *Identity) proved(list httpsfv.List, mac []byte, method, host, uri string, remote netip.Addr) bool {
	if len(id.Secret) > 0 {
		last := list[len(list)-1].(httpsfv.Item)
		last.Params.Del("mac")
		text, err := httpsfv.Marshal(list)
		return err == nil && hmac.Equal(mac, id.mac(method, host, uri, text))
	}
	remote = remote.Unmap()
	return slices.ContainsFunc(id.Trusted, func(p netip.Prefix) bool { return p.Contains(remote) })
}

func (id *Identity) mac(method, host, uri, list string) []byte {
	m := hmac.New(sha256.New, id.Secret)
	// Each part is on its own line: none of them can hold a line's end.
	fmt.Fprintf(m, "catchment-hop-1\n%s\n%s\n%s\n%s\n", method, strings.ToLower(host), uri, list)
	return m.Sum(nil)
}

// mark writes our mark for a request that goes to a server of tier.
func (id *Identity) mark(h http.Header, r *Request, tier Tier, host, uri string) {
	delete(h, hopField)
	if tier == Origin {
		return
	}
	var b strings.Builder
	for i, node := range r.Hop.Nodes {
		writeHop(&b, node, r.Hop.POPs[i], r.Hop.Tier.String(), "http", netip.Addr{})
		b.WriteString(", ")
	}
	writeHop(&b, id.Node, id.POP, tier.String(), r.scheme(), r.client())
	text := b.String()
	if len(id.Secret) > 0 {
		text += ";mac=:" + base64.StdEncoding.EncodeToString(id.mac(r.Method, host, uri, text)) + ":"
	}
	h[hopField] = []string{text}
}

func writeHop(b *strings.Builder, node, pop, tier, scheme string, client netip.Addr) {
	fmt.Fprintf(b, `%s;pop=%s;tier=%s;scheme=%s`, sfString(node), sfString(pop), tier, scheme)
	if client.IsValid() {
		fmt.Fprintf(b, `;for=%s`, sfString(client.Unmap().WithZone("").String()))
	}
}

// sfString is s as a string of RFC 9651 §4.1.6; what cannot be in one is "?".
func sfString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c < 0x20 || c > 0x7e:
			b.WriteByte('?')
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// looped tells whether CDN-Loop has this node of this CDN already, or this CDN
// more often than the longest way through it.
func (id *Identity) looped(h http.Header) bool {
	ours := 0
	for _, v := range h["Cdn-Loop"] {
		for e := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(e, ";")
			if !strings.EqualFold(strings.Trim(name, " \t"), id.cdn()) {
				continue
			}
			ours++
			for p := range strings.SplitSeq(params, ";") {
				if strings.Trim(p, " \t") == "node="+quoteIfNeeded(id.Node) {
					return true
				}
			}
		}
	}
	return ours >= maxHops
}

// sign adds CDN-Loop (RFC 8586 §2) and Via (RFC 9110 §7.6.3).
func (id *Identity) sign(h http.Header, noVia bool, proto string) {
	appendList(h, "Cdn-Loop", id.cdn()+"; node="+quoteIfNeeded(id.Node))
	if !noVia {
		appendList(h, "Via", proto+" "+id.cdn())
	}
}
