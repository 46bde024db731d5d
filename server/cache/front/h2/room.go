package h2

import "sync"

var (
	smallRoom = sync.Pool{New: func() any { return new([roomSmall]byte) }}
	largeRoom = sync.Pool{New: func() any { return new([roomLarge]byte) }}
)

// space gives room to read into: little at first, more for a frame that needs it and for bodies.
func (c *Conn) space() []byte {
	if c.r == c.w {
		c.r, c.w = 0, 0
	} else if c.r > 0 && c.w == len(c.in) {
		c.w, c.r = copy(c.in, c.in[c.r:c.w]), 0
	}
	switch {
	case c.in == nil && c.data.left <= roomSmall:
		c.in = smallRoom.Get().(*[roomSmall]byte)[:]
	case c.w == len(c.in) && len(c.in) < roomLarge || c.data.left > roomSmall && len(c.in) < roomLarge:
		grown := largeRoom.Get().(*[roomLarge]byte)[:]
		copy(grown, c.in[:c.w])
		giveRoom(c.in)
		c.in = grown
	}
	return c.in[c.w:]
}

// release gives the room back when nothing is in it.
func (c *Conn) release() {
	if c.r == c.w {
		giveRoom(c.in)
		c.in, c.r, c.w = nil, 0, 0
	}
}

// giveRoom returns p to where it came from.
func giveRoom(p []byte) {
	switch cap(p) {
	case roomSmall:
		smallRoom.Put((*[roomSmall]byte)(p))
	case roomLarge:
		largeRoom.Put((*[roomLarge]byte)(p))
	}
}
