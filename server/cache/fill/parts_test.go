package fill

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/http"
	"testing"

	"github.com/catchment/catchment/server/cache/origin"
)

// merkle is RFC 9162 §2.1.1 as it is written.
func merkle(d [][]byte) [32]byte {
	switch len(d) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, d[0]...))
	}
	k := 1
	for k*2 < len(d) {
		k *= 2
	}
	l, r := merkle(d[:k]), merkle(d[k:])
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

func TestTree(t *testing.T) {
	body := bytesOf(9, 13*LeafSize+5)
	for _, size := range []int{0, 1, LeafSize - 1, LeafSize, LeafSize + 1, 2 * LeafSize, 3*LeafSize + 7, 4 * LeafSize, 7 * LeafSize, len(body)} {
		b := body[:size]
		var pieces [][]byte
		for off := 0; off < size; off += LeafSize {
			pieces = append(pieces, b[off:min(size, off+LeafSize)])
		}
		want := merkle(pieces)
		for _, step := range []int{1 << 20, 1000, LeafSize, LeafSize + 1} {
			tree := Tree{Keep: true}
			for rest := b; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				tree.Write(rest[:min(step, len(rest))])
			}
			if got := tree.Root(); got != want || got != tree.Root() || got != rootOf(tree.Leaves()) {
				t.Fatalf("%d bytes by %d: root %x, want %x", size, step, got, want)
			}
			for i, p := range pieces {
				proof := Proof(tree.Leaves(), i)
				if !Verify(want, int64(size), i, p, proof) {
					t.Fatalf("%d bytes: piece %d is not proved", size, i)
				}
				wrong := bytes.Clone(p)
				wrong[len(p)/2]++
				if Verify(want, int64(size), i, wrong, proof) || Verify(want, int64(size), i+1, p, proof) || Verify(want, int64(size), i-1, p, proof) ||
					Verify(want, int64(size), i, p, append(proof, want)) {
					t.Fatalf("%d bytes: piece %d is proved wrongly", size, i)
				}
				if len(proof) > 0 && Verify(want, int64(size), i, p, proof[1:]) {
					t.Fatalf("%d bytes: piece %d is proved by half a proof", size, i)
				}
			}
		}
	}
	// The value must never change: other POPs and clients compute it, too.
	tree := Tree{}
	tree.Write(bytes.Repeat([]byte("catchment"), 10000))
	root := tree.Root()
	if got := hex.EncodeToString(root[:]); got != "1a14955294f7cbc4014026fe15660e2cc6e145b6f0d67967a9acd5330f7f4e4e" {
		t.Errorf("root %s", got)
	}
}

func TestSum(t *testing.T) {
	s := Sum{SHA256: sha256.Sum256([]byte("abc"))}
	if s.ReprDigest() != "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:" || s.ETag() != `"ungWv48Bz-pBQUDeXa4iI7AD"` {
		t.Error(s.ReprDigest(), s.ETag())
	}
	if !strongTag(s.ETag()) || HeadETag(&s, Validator{ETag: `"x"`}) != s.ETag() || HeadETag(nil, Validator{ETag: `"x"`}) != `"x"` || HeadETag(nil, Validator{}) != "" {
		t.Error("HeadETag")
	}
}

func TestValidatorOf(t *testing.T) {
	const old, now = "Mon, 02 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2026 10:00:01 GMT"
	for _, test := range []struct {
		h    http.Header
		want Validator
	}{
		{http.Header{}, Validator{}},
		{http.Header{"Etag": {`"a"`}, "Last-Modified": {old}, "Date": {now}}, Validator{ETag: `"a"`}},
		{http.Header{"Etag": {`""`}}, Validator{ETag: `""`}},
		{http.Header{"Etag": {`W/"a"`}, "Last-Modified": {old}, "Date": {now}}, Validator{}},
		{http.Header{"Etag": {`a`}}, Validator{}},
		{http.Header{"Etag": {`"a"b"`}}, Validator{}},
		{http.Header{"Etag": {`"a b"`}}, Validator{}},
		{http.Header{"Etag": {`"`}}, Validator{}},
		{http.Header{"Etag": {`"a"`, `"b"`}}, Validator{}},
		{http.Header{"Last-Modified": {old}, "Date": {now}}, Validator{LastModified: old}},
		{http.Header{"Last-Modified": {now}, "Date": {now}}, Validator{}},
		{http.Header{"Last-Modified": {old}}, Validator{}},
		{http.Header{"Last-Modified": {"yesterday"}, "Date": {now}}, Validator{}},
	} {
		if got := ValidatorOf(test.h); got != test.want {
			t.Errorf("%v: %+v", test.h, got)
		}
	}
}

func TestSame(t *testing.T) {
	for _, test := range []struct {
		v      Validator
		status int
		h      http.Header
		want   bool
	}{
		{Validator{ETag: `"a"`}, 206, http.Header{"Etag": {`"a"`}}, true},
		{Validator{ETag: `"a"`}, 206, http.Header{"Etag": {`W/"a"`}}, false},
		{Validator{ETag: `"a"`}, 206, http.Header{"Etag": {`"b"`}}, false},
		{Validator{ETag: `"a"`}, 206, http.Header{}, false},
		{Validator{LastModified: "x"}, 206, http.Header{"Last-Modified": {"x"}}, true},
		{Validator{LastModified: "x"}, 206, http.Header{}, true},
		{Validator{LastModified: "x"}, 200, http.Header{}, false},
		{Validator{LastModified: "x"}, 206, http.Header{"Last-Modified": {"y"}}, false},
		{Validator{LastModified: "x"}, 206, http.Header{"Last-Modified": {"x"}, "Etag": {`"a"`}}, false},
		{Validator{}, 206, http.Header{}, false},
	} {
		if got := test.v.same(&origin.Response{Status: test.status, Header: test.h}); got != test.want {
			t.Errorf("%+v", test)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		s    Span
		want string
	}{
		{Span{0, 0}, "bytes=0-99"}, {Span{99, 100}, "bytes=0-199"}, {Span{100, 100}, "bytes=100-199"},
		{Span{150, -1}, "bytes=100-"}, {Span{0, -1}, "bytes=0-"}, {Span{-1, 0}, "bytes=-100"}, {Span{-101, -1}, "bytes=-200"},
	} {
		if got := test.s.field(100); got != test.want {
			t.Errorf("%+v: %s, want %s", test.s, got, test.want)
		}
	}
	// A suffix always holds the front of the chunk in which it begins.
	for size := int64(1); size < 350; size++ {
		for n := int64(1); n <= size; n++ {
			a, b, _ := resolve(Span{-n, 0}.field(100), size)
			front := (size - n) / 100 * 100
			if a > front || b != size || front-a >= 100 {
				t.Fatalf("the last %d of %d: asks for %d-%d, needs %d", n, size, a, b, front)
			}
		}
	}
}

func TestContentRange(t *testing.T) {
	for _, test := range []struct {
		s    string
		want string
	}{
		{"bytes 0-0/1", "0 0 1 true"}, {"Bytes 5-9/*", "5 9 -1 true"}, {" bytes  5-9/10\t", "5 9 10 true"},
		{"bytes 5-9/9", "0 0 0 false"}, {"bytes 9-5/10", "0 0 0 false"}, {"bytes */10", "0 0 0 false"}, {"bytes=0-1/2", "0 0 0 false"},
		{"items 0-1/2", "0 0 0 false"}, {"bytes 0-1", "0 0 0 false"}, {"bytes -1-1/2", "0 0 0 false"}, {"bytes +0-1/2", "0 0 0 false"},
		{"bytes 0-1/2, 3-4/5", "0 0 0 false"}, {"bytes 0-1111111111111111111/*", "0 0 0 false"}, {"", "0 0 0 false"},
	} {
		a, b, c, ok := ParseContentRange(test.s)
		if got := fmt.Sprint(a, b, c, ok); got != test.want {
			t.Errorf("%q: %s, want %s", test.s, got, test.want)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes */3", "bytes 18446744073709551617-2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := ParseContentRange(s)
		if !ok {
			return
		}
		if first < 0 || last < first || total >= 0 && last >= total {
			t.Fatalf("%q: %d %d %d", s, first, last, total)
		}
		// The numbers are in it, whatever their size.
		for _, n := range []int64{first, last} {
			if !bytes.Contains([]byte(s), []byte(big.NewInt(n).String())) {
				t.Fatalf("%q: no %d", s, n)
			}
		}
	})
}

func FuzzDigests(f *testing.F) {
	f.Add(sha([]byte("x")), "1B2M2Y8AsgTpgAmY7PhCfg==")
	f.Add("sha-256=1, sha-512=:AA==:, sha-256=:AAAA:", "=")
	f.Fuzz(func(t *testing.T, repr, content string) {
		w := reprWanted(200, http.Header{"Repr-Digest": {repr}, "Content-Digest": {content}})
		if n := len(w.sha256); n != 0 && n != 32 || len(w.sha512) != 0 && len(w.sha512) != 64 {
			t.Fatalf("%q, %q: %+v", repr, content, w)
		}
		newDigester(w, false, false).check()
	})
}
