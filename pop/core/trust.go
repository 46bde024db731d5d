package core

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"os"
)

// KindTrust holds one object, "fleet": whose certificates count.
const KindTrust Kind = "trust"

var trustKey = Key{KindTrust, "fleet"}

// Trust is the authority's certificates and its revocation list, signed so
// that the core that carries it need not be believed.
type Trust struct {
	Number     int64    `json:"number"`     // grows; an older one is not taken
	Bundle     []byte   `json:"bundle"`     // PEM, the one in use first
	CRL        []byte   `json:"crl"`        // DER
	Signatures [][]byte `json:"signatures"` // by each key of the bundle
}

func (t Trust) digest() []byte {
	h := sha256.New()
	for _, b := range [][]byte{[]byte("catchment trust 1"), binary.BigEndian.AppendUint64(nil, uint64(t.Number)), t.Bundle, t.CRL} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	return h.Sum(nil)
}

// Trust returns what everybody has to know now, signed by the key in use and
// by the former ones: whoever still trusts one of those learns the new one.
func (ca *CA) Trust() (Trust, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	crl, err := ca.now.crl()
	if err != nil {
		return Trust{}, err
	}
	t := Trust{Number: ca.now.Number, Bundle: ca.now.bundle(), CRL: crl}
	for i := range ca.now.Certs {
		_, key, err := ca.now.signer(i)
		if err != nil {
			return Trust{}, err
		}
		sig, err := key.Sign(rand.Reader, t.digest(), crypto.SHA256)
		if err != nil {
			return Trust{}, err
		}
		t.Signatures = append(t.Signatures, sig)
	}
	return t, nil
}

// Publish puts the authority's trust into the core, where FollowTrust of every
// member and POP finds it.
func (ca *CA) Publish(ctx context.Context, c *Core, w Write) error {
	t, err := ca.Trust()
	if err != nil {
		return err
	}
	v, err := Marshal(t)
	if err != nil {
		return err
	}
	_, err = c.Put(ctx, w, trustKey, v, Any)
	return err
}

// certificates reads a PEM bundle; anything else in it is an error.
func certificates(bundle []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(bundle)) > 0 {
		block, rest := pem.Decode(bundle)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fail(Invalid, "not a bundle of certificates")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fail(Invalid, "%v", err)
		}
		out, bundle = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, fail(Invalid, "an empty bundle")
	}
	return out, nil
}

// Believe reports whether trust is signed by a certificate of a bundle that
// is trusted already, and makes sense.
func (t Trust) Believe(bundle []byte) error {
	known, err := certificates(bundle)
	if err != nil {
		return err
	}
	if _, err := certificates(t.Bundle); err != nil {
		return err
	}
	if _, err := x509.ParseRevocationList(t.CRL); err != nil {
		return fail(Invalid, "revocation list: %v", err)
	}
	for _, c := range known {
		pub, ok := c.PublicKey.(*ecdsa.PublicKey)
		for _, sig := range t.Signatures {
			if ok && ecdsa.VerifyASN1(pub, t.digest(), sig) {
				return nil
			}
		}
	}
	return fail(Denied, "signed by nobody we trust")
}

// FollowTrust keeps a member's files up to date with what the authority
// published: the bundle, and the revocation list if files.CRL is given. What
// is older than what was taken, or signed by nobody the bundle on disk knows,
// is not taken. It returns when ctx ends, or when a file cannot be read.
func FollowTrust(ctx context.Context, c *Core, files Files) error {
	taken := files.number()
	return c.Watch(ctx, Selector{KindTrust, trustKey.Name}, 0, func(b Batch) error {
		for _, e := range b.Events {
			var t Trust
			if e.Deleted || e.Key != trustKey {
				continue
			}
			if err := e.Object.Into(&t); err != nil || t.Number <= taken {
				continue
			}
			known, err := os.ReadFile(files.CA)
			if err != nil {
				return err
			}
			if err := t.Believe(known); err != nil {
				c.opt.Log.Error("core: published trust is not believed", "number", t.Number, "err", err)
				continue
			}
			if err := t.write(files); err != nil {
				return err
			}
			taken = t.Number
			c.opt.Log.Info("core: certificates and revocations are those of now", "number", t.Number, "who", e.Object.Who, "why", e.Object.Why)
		}
		return nil
	})
}

// number is that of the revocation list on disk: what is published with a lower
// one was replayed.
func (f Files) number() int64 {
	der, err := os.ReadFile(f.CRL)
	if err != nil {
		return 0
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil || list.Number == nil || !list.Number.IsInt64() {
		return 0
	}
	return list.Number.Int64()
}

func (t Trust) write(files Files) error {
	if files.CRL != "" {
		if err := replaceFile(files.CRL, t.CRL); err != nil {
			return err
		}
	}
	return replaceFile(files.CA, t.Bundle)
}
