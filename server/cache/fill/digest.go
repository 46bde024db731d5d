package fill

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// Sum is what a whole body hashes to.
type Sum struct {
	Size int64
	// SHA256 is of the body as it is stored and sent, content coding and all.
	SHA256 [32]byte
	// Root is the root of its Tree, zero with Options.NoTree.
	Root [32]byte
}

// ReprDigest is the value of Repr-Digest (RFC 9530 §3).
func (s Sum) ReprDigest() string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(s.SHA256[:]) + ":"
}

// ETag is a strong entity tag that depends on the content only, so that it is
// equal in all POPs.
//
// Who asks for such tags has to know what they mean while the digest is not known
// yet, when the head of the first answer goes out during the fill. Then (HeadETag)
// the origin's own strong ETag is sent, if it has one, else none: both are right,
// since a strong tag names one sequence of bytes, whoever gave it. The cache must
// go on to accept the origin's tag in conditions beside the content's, as one more
// name of the same bytes. Objects up to Verdict.WaitWhole bytes wait for their
// digest and never show another tag.
func (s Sum) ETag() string {
	return `"` + base64.RawURLEncoding.EncodeToString(s.SHA256[:18]) + `"`
}

// HeadETag is the ETag to send for a version: the content's, if its sum is known,
// else the origin's if that is strong, else none.
func HeadETag(sum *Sum, v Validator) string {
	if sum != nil {
		return sum.ETag()
	}
	return v.ETag
}

// wanted are the digests that the origin gave of what it sends; nil: none.
type wanted struct{ sha256, sha512 []byte }

func (w wanted) any() bool { return w.sha256 != nil || w.sha512 != nil }

// reprWanted reads what a response says of the whole representation: Repr-Digest
// of any, Content-Digest of a 200 (RFC 9530 §2 and §3). Algorithms not known here,
// and fields that cannot be read, are left out; so is Content-MD5, which HTTP has
// no more (RFC 7231 appendix B).
func reprWanted(status int, h http.Header) wanted {
	var w wanted
	w.read(h["Repr-Digest"])
	if status == http.StatusOK {
		w.content(h)
	}
	return w
}

// partWanted reads what a 206 says of its own content.
func partWanted(h http.Header) wanted {
	var w wanted
	w.content(h)
	return w
}

func (w *wanted) content(h http.Header) {
	w.read(h["Content-Digest"])
}

func (w *wanted) read(field []string) {
	if len(field) == 0 {
		return
	}
	dict, err := httpsfv.UnmarshalDictionary(field)
	if err != nil {
		return
	}
	get := func(name string, size int) []byte {
		m, _ := dict.Get(name)
		item, _ := m.(httpsfv.Item)
		if b, _ := item.Value.([]byte); len(b) == size {
			return b
		}
		return nil
	}
	if b := get("sha-256", sha256.Size); b != nil {
		w.sha256 = b
	}
	if b := get("sha-512", sha512.Size); b != nil {
		w.sha512 = b
	}
}

// digester hashes a body from front to back.
type digester struct {
	next   int64 // bytes hashed
	want   wanted
	full   bool // a Sum is made
	sha256 hash.Hash
	sha512 hash.Hash // only if wanted
	tree   *Tree
}

// newDigester makes one for what is wanted, for a Sum too if sum, with its tree if
// tree.
func newDigester(w wanted, sum, tree bool) *digester {
	d := &digester{want: w, full: sum}
	if sum && tree {
		d.tree = &Tree{}
	}
	if sum || w.sha256 != nil {
		d.sha256 = sha256.New()
	}
	if w.sha512 != nil {
		d.sha512 = sha512.New()
	}
	return d
}

func (d *digester) Write(p []byte) (int, error) {
	d.next += int64(len(p))
	for _, h := range []hash.Hash{d.sha256, d.sha512} {
		if h != nil {
			h.Write(p)
		}
	}
	if d.tree != nil {
		d.tree.Write(p)
	}
	return len(p), nil
}

// check compares with what is wanted.
func (d *digester) check() error {
	for _, c := range []struct {
		name string
		h    hash.Hash
		want []byte
	}{{"sha-256", d.sha256, d.want.sha256}, {"sha-512", d.sha512, d.want.sha512}} {
		if c.want == nil {
			continue
		}
		if got := c.h.Sum(nil); !bytes.Equal(got, c.want) {
			return fmt.Errorf("%w: %s is %x, not %x", ErrDigest, c.name, got, c.want)
		}
	}
	return nil
}

// sum ends the body; ok is false if digests are off.
func (d *digester) sum() (s Sum, ok bool) {
	if !d.full {
		return Sum{Size: d.next}, false
	}
	s = Sum{Size: d.next}
	if d.tree != nil {
		s.Root = d.tree.Root()
	}
	d.sha256.Sum(s.SHA256[:0])
	return s, true
}
