package dns

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// tsigFudge is how far clocks may differ (RFC 8945 §10).
const tsigFudge = 300

// secret is one TSIG key.
type secret struct{ algorithm, base64 string }

// keyring holds TSIG keys by canonical name.
type keyring map[string]secret

func newKeyring(keys []TSIGKey) (keyring, error) {
	k := keyring{}
	for _, key := range keys {
		algorithm, name, err := key.algorithm()
		if err != nil {
			return nil, err
		}
		probe := new(dns.Msg)
		probe.SetQuestion(".", dns.TypeSOA)
		probe.SetTsig(name, algorithm, tsigFudge, 0)
		if _, _, err := dns.TsigGenerate(probe, key.Secret, "", false); err != nil || key.Secret == "" {
			return nil, fmt.Errorf("key %s: the secret is not base64", name)
		}
		k[name] = secret{algorithm, key.Secret}
	}
	return k, nil
}

// signature is the state of TSIG on one exchange; nil: not signed.
type signature struct {
	key    string // canonical
	secret secret
	mac    string // of the message before
	later  bool   // not the first message of the answer
	err    uint16 // TSIG error to report, 0: verified
	asked  *dns.TSIG
}

// verify checks a message that ends in a TSIG record.
func (k keyring) verify(msg []byte) (*signature, *dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return nil, nil, err
	}
	t := m.IsTsig()
	if t == nil {
		return nil, nil, errors.New("no TSIG at the end")
	}
	g := &signature{key: dns.CanonicalName(t.Hdr.Name), mac: t.MAC, asked: t}
	var ok bool
	if g.secret, ok = k[g.key]; !ok || dns.CanonicalName(t.Algorithm) != g.secret.algorithm {
		g.err = dns.RcodeBadKey
		return g, m, nil
	}
	switch err := dns.TsigVerify(msg, g.secret.base64, "", false); {
	case errors.Is(err, dns.ErrTime):
		g.err = dns.RcodeBadTime
	case err != nil:
		g.err = dns.RcodeBadSig
	}
	return g, m, nil
}

// sign packs a message with its TSIG record; the next one is signed after it.
func (g *signature) sign(m *dns.Msg, now time.Time) ([]byte, error) {
	t := &dns.TSIG{Hdr: dns.RR_Header{Name: g.asked.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: g.asked.Algorithm, TimeSigned: uint64(now.Unix()), Fudge: tsigFudge, OrigId: m.Id, Error: g.err}
	if g.err == dns.RcodeBadTime { // RFC 8945 §5.2.3
		t.TimeSigned = g.asked.TimeSigned
		t.OtherData = fmt.Sprintf("%012x", now.Unix())
		t.OtherLen = 6
	}
	m.Extra = append(m.Extra, t)
	mac := g.mac
	b, next, err := dns.TsigGenerate(m, g.secret.base64, mac, g.later)
	if err != nil {
		return nil, err
	}
	g.mac, g.later = next, true
	return b, nil
}

// slowSigned answers a signed question that is no transfer.
func (w *worker) slowSigned(b []byte) []byte {
	g, _, err := w.srv.keys.verify(w.req.msg)
	if err != nil {
		return w.fail(b, dns.RcodeFormatError)
	}
	if g.err != 0 {
		return w.unverified(b, g)
	}
	m, x, _ := w.reply()
	const room = 400 // for the TSIG record
	plain := w.pack(nil, m, x, w.limit()-room)
	w.count(m.Rcode | x.rcode)
	full := new(dns.Msg)
	if err := full.Unpack(plain); err != nil {
		return w.fail(b, dns.RcodeServerFailure)
	}
	full.Compress = true
	out, err := g.sign(full, time.Now())
	if err != nil {
		return w.fail(b, dns.RcodeServerFailure)
	}
	return append(b, out...)
}

// unverified answers a message whose TSIG is not good (RFC 8945 §5.2).
func (w *worker) unverified(b []byte, g *signature) []byte {
	w.count(dns.RcodeNotAuth)
	m := new(dns.Msg)
	if err := m.Unpack(w.plain(nil, dns.RcodeNotAuth)); err != nil {
		return b
	}
	out, err := g.sign(m, time.Now())
	if err != nil {
		return b
	}
	return append(b, out...)
}
