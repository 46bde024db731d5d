package zone

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Key signs a zone: one P-256 key (RFC 6605) for all records, itself too.
type Key struct {
	DNSKEY *dns.DNSKEY
	signer crypto.Signer
}

// NewKey makes a key for a zone.
func NewKey(apex string) (*Key, error) {
	_, canonical, err := Wire(apex)
	if err != nil {
		return nil, err
	}
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: canonical, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	priv, err := k.Generate(256)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", apex, err)
	}
	return &Key{k, priv.(*ecdsa.PrivateKey)}, nil
}

// ReadKey reads a key as dnssec-keygen and [Key.Write] leave it: base.key and
// base.private.
func ReadKey(base string) (*Key, error) {
	pub, err := os.ReadFile(base + ".key")
	if err != nil {
		return nil, err
	}
	rr, err := dns.NewRR(string(pub))
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", base, err)
	}
	k, ok := rr.(*dns.DNSKEY)
	if !ok || k.Algorithm != dns.ECDSAP256SHA256 || k.Flags&dns.ZONE == 0 {
		return nil, fmt.Errorf("%s.key: not a zone key of ECDSAP256SHA256", base)
	}
	f, err := os.Open(base + ".private")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	priv, err := k.ReadPrivateKey(io.LimitReader(f, 1<<16), base+".private")
	if err != nil {
		return nil, fmt.Errorf("%s.private: %w", base, err)
	}
	signer, ok := priv.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s.private: not a P-256 key", base)
	}
	_, k.Hdr.Name, err = Wire(k.Hdr.Name)
	return &Key{k, signer}, err
}

// Write leaves the key in folder dir, named as dnssec-keygen does, and returns
// the base of both files' names.
func (k *Key) Write(dir string) (string, error) {
	base := filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", k.DNSKEY.Hdr.Name, k.DNSKEY.Algorithm, k.DNSKEY.KeyTag()))
	err := os.WriteFile(base+".private", []byte(k.DNSKEY.PrivateKeyString(k.signer)), 0o600)
	if err == nil {
		err = os.WriteFile(base+".key", []byte(k.DNSKEY.String()+"\n"), 0o644)
	}
	return base, err
}

// DS is the record that the parent zone must have.
func (k *Key) DS() *dns.DS { return k.DNSKEY.ToDS(dns.SHA256) }

// Epoch is when signatures were made: they are all made anew when half of
// their life is over. Servers with the same clock are in the same epoch.
type Epoch struct {
	Start time.Time
	Life  time.Duration
}

// DefaultLife is how long a signature is good for.
const DefaultLife = 14 * 24 * time.Hour

// EpochAt returns the epoch of a time; life 0 is [DefaultLife].
func EpochAt(now time.Time, life time.Duration) Epoch {
	if life == 0 {
		life = DefaultLife
	}
	return Epoch{now.Truncate(life / 2), life}
}

// Next is when the next epoch begins.
func (e Epoch) Next() time.Time { return e.Start.Add(e.Life / 2) }

// number counts epochs since 2020; it is added to the serial of the file, so
// that secondaries fetch new signatures. It grows by time only, as long as
// Life stays.
func (e Epoch) number() uint32 {
	if e.Life == 0 {
		return 0
	}
	return uint32(e.Start.Sub(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) / (e.Life / 2))
}

// always signs without chance (RFC 6979): the same records have the same
// signature in each version and at each server of an epoch, so that secondaries
// can be told of differences (RFC 1995), whichever server they ask.
type always struct{ crypto.Signer }

// Sign implements crypto.Signer.
func (s always) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(nil, digest, o)
}

// signer signs the sets of one version.
type signer struct {
	key   *Key
	apex  string
	epoch Epoch
	nsec  []*Set // of the names in Zone.order
	cache sigCache
}

func newSigner(k *Key, apex string, e Epoch) (*signer, error) {
	if k.DNSKEY.Hdr.Name != apex {
		return nil, fmt.Errorf("the key is of %s", k.DNSKEY.Hdr.Name)
	}
	if e.Life <= 0 {
		return nil, errors.New("signing without an epoch")
	}
	return &signer{key: k, apex: apex, epoch: e}, nil
}

// like says whether the same records get the same signature from another.
func (g *signer) like(o *signer) bool {
	return g.epoch.Start.Equal(o.epoch.Start) && g.epoch.Life == o.epoch.Life && g.apex == o.apex && g.key.DNSKEY.String() == o.key.DNSKEY.String()
}

// records are what signing adds to the apex (CDS and CDNSKEY: RFC 7344).
func (g *signer) records(ttl uint32) []dns.RR {
	k := dns.Copy(g.key.DNSKEY).(*dns.DNSKEY)
	k.Hdr.Ttl = ttl
	return []dns.RR{k, k.ToCDNSKEY(), k.ToDS(dns.SHA256).ToCDS()}
}

// chain prepares the NSEC records (RFC 4034 §4). z.order loses glue: it is
// signed by nobody and listed in transfers from the nodes.
func (g *signer) chain(z *Zone) {
	var owners []*Node
	for _, n := range z.order {
		if n.over == nil {
			owners = append(owners, n)
		}
	}
	for i, n := range owners {
		next := owners[(i+1)%len(owners)]
		g.nsec = append(g.nsec, &Set{Type: dns.TypeNSEC, RRs: []dns.RR{z.nsecOf(n, next.name, n.def)}})
	}
	z.order = owners
}

// nsecOf makes the NSEC record of a name. extra are the sets of a dynamic name
// at the moment.
func (z *Zone) nsecOf(n *Node, next string, extra []*Set) *dns.NSEC {
	types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	for _, s := range slices.Concat(n.sets, extra) {
		if !n.cut || s.Type == dns.TypeNS || s.Type == dns.TypeDS {
			types = append(types, s.Type)
		}
	}
	slices.Sort(types)
	return &dns.NSEC{Hdr: dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: z.negTTL},
		NextDomain: next, TypeBitMap: slices.Compact(types)}
}

// sign returns the signature of a set of this version, made at the first call.
func (g *signer) sign(s *Set) *dns.RRSIG {
	if sig := s.sig.Load(); sig != nil {
		return sig
	}
	sig := g.make(s.RRs)
	s.sig.Store(sig)
	return sig
}

func (g *signer) make(rrs []dns.RR) *dns.RRSIG {
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Ttl: rrs[0].Header().Ttl},
		Algorithm: g.key.DNSKEY.Algorithm, KeyTag: g.key.DNSKEY.KeyTag(), SignerName: g.apex,
		Inception:  uint32(g.epoch.Start.Add(-time.Hour).Unix()),
		Expiration: uint32(g.epoch.Start.Add(g.epoch.Life).Unix()),
	}
	if err := sig.Sign(always{g.key.signer}, rrs); err != nil {
		return nil // only for a key that cannot sign, which newSigner's caller has made
	}
	return sig
}

// signFresh returns the signature of a set that was made for one answer, from
// the cache if the same was signed lately.
func (g *signer) signFresh(s *Set) *dns.RRSIG {
	var key strings.Builder
	for _, rr := range s.RRs {
		key.WriteString(rr.String())
		key.WriteByte('\n')
	}
	return g.cache.get(key.String(), func() *dns.RRSIG { return g.make(s.RRs) })
}

// maxSignatures bounds each half of the cache of one zone: about 500 bytes
// each.
const maxSignatures = 8192

// sigCache keeps signatures in two generations: when the young one is full it
// becomes the old one, and what is not asked for is forgotten.
type sigCache struct {
	mu         sync.Mutex
	young, old map[string]*dns.RRSIG
}

func (c *sigCache) get(key string, sign func() *dns.RRSIG) *dns.RRSIG {
	c.mu.Lock()
	sig := c.young[key]
	if sig == nil {
		if sig = c.old[key]; sig != nil {
			c.put(key, sig)
		}
	}
	c.mu.Unlock()
	if sig != nil {
		return sig
	}
	sig = sign()
	c.mu.Lock()
	c.put(key, sig)
	c.mu.Unlock()
	return sig
}

func (c *sigCache) put(key string, sig *dns.RRSIG) {
	if len(c.young) >= maxSignatures || c.young == nil {
		c.old, c.young = c.young, map[string]*dns.RRSIG{}
	}
	c.young[key] = sig
}
