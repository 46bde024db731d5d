package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"time"
)

// Token lets one POP join once: it says where to ask, by whose certificate
// the answer is recognized, and who asks. It is a secret until it is used.
type Token struct {
	ID     string
	Secret [32]byte
	CA     [sha256.Size]byte // fingerprint of the authority's certificate
	Addr   string            // host:port of the POP that answers
}

const tokenMark = "cj1"

// String is the token as people hand it over.
func (t Token) String() string {
	b64 := base64.RawURLEncoding.EncodeToString
	return strings.Join([]string{tokenMark, t.ID, b64(t.Secret[:]), b64(t.CA[:])}, ".") + "@" + t.Addr
}

// ParseToken reads String's form. Errors never repeat the secret.
func ParseToken(s string) (Token, error) {
	var t Token
	front, addr, ok := strings.Cut(strings.TrimSpace(s), "@")
	parts := strings.Split(front, ".")
	if !ok || len(parts) != 4 || parts[0] != tokenMark {
		return Token{}, fail(Invalid, "not a token to join with")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" || len(addr) > 300 || strings.ContainsAny(addr, " \t\r\n@/") {
		return Token{}, fail(Invalid, "token: want host:port after the @")
	}
	if id, err := hex.DecodeString(parts[1]); err != nil || len(id) != 8 || parts[1] != strings.ToLower(parts[1]) {
		return Token{}, fail(Invalid, "token: damaged")
	}
	for i, to := range [][]byte{t.Secret[:], t.CA[:]} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(parts[2+i])
		if err != nil || len(b) != len(to) || strings.ContainsAny(parts[2+i], "\r\n") {
			return Token{}, fail(Invalid, "token: damaged")
		}
		copy(to, b)
	}
	t.ID, t.Addr = parts[1], addr
	return t, nil
}

// tokenRecord is what the core keeps of a token: enough to recognize it,
// nothing to use it with.
type tokenRecord struct {
	Subject
	Hash    string    `json:"hash"` // SHA-256 of the secret, which is random and long
	Expires time.Time `json:"expires"`
	// Key is the digest of the public key it was used for: the same key may
	// ask again, whose answer was lost on the way; no other may.
	Key string `json:"key,omitempty"`
}

// MaxTokenLife is the longest a token can last.
const MaxTokenLife = 7 * 24 * time.Hour

// NewToken makes a token for a POP and puts its hash into the core, under a
// lease: it goes when its life is over by the core's time or by the
// authority's clock, whichever comes first. addr is where the joiner asks.
func (ca *CA) NewToken(ctx context.Context, c *Core, w Write, s Subject, addr string, life time.Duration) (Token, error) {
	if err := s.check(); err != nil {
		return Token{}, about(err, "token", s.Name)
	}
	if life < MinTTL || life > MaxTokenLife {
		return Token{}, about(fail(Invalid, "life of %v, want %v to %v", life, MinTTL, MaxTokenLife), "token", s.Name)
	}
	var id [8]byte
	rand.Read(id[:])
	t := Token{ID: hex.EncodeToString(id[:]), CA: ca.Fingerprint(), Addr: addr}
	rand.Read(t.Secret[:])
	if _, err := ParseToken(t.String()); err != nil {
		return Token{}, about(err, "token", s.Name)
	}
	l, err := c.Grant(ctx, life)
	if err != nil {
		return Token{}, about(err, "token", s.Name)
	}
	rec := tokenRecord{Subject: s, Hash: hashSecret(t.Secret), Expires: time.Now().Add(life).UTC()}
	_, err = c.Txn(ctx, w, []Cond{{tokenKey(t.ID), Absent}}, []Op{{Key: tokenKey(t.ID), Value: mustJSON(rec), Lease: l.ID}})
	if err != nil {
		return Token{}, about(err, "token", s.Name)
	}
	return t, nil
}

func tokenKey(id string) Key { return Key{KindToken, id} }

func hashSecret(s [32]byte) string {
	h := sha256.Sum256(append([]byte("catchment join "), s[:]...))
	return hex.EncodeToString(h[:])
}

// redeem uses a token for a public key. Why it was refused is for our log;
// the asker hears no more than that it was.
func redeem(ctx context.Context, c *Core, id string, secret [32]byte, keyDigest string) (Subject, error) {
	o, err := c.Get(ctx, tokenKey(id))
	if errors.Is(err, NotFound) || errors.Is(err, Invalid) {
		return Subject{}, fail(Denied, "no such token: unknown, used or over")
	}
	if err != nil {
		return Subject{}, err
	}
	var rec tokenRecord
	if err := o.Into(&rec); err != nil {
		return Subject{}, err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(rec.Hash)) != 1:
		return Subject{}, fail(Denied, "token %s with a wrong secret", id)
	case time.Now().After(rec.Expires):
		return Subject{}, fail(Denied, "token %s is over since %v", id, rec.Expires)
	case rec.Key == keyDigest:
		return rec.Subject, nil
	case rec.Key != "":
		return Subject{}, fail(Denied, "token %s was used for another key", id)
	}
	rec.Key = keyDigest
	w := Write{"pop " + rec.Name, "joins by token " + id}
	_, err = c.Txn(ctx, w, []Cond{{o.Key, If(o.Revision)}}, []Op{
		{Key: o.Key, Value: mustJSON(rec), Lease: o.Lease},
		{Key: Key{KindMember, "pop/" + rec.Name}, Value: mustJSON(Joined{Subject: rec.Subject, Token: id, KeyDigest: keyDigest})},
	})
	if errors.Is(err, Conflict) {
		return Subject{}, fail(Denied, "token %s was used for another key at the same time", id)
	}
	return rec.Subject, err
}

// Joined is the object member/pop/NAME: a POP that has a certificate.
type Joined struct {
	Subject
	Token     string `json:"token"`
	KeyDigest string `json:"key-digest"` // SHA-256 of its public key
}
