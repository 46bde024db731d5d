package fleet

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
)

// Headers and path of the exchange.
const (
	nonceHeader  = "Catchment-Nonce"
	macHeader    = "Catchment-Mac"
	exchangePath = "v1/exchange"
	macVersion   = "catchment fleet 1"
	// reasonsHeader says, unsigned, that its sender takes reasons in claims.
	reasonsHeader = "Catchment-Reasons"
	// loadHeader says, unsigned, that its sender takes loads in answers.
	loadHeader = "Catchment-Load"
	// aboutHeader says, unsigned, that its sender takes what a POP says of
	// itself as a whole.
	aboutHeader = "Catchment-About"
	nonceBytes  = 16
	minSecret   = 16
)

// Kinds of a message, in its proof: a reply can never pass for a question.
const (
	kindAsk   = "ask"
	kindReply = "reply"
)

// Secrets are the shared keys: the first signs, all are accepted.
type Secrets [][]byte

// ReadSecrets reads keys from a file, one a line; empty lines and lines that
// begin with # do not count. A file that everybody may read is refused, and so
// is a key of less than 16 bytes.
func ReadSecrets(path string) (Secrets, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fleet secret: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("fleet secret %s: mode %04o lets everybody at it; chmod 0600 or 0640", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("fleet secret: %w", err)
	}
	var keys Secrets
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		key := bytes.TrimSpace(s.Bytes())
		if len(key) == 0 || key[0] == '#' {
			continue
		}
		if len(key) < minSecret {
			return nil, fmt.Errorf("fleet secret %s: a key of %d bytes; want at least %d", path, len(key), minSecret)
		}
		keys = append(keys, bytes.Clone(key))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("fleet secret %s: no key in it", path)
	}
	return keys, nil
}

// sign returns the proof of a message in hex.
func (s Secrets) sign(kind, method, nonce string, body []byte) string {
	return hex.EncodeToString(mac(s[0], kind, method, nonce, body))
}

// verify reports whether one of the keys made the proof.
func (s Secrets) verify(proof, kind, method, nonce string, body []byte) bool {
	got, err := hex.DecodeString(proof)
	if err != nil {
		return false
	}
	ok := false
	for _, key := range s {
		ok = hmac.Equal(got, mac(key, kind, method, nonce, body)) || ok
	}
	return ok
}

func mac(key []byte, kind, method, nonce string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range [][]byte{[]byte(macVersion), []byte(kind), []byte(method), []byte(nonce), body} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// newNonce returns fresh random hex digits; crypto/rand never fails.
func newNonce() string {
	b := make([]byte, nonceBytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func validNonce(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == nonceBytes
}
