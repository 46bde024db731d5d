package dns

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// extra is what the OPT record of an answer says beside the fixed part.
type extra struct {
	rcode   int    // 12 bits
	scope   uint8  // of the client subnet
	ede     uint16 // info code (RFC 8914), or noEDE
	edeText string
}

const noEDE = 0xffff // a private code that nobody uses

// appendOPT appends the OPT record of an answer (RFC 6891). It must be counted
// by the caller.
func (w *worker) appendOPT(b []byte, r *request, x *extra) []byte {
	b = append(b, 0, 0, byte(dns.TypeOPT))
	b = binary.BigEndian.AppendUint16(b, uint16(w.srv.opt.Limits.UDPSize))
	b = append(b, byte(x.rcode>>4), 0)
	var z uint16
	if r.do {
		z = 1 << 15
	}
	b = binary.BigEndian.AppendUint16(b, z)
	at := len(b)
	b = append(b, 0, 0)
	if r.subnet {
		b = appendSubnet(b, r, x.scope)
	}
	if r.cookie != nil {
		b = append(b, 0, dns.EDNS0COOKIE, 0, cookieLen)
		b = makeCookie(b, r.cookie, w.from.Addr(), w.second, &w.srv.secrets[0])
	}
	if r.nsid && w.srv.opt.Identity != "" {
		b = binary.BigEndian.AppendUint16(append(b, 0, dns.EDNS0NSID), uint16(len(w.srv.opt.Identity)))
		b = append(b, w.srv.opt.Identity...)
	}
	if r.alive && !w.udp {
		b = append(b, 0, dns.EDNS0TCPKEEPALIVE, 0, 2)
		b = binary.BigEndian.AppendUint16(b, uint16(min(w.srv.opt.Limits.IdleTime.Milliseconds()/100, 65535)))
	}
	if x.ede != noEDE {
		b = binary.BigEndian.AppendUint16(append(b, 0, dns.EDNS0EDE), uint16(2+len(x.edeText)))
		b = binary.BigEndian.AppendUint16(b, x.ede)
		b = append(b, x.edeText...)
	}
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}

// appendSubnet gives the client subnet back as it came, with the scope (RFC
// 7871 §7.2.1).
func appendSubnet(b []byte, r *request, scope uint8) []byte {
	n := (int(r.source) + 7) / 8
	b = append(b, 0, dns.EDNS0SUBNET, 0, byte(4+n))
	b = binary.BigEndian.AppendUint16(b, r.family)
	b = append(b, r.source, scope)
	switch r.family {
	case 1:
		a := r.client.As4()
		b = append(b, a[:n]...)
	case 2:
		a := r.client.As16()
		b = append(b, a[:n]...)
	}
	return b
}
