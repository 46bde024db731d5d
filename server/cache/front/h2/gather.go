package h2

import (
	"io"
	"sync"
)

const (
	scratchRoom = 64 << 10
	maxVec      = 64
)

// sendRoom is what is needed while a batch with bodies is sent.
type sendRoom struct {
	scratch [scratchRoom]byte
	vec     [maxVec][]byte
}

var sendRooms = sync.Pool{New: func() any { return new(sendRoom) }}

// gather gives the next bytes of b to write: pointed at, but for files, which are read, and where all is copied anyway and one
// piece is better.
func (c *Conn) gather(b *batch) ([][]byte, error) {
	if len(b.segs) == 0 {
		if b.pos == len(b.buf) {
			return nil, nil
		}
		c.one[0] = b.buf[b.pos:]
		b.pos = len(b.buf)
		return c.one[:], nil
	}
	if c.sendRoom == nil {
		c.sendRoom = sendRooms.Get().(*sendRoom)
	}
	g := gathering{vec: c.sendRoom.vec[:0], room: c.sendRoom.scratch[:], join: c.wire.Joins()}
	for len(g.vec) < maxVec-2 {
		end := len(b.buf)
		if b.seg < len(b.segs) {
			end = b.segs[b.seg].at
		}
		if b.pos < end {
			n := g.bytes(b.buf[b.pos:end])
			if b.pos += n; n == 0 {
				break
			}
			continue
		}
		if b.seg == len(b.segs) {
			break
		}
		s := &b.segs[b.seg]
		n, err := g.piece(s, b.off)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if b.off += n; b.off == s.n {
			b.seg, b.off = b.seg+1, 0
		}
	}
	return g.end(), nil
}

// gathering is a list of bytes in the making.
type gathering struct {
	vec  [][]byte
	room []byte // scratch; room[from:to] is filled and not yet in vec
	from int
	to   int
	join bool
}

func (g *gathering) end() [][]byte {
	if g.to > g.from {
		g.vec = append(g.vec, g.room[g.from:g.to])
		g.from = g.to
	}
	return g.vec
}

// scratch gives n bytes of room at most, which follow those filled before.
func (g *gathering) scratch(n int) []byte {
	n = min(n, len(g.room)-g.to)
	g.to += n
	return g.room[g.to-n : g.to]
}

// bytes adds p and says how much of it.
func (g *gathering) bytes(p []byte) int {
	if g.join {
		return copy(g.scratch(len(p)), p)
	}
	g.vec = g.end()
	g.vec = append(g.vec, p)
	return len(p)
}

// piece adds what is left of s from off.
func (g *gathering) piece(s *seg, off int) (int, error) {
	if s.file == nil {
		return g.bytes(s.data[off:]), nil
	}
	p := g.scratch(s.n - off)
	if len(p) == 0 {
		return 0, nil
	}
	if n, err := s.file.ReadAt(p, s.off+int64(off)); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	return len(p), nil
}
