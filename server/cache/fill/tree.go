package fill

import (
	"crypto/sha256"
	"hash"
	"math/bits"
)

// LeafSize is the size of a piece of a Tree in bytes, the last may be shorter:
// 16 KiB is a dozen datagrams, costs 1/512 of the body to keep and a proof of
// 32 bytes for each doubling of the number of pieces, and divides every chunk.
const LeafSize = 16 << 10

// Tree computes the root of a body's digest tree while the body is written to it
// from front to back: the Merkle tree of RFC 9162 §2.1.1 over pieces of LeafSize
// with SHA-256; a leaf is H(0x00 || piece), a node H(0x01 || left || right). The
// empty body has the root H(""). A body of one piece or less has one leaf.
//
// The datagram transport proves each piece against the root (Proof, Verify). The
// zero value is ready. It keeps 32 bytes for each doubling, and all leaves if
// Keep is set before the first Write.
type Tree struct {
	Keep   bool
	leaves [][32]byte
	count  uint64 // whole leaves
	stack  [][32]byte
	leaf   hash.Hash
	n      int // bytes in leaf
}

// Write adds bytes; it never fails.
func (t *Tree) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if t.leaf == nil {
			t.leaf = sha256.New()
		}
		if t.n == 0 {
			t.leaf.Reset()
			t.leaf.Write([]byte{0})
		}
		part := p[:min(len(p), LeafSize-t.n)]
		t.leaf.Write(part)
		t.n += len(part)
		p = p[len(part):]
		if t.n == LeafSize {
			t.push()
		}
	}
	return total, nil
}

// push ends a leaf and joins subtrees of equal size.
func (t *Tree) push() {
	var h [32]byte
	t.leaf.Sum(h[:0])
	t.n = 0
	if t.Keep {
		t.leaves = append(t.leaves, h)
	}
	for range bits.TrailingZeros64(^t.count) {
		last := len(t.stack) - 1
		h = node(t.stack[last], h)
		t.stack = t.stack[:last]
	}
	t.stack = append(t.stack, h)
	t.count++
}

// Root ends the body and returns its root. Nothing may be written after it.
func (t *Tree) Root() [32]byte {
	if t.n > 0 {
		t.push()
	}
	if len(t.stack) == 0 {
		return sha256.Sum256(nil)
	}
	h := t.stack[len(t.stack)-1]
	for i := len(t.stack) - 2; i >= 0; i-- {
		h = node(t.stack[i], h)
	}
	return h
}

// Leaves are the hashes of all pieces, if Keep was set, after Root.
func (t *Tree) Leaves() [][32]byte { return t.leaves }

func node(l, r [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// split is the largest power of two below n, n > 1.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

func rootOf(leaves [][32]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return node(rootOf(leaves[:k]), rootOf(leaves[k:]))
}

// Proof is the path from leaf i to the root, lowest first (RFC 9162 §2.1.3.1).
func Proof(leaves [][32]byte, i int) [][32]byte {
	if len(leaves) <= 1 {
		return nil
	}
	if k := split(len(leaves)); i < k {
		return append(Proof(leaves[:k], i), rootOf(leaves[k:]))
	} else {
		return append(Proof(leaves[k:], i-k), rootOf(leaves[:k]))
	}
}

// Verify tells whether piece is the i-th of a body of size bytes whose root is
// root (RFC 9162 §2.1.3.2).
func Verify(root [32]byte, size int64, i int, piece []byte, proof [][32]byte) bool {
	n := int((size + LeafSize - 1) / LeafSize)
	if size <= 0 || i < 0 || i >= n || int64(len(piece)) != min(LeafSize, size-int64(i)*LeafSize) {
		return false
	}
	leaf := sha256.New()
	leaf.Write([]byte{0})
	leaf.Write(piece)
	var h [32]byte
	leaf.Sum(h[:0])
	got, ok := climb(h, n, i, proof)
	return ok && got == root
}

func climb(h [32]byte, n, i int, proof [][32]byte) ([32]byte, bool) {
	if n == 1 {
		return h, len(proof) == 0
	}
	if len(proof) == 0 {
		return h, false
	}
	top, rest := proof[len(proof)-1], proof[:len(proof)-1]
	k := split(n)
	if i < k {
		l, ok := climb(h, k, i, rest)
		return node(l, top), ok
	}
	r, ok := climb(h, n-k, i-k, rest)
	return node(top, r), ok
}
