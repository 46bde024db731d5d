package checkpoint

import (
	"container/list"
	"encoding/binary"
	"net/netip"
)

// Bounds of what both sides keep for a connection.
const (
	maxVIPs    = 1024
	maxObjects = 1 << 14
)

// Encoder makes the stream that one peer reads: what has changed since it was
// last asked. It is not safe for concurrent use.
type Encoder struct {
	begun   bool
	last    ID
	flows   map[flowKey]*said
	vips    map[netip.AddrPort]uint64
	objects map[Object]*list.Element // of slot
	recent  *list.List               // objects, the last used in front
	round   uint64
}

type flowKey struct {
	client, vip netip.AddrPort
	stream      uint32
}

// said is what the peer was told of a flow.
type said struct {
	id    ID
	flow  Flow
	round uint64 // when it was last there
}

type slot struct {
	number uint64
	object Object
}

// NewEncoder begins a stream.
func NewEncoder() *Encoder {
	return &Encoder{flows: map[flowKey]*said{}, vips: map[netip.AddrPort]uint64{}, objects: map[Object]*list.Element{}, recent: list.New()}
}

// Append appends what brings the peer from the flows of the last call to
// these. Flows without valid addresses are left out.
func (e *Encoder) Append(b []byte, flows []Flow) []byte {
	if !e.begun {
		b, e.begun = append(b, preface...), true
	}
	e.round++
	for i := range flows {
		f := &flows[i]
		if !f.Client.IsValid() || !f.VIP.IsValid() || f.Client.Addr().Zone() != "" || f.VIP.Addr().Zone() != "" {
			continue
		}
		key := flowKey{netip.AddrPortFrom(f.Client.Addr().Unmap(), f.Client.Port()), netip.AddrPortFrom(f.VIP.Addr().Unmap(), f.VIP.Port()), f.Stream}
		s := e.flows[key]
		if s == nil || s.flow.Object != f.Object || f.Offset < s.flow.Offset {
			b = e.begin(b, key, f)
			continue
		}
		s.round = e.round
		if f.Offset != s.flow.Offset || f.ClientLimited != s.flow.ClientLimited || f.Streams != s.flow.Streams {
			b = appendFrame(b, kindMove, func(b []byte) []byte {
				b = binary.AppendUvarint(b, uint64(s.id))
				return appendSpeed(binary.AppendUvarint(b, f.Offset-s.flow.Offset), f)
			})
			s.flow.Offset, s.flow.ClientLimited, s.flow.Streams = f.Offset, f.ClientLimited, f.Streams
		}
		if f.Stamp != 0 && (s.flow.Stamp == 0 || f.Stamp-s.flow.Stamp >= stampStep) {
			s.flow.Stamp = f.Stamp
			b = s.stamp(b)
		}
	}
	for key, s := range e.flows {
		if s.round != e.round {
			b = appendFrame(b, kindGone, func(b []byte) []byte { return binary.AppendUvarint(b, uint64(s.id)) })
			delete(e.flows, key)
		}
	}
	return b
}

// begin tells of a flow, and before that of its address and its object where
// they are new. A flow whose object has changed keeps its number.
func (e *Encoder) begin(b []byte, key flowKey, f *Flow) []byte {
	vip, ok := e.vips[key.vip]
	if !ok {
		if len(e.vips) >= maxVIPs {
			return b
		}
		vip = uint64(len(e.vips))
		e.vips[key.vip] = vip
		b = appendFrame(b, kindVIP, func(b []byte) []byte { return appendAddrPort(binary.AppendUvarint(b, vip), key.vip) })
	}
	b, object := e.object(b, f.Object)
	s := e.flows[key]
	if s == nil {
		e.last++
		s = &said{id: e.last}
		e.flows[key] = s
	}
	s.flow, s.round = *f, e.round
	b = appendFrame(b, kindFlow, func(b []byte) []byte {
		b = binary.AppendUvarint(b, uint64(s.id))
		b = binary.AppendUvarint(b, vip)
		b = binary.AppendUvarint(b, object)
		b = appendAddrPort(b, key.client)
		return appendSpeed(binary.AppendUvarint(b, f.Offset), f)
	})
	if f.Stamp != 0 {
		b = s.stamp(b)
	}
	return b
}

// stampStep is how far a flow's time stamps get on until they are told again:
// what is known is of use for four times as far. Of a clock of milliseconds
// that is three days, of one of microseconds four minutes.
const stampStep = 1 << 28

func (s *said) stamp(b []byte) []byte {
	return appendFrame(b, kindStamp, func(b []byte) []byte {
		return binary.BigEndian.AppendUint32(binary.AppendUvarint(b, uint64(s.id)), s.flow.Stamp)
	})
}

// object is what a flow frame says of an object: its number and one, or 0.
func (e *Encoder) object(b []byte, o Object) ([]byte, uint64) {
	if o == (Object{}) || len(o.ETag) > MaxETag || !strong(o.ETag) {
		return b, 0
	}
	if at := e.objects[o]; at != nil {
		e.recent.MoveToFront(at)
		return b, at.Value.(slot).number + 1
	}
	n := uint64(e.recent.Len())
	if n >= maxObjects { // the number of the one not used for the longest
		at := e.recent.Back()
		n = at.Value.(slot).number
		delete(e.objects, at.Value.(slot).object)
		e.recent.Remove(at)
	}
	e.objects[o] = e.recent.PushFront(slot{n, o})
	b = appendFrame(b, kindObject, func(b []byte) []byte {
		b = append(binary.AppendUvarint(b, n), o.URL[:]...)
		return append(binary.AppendUvarint(b, o.Size), o.ETag...)
	})
	if linkable(o.Link) {
		b = appendFrame(b, kindLink, func(b []byte) []byte { return append(binary.AppendUvarint(b, n), o.Link...) })
	}
	return b, n + 1
}

// Drain appends that all of this POP's flows are about to move.
func (e *Encoder) Drain(b []byte) []byte { return appendFrame(b, kindDrain, nil) }

// maxMoving is how many addresses are said to be about to move; with more it
// is said of all.
const maxMoving = 60

// Moving appends which VIPs' flows are about to move: all that do now. None:
// nothing moves any more.
func (e *Encoder) Moving(b []byte, vips []netip.Addr) []byte {
	if len(vips) > maxMoving {
		return e.Drain(b)
	}
	return appendFrame(b, kindDrain, func(b []byte) []byte {
		b = binary.AppendUvarint(b, uint64(len(vips)))
		for _, a := range vips {
			b = appendAddr(b, a.Unmap().WithZone(""))
		}
		return b
	})
}

// Beat appends that this POP lives.
func (e *Encoder) Beat(b []byte) []byte { return appendFrame(b, kindBeat, nil) }
