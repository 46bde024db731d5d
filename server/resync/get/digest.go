package get

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/dunglas/httpsfv"
)

// digest is one of the whole representation (RFC 9530 §3).
type digest struct {
	name  string // sha-256 or sha-512; "": none
	value []byte
}

// digestOf is the digest that a server gives of the whole: by the lines of its
// Repr-Digest, of the algorithms that RFC 9530 §5 calls active. What cannot be read is none.
func digestOf(fields []string) digest {
	dict, err := httpsfv.UnmarshalDictionary(fields)
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

// check compares the whole with the digest that it should have.
func (d *download) check() error {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	given := digestOf(d.state.Digest)
	other := given.hash()
	var to io.Writer = sum
	if other != nil {
		to = io.MultiWriter(sum, other)
	}
	n, err := io.Copy(to, d.file)
	if err != nil {
		return err
	}
	d.result.SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	if d.state.Size >= 0 && n != d.state.Size {
		return d.wrong("%d bytes came of %d", n, d.state.Size)
	}
	if d.job.SHA256 != nil {
		if want := fmt.Sprintf("%x", d.job.SHA256); d.result.SHA256 != want {
			return d.wrong("%w: SHA-256 is %s, want %s", ErrDigest, d.result.SHA256, want)
		}
		d.result.Checked = "sha256"
		return nil
	}
	return d.compare(given, sum, other)
}

// compare compares with the digest that the server gave.
func (d *download) compare(given digest, sum, other hash.Hash) error {
	if len(given.value) == 0 {
		return nil
	}
	got := sum.Sum(nil)
	if other != nil {
		got = other.Sum(nil)
	}
	if string(got) != string(given.value) {
		return d.wrong("%w: %s is %x, the server said %x", ErrDigest, given.name, got, given.value)
	}
	d.result.Checked = "Repr-Digest " + given.name
	return nil
}

// wrong throws away what came.
func (d *download) wrong(format string, args ...any) error {
	return errors.Join(fmt.Errorf(format, args...), d.file.Truncate(0), d.forget())
}
