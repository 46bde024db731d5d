package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Query is what a [Chooser] may know of a question.
type Query struct {
	Name     []byte     // the name in wire form, lower case; only good during the call
	Client   netip.Addr // of the client subnet (RFC 7871), masked, or of the resolver; invalid: a zone transfer, which gets the default
	Bits     uint8      // prefix length of Client: the option's, or the whole address
	Subnet   bool       // Client came with the question
	Resolver netip.Addr // who asked; invalid: a zone transfer
	Local    netip.Addr // the address that was asked
	Rand     uint64     // fresh for each question
}

// Choice is what a client gets.
type Choice struct {
	Pool  *Pool  // nil: nothing can be given, the answer is SERVFAIL
	Scope uint8  // all clients in Client/Scope are given the same; 0: everybody is
	Why   string // a fixed text for the client when Pool is nil
}

// Chooser decides for one dynamic name. It is asked by many goroutines at
// once, for each question, and must neither block nor keep the query.
type Chooser interface{ Choose(q *Query) Choice }

// MaxAddresses is how many addresses of a family one answer carries.
const MaxAddresses = 8

// MaxVariants bounds the variants of a pool, so that signatures of a signed
// name are few.
const MaxVariants = 64

// Pool is what one place answers, ready made: for each family some variants of
// which one is taken at random (an address that is in more of them is given
// more often), or a name to go on to. It never changes.
type Pool struct {
	ID   string // for people
	TTL  uint32 // seconds
	Name string // target of a CNAME, absolute; "" if there is none

	v4, v6     [][]netip.Addr
	wire4      [][]byte // records as they stand in a message whose question they answer
	wire6      [][]byte
	target     string // wire form of Name
	wireTarget []byte
}

// NewPool makes a pool; each variant holds 1 to [MaxAddresses] addresses. A
// pool with a name may have addresses too: they are given where a CNAME may
// not stand.
func NewPool(id string, ttl time.Duration, v4, v6 [][]netip.Addr, name string) (*Pool, error) {
	p := &Pool{ID: id, TTL: uint32(ttl / time.Second), v4: v4, v6: v6}
	if ttl < 0 || ttl > 7*24*time.Hour {
		return nil, fmt.Errorf("pool %s: TTL %v", id, ttl)
	}
	var err error
	if p.wire4, err = variants(v4, dns.TypeA, p.TTL); err != nil {
		return nil, fmt.Errorf("pool %s: %w", id, err)
	}
	if p.wire6, err = variants(v6, dns.TypeAAAA, p.TTL); err != nil {
		return nil, fmt.Errorf("pool %s: %w", id, err)
	}
	if name != "" {
		wire, canonical, err := Wire(name)
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", id, err)
		}
		p.Name, p.target = canonical, wire
		p.wireTarget = record(nil, dns.TypeCNAME, p.TTL, []byte(wire))
	}
	if len(v4)+len(v6) == 0 && name == "" {
		return nil, fmt.Errorf("pool %s: empty", id)
	}
	return p, nil
}

// variants builds the wire form of each.
func variants(sets [][]netip.Addr, typ uint16, ttl uint32) ([][]byte, error) {
	if len(sets) > MaxVariants {
		return nil, fmt.Errorf("%d variants, at most %d", len(sets), MaxVariants)
	}
	var out [][]byte
	for _, set := range sets {
		if len(set) == 0 || len(set) > MaxAddresses {
			return nil, fmt.Errorf("%d addresses in a variant, 1 to %d", len(set), MaxAddresses)
		}
		var b []byte
		seen := map[netip.Addr]bool{}
		for _, a := range set {
			if a.Is4() != (typ == dns.TypeA) || a.Is4In6() || a.Zone() != "" || !a.IsValid() {
				return nil, fmt.Errorf("address %v: wrong family", a)
			}
			if seen[a] {
				return nil, fmt.Errorf("address %v twice in a variant", a)
			}
			seen[a] = true
			b = record(b, typ, ttl, a.AsSlice())
		}
		out = append(out, b)
	}
	return out, nil
}

// record appends a record that is owned by the question's name, by a pointer
// to it (RFC 1035 §4.1.4).
func record(b []byte, typ uint16, ttl uint32, rdata []byte) []byte {
	b = append(b, 0xc0, 12)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

// records are the addresses of one variant as records of owner.
func (p *Pool) records(owner string, typ uint16, random uint64) []dns.RR {
	var out []dns.RR
	h := dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET, Ttl: p.TTL}
	switch {
	case typ == dns.TypeA && len(p.v4) > 0:
		for _, a := range p.v4[random%uint64(len(p.v4))] {
			out = append(out, &dns.A{Hdr: h, A: a.AsSlice()})
		}
	case typ == dns.TypeAAAA && len(p.v6) > 0:
		for _, a := range p.v6[random%uint64(len(p.v6))] {
			out = append(out, &dns.AAAA{Hdr: h, AAAA: a.AsSlice()})
		}
	}
	return out
}

// Packed returns the answer to a question for typ as it stands in a message,
// right after the question: the bytes and how many records. No records: there
// are none of the type.
func (p *Pool) Packed(typ uint16, random uint64) ([]byte, int) {
	switch {
	case typ == dns.TypeA && len(p.v4) > 0:
		i := random % uint64(len(p.v4))
		return p.wire4[i], len(p.v4[i])
	case typ == dns.TypeAAAA && len(p.v6) > 0:
		i := random % uint64(len(p.v6))
		return p.wire6[i], len(p.v6[i])
	}
	return nil, 0
}

// PackedName is the CNAME record as [Pool.Packed] gives addresses.
func (p *Pool) PackedName() []byte { return p.wireTarget }

// Target is Name in wire form.
func (p *Pool) Target() string { return p.target }

// Wire returns a name in wire form, lower case, and in canonical presentation
// form. The name must be absolute or is taken to be.
func Wire(name string) (wire, canonical string, err error) {
	var b [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(name), b[:], 0, nil, false)
	if err != nil || n > 255 {
		return "", "", fmt.Errorf("name %q: %w", name, errors.Join(err, tooLong(n)))
	}
	lower(b[:n])
	canonical, _, err = dns.UnpackDomainName(b[:n], 0)
	return string(b[:n]), canonical, err
}

func tooLong(n int) error {
	if n > 255 {
		return errors.New("longer than 255 octets")
	}
	return nil
}

// lower makes ASCII letters of a wire name lower case. Lengths of labels are
// below 'A', so nothing else is touched.
func lower(wire []byte) {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
}
