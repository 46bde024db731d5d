package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	maxName   = 255

	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagCD = 1 << 4

	rcodeDrop = -1 // no answer at all
)

// request is a message that asks something. It points into the message.
type request struct {
	msg      []byte
	flags    uint16
	question []byte // name, type and class as they stand in the message; empty if there is no question
	typ      uint16
	class    uint16
	wire     [maxName]byte // the name in lower case
	nameLen  int

	edns    bool
	version uint8
	do      bool
	size    uint16 // UDP payload that the client takes
	nsid    bool
	alive   bool // edns-tcp-keepalive (RFC 7828)

	subnet    bool
	family    uint16
	source    uint8
	client    netip.Addr // of the subnet; invalid for family 0
	cookie    []byte     // the option's data, nil without
	signed    bool       // the last record is a TSIG
	authority bool       // there are records of the authority section (IXFR)
}

// name is the wire name in lower case.
func (r *request) name() []byte { return r.wire[:r.nameLen] }

// parse reads a message strictly. The code returned is 0, the code of an error
// to answer with, or rcodeDrop. On errors r has what was read before.
func (r *request) parse(msg []byte) int {
	*r = request{msg: msg}
	if len(msg) < headerLen {
		return rcodeDrop
	}
	r.flags = binary.BigEndian.Uint16(msg[2:])
	if r.flags&flagQR != 0 {
		return rcodeDrop
	}
	if r.flags>>11&15 != dns.OpcodeQuery {
		return dns.RcodeNotImplemented
	}
	qd, an := binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:])
	ns, ar := binary.BigEndian.Uint16(msg[8:]), binary.BigEndian.Uint16(msg[10:])
	if qd > 1 || an != 0 || ns > 1 || ar > 3 {
		return dns.RcodeFormatError
	}
	off := headerLen
	if qd == 1 {
		if off = r.parseQuestion(); off < 0 {
			return dns.RcodeFormatError
		}
	}
	r.authority = ns > 0
	if r.authority && (qd == 0 || r.typ != dns.TypeIXFR) {
		return dns.RcodeFormatError
	}
	for i := range int(ns) + int(ar) {
		var code int
		if off, code = r.parseRecord(off, i >= int(ns)); code != 0 {
			return code
		}
	}
	if off != len(msg) || qd == 0 && r.cookie == nil {
		return dns.RcodeFormatError // RFC 7873 §5.4: no question only for a cookie
	}
	if r.version != 0 {
		return dns.RcodeBadVers
	}
	return dns.RcodeSuccess
}

// parseQuestion returns where the question ends, -1 for a bad one. A name here
// has nothing before it to point to.
func (r *request) parseQuestion() int {
	msg, off := r.msg, headerLen
	for {
		if off >= len(msg) {
			return -1
		}
		n := int(msg[off])
		if n == 0 {
			break
		}
		if n > 63 || off+1+n >= len(msg) || off+1+n-headerLen >= maxName {
			return -1
		}
		off += 1 + n
	}
	off++
	if off+4 > len(msg) {
		return -1
	}
	r.nameLen = off - headerLen
	for i, c := range msg[headerLen:off] {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		r.wire[i] = c
	}
	r.typ, r.class = binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	r.question = msg[headerLen : off+4]
	return off + 4
}

// parseRecord reads one record after the question; only OPT and TSIG mean
// something here. TSIG ends the message (RFC 8945 §5.1).
func (r *request) parseRecord(off int, additional bool) (int, int) {
	msg := r.msg
	owner := off
	off = skipName(msg, off)
	if off < 0 || off+10 > len(msg) || r.signed {
		return 0, dns.RcodeFormatError
	}
	typ, class := binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	ttl := binary.BigEndian.Uint32(msg[off+4:])
	end := off + 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	if end > len(msg) {
		return 0, dns.RcodeFormatError
	}
	switch typ {
	case dns.TypeOPT:
		if !additional || r.edns || msg[owner] != 0 {
			return 0, dns.RcodeFormatError
		}
		r.edns = true
		r.size, r.version, r.do = class, uint8(ttl>>16), ttl&(1<<15) != 0
		if r.version == 0 && !r.options(msg[off+10:end]) {
			return 0, dns.RcodeFormatError
		}
	case dns.TypeTSIG:
		if !additional {
			return 0, dns.RcodeFormatError
		}
		r.signed = true
	}
	return end, 0
}

// skipName returns where a name ends, -1 for a bad one.
func skipName(msg []byte, off int) int {
	for off < len(msg) {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			if off+2 > len(msg) {
				return -1
			}
			return off + 2
		case n > 63:
			return -1
		}
		off += 1 + n
	}
	return -1
}

// options reads the options of OPT that we know; others are passed over (RFC
// 6891 §6.1.2). Of options that come twice the first counts, but two client
// subnets are an error.
func (r *request) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return false
		}
		data := b[4 : 4+n]
		b = b[4+n:]
		switch code {
		case dns.EDNS0SUBNET:
			if r.subnet || !r.parseSubnet(data) {
				return false
			}
		case dns.EDNS0COOKIE:
			if n != 8 && (n < 16 || n > 40) {
				return false // RFC 7873 §5.2.2
			}
			if r.cookie == nil {
				r.cookie = data
			}
		case dns.EDNS0NSID:
			r.nsid = true
		case dns.EDNS0TCPKEEPALIVE:
			r.alive = true
		}
	}
	return true
}

// parseSubnet reads a client subnet as strictly as RFC 7871 §6 and §7.1.2
// say: scope 0, as many octets as the prefix needs, no bit after it.
func (r *request) parseSubnet(b []byte) bool {
	if len(b) < 4 || b[3] != 0 {
		return false
	}
	r.family, r.source = binary.BigEndian.Uint16(b), b[2]
	b = b[4:]
	var full [16]byte
	width := 0
	switch r.family {
	case 0: // what dig sends for 0/0
	case 1:
		width = 4
	case 2:
		width = 16
	default:
		return false
	}
	if int(r.source) > 8*width || len(b) != (int(r.source)+7)/8 {
		return false
	}
	if rest := r.source % 8; rest != 0 && b[len(b)-1]<<rest != 0 {
		return false
	}
	copy(full[:], b)
	switch width {
	case 4:
		r.client = netip.AddrFrom4([4]byte(full[:4]))
	case 16:
		r.client = netip.AddrFrom16(full)
	}
	r.subnet = true
	return true
}
