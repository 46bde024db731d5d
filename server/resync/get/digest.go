package get

import (
	"crypto/sha512"
	"hash"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// digest is one of the whole representation (RFC 9530 §3).
type digest struct {
	name  string // sha-256 or sha-512; "": none
	value []byte
}

// digestOf is the digest that a server gives of the whole: Repr-Digest, of the
// algorithms that RFC 9530 §5 calls active. What cannot be read is none.
func digestOf(h http.Header) digest {
	dict, err := httpsfv.UnmarshalDictionary(h.Values("Repr-Digest"))
	if err != nil {
		return digest{}
	}
	for name, n := range map[string]int{"sha-256": 32, "sha-512": 64} {
		m, ok := dict.Get(name)
		if !ok {
			continue
		}
		if item, ok := m.(httpsfv.Item); ok {
			if b, ok := item.Value.([]byte); ok && len(b) == n {
				return digest{name, b}
			}
		}
	}
	return digest{}
}

// hash is what to compute beside SHA-256; nil: nothing.
func (d digest) hash() hash.Hash {
	if d.name == "sha-512" {
		return sha512.New()
	}
	return nil
}
