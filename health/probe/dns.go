package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/health"
)

// dnsCheck sends one query and judges the reply to it. A truncated reply over
// UDP is judged as it is: ask by tcp where the answer is large.
type dnsCheck struct {
	dialer
	network string
	address string
	name    string
	qtype   uint16
	rcode   int
	answer  string
	flags   []string
}

func newDNS(c Config) health.Checker {
	d := &dnsCheck{
		dialer: newDialer(c), network: c.Transport, address: c.Address, name: dns.Fqdn(c.Query),
		qtype: dns.TypeA, rcode: dns.RcodeSuccess, answer: c.Answer,
	}
	if c.QType != "" {
		d.qtype = dns.StringToType[strings.ToUpper(c.QType)]
	}
	if c.RCode != "" {
		d.rcode = dns.StringToRcode[strings.ToUpper(c.RCode)]
	}
	for _, f := range c.Flags {
		d.flags = append(d.flags, strings.ToLower(f))
	}
	if d.network == "" {
		d.network = "udp"
	}
	host, port, err := splitAddress(c.Address, DNS)
	if err == nil {
		d.address = net.JoinHostPort(host, port)
	}
	return d
}

// splitAddress is net.SplitHostPort, with port 53 for a DNS server without one.
func splitAddress(address string, t Type) (host, port string, err error) {
	if t == DNS {
		bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
		if _, err := netip.ParseAddr(bare); err == nil {
			return bare, "53", nil
		}
		if !strings.Contains(address, ":") {
			return address, "53", nil
		}
	}
	return net.SplitHostPort(address)
}

func (d *dnsCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	conn, err := d.dial(ctx, d.network, d.address)
	if err != nil {
		return d.judge(ctx, err)
	}
	defer conn.Close()
	defer bind(ctx, conn)()
	q := new(dns.Msg)
	q.SetQuestion(d.name, d.qtype)
	q.SetEdns0(1232, false)
	q.AuthenticatedData = true // ask for the bit without asking for signatures
	c := &dns.Conn{Conn: conn, UDPSize: 1232}
	if err := c.WriteMsg(q); err != nil {
		return d.judge(ctx, peerError(conn, err))
	}
	reply, err := d.read(c, q)
	if err != nil {
		return d.judge(ctx, peerError(conn, err))
	}
	return d.reply(started, reply)
}

// read returns the reply to q. Datagrams that are none are passed over: an
// error in one of them proves nothing about the server.
func (d *dnsCheck) read(c *dns.Conn, q *dns.Msg) (*dns.Msg, error) {
	for {
		m, err := c.ReadMsg()
		switch {
		case err != nil && (m == nil || d.network == "tcp" || m.Id == q.Id):
			return nil, err
		case err != nil || m.Id != q.Id || !m.Response:
			continue
		}
		if len(m.Question) == 1 && strings.EqualFold(m.Question[0].Name, d.name) && m.Question[0].Qtype == d.qtype {
			return m, nil
		}
		if len(m.Question) == 0 && m.Rcode != dns.RcodeSuccess { // FORMERR may leave it out
			return m, nil
		}
	}
}

func (d *dnsCheck) reply(started time.Time, m *dns.Msg) health.Result {
	rcode := dns.RcodeToString[m.Rcode]
	if m.Rcode != d.rcode {
		return fail("%s, want %s", rcode, dns.RcodeToString[d.rcode])
	}
	set := map[string]bool{"aa": m.Authoritative, "ad": m.AuthenticatedData, "ra": m.RecursionAvailable}
	for _, f := range d.flags {
		if !set[f] {
			return fail("%s without flag %s", rcode, f)
		}
	}
	detail := fmt.Sprintf("%s, %d answers", rcode, len(m.Answer))
	if d.answer == "" {
		return d.pass(started, detail)
	}
	for _, rr := range m.Answer {
		if text := strings.TrimPrefix(rr.String(), rr.Header().String()); strings.Contains(text, d.answer) {
			return d.pass(started, detail)
		}
	}
	return fail("%s, none has %q", detail, d.answer)
}
