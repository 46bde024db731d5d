package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// packetLen is the mandatory section, RFC 5880 section 4.1.
const packetLen = 24

// ErrAuth says that a packet carries an authentication section, which this
// package does not support.
var ErrAuth = errors.New("bfd packet: authentication is not supported")

// Packet is a BFD control packet without authentication, RFC 5880 section
// 4.1. Intervals are in microseconds, as on the wire.
type Packet struct {
	Diagnostic  Diagnostic
	State       State
	Poll        bool
	Final       bool
	Independent bool // C: control plane independent
	Demand      bool
	Multiplier  uint8

	MyDiscriminator   uint32
	YourDiscriminator uint32
	DesiredTransmit   uint32
	RequiredReceive   uint32
	RequiredEcho      uint32
}

const (
	bitPoll        = 0x20
	bitFinal       = 0x10
	bitIndependent = 0x08
	bitAuth        = 0x04
	bitDemand      = 0x02
	bitMultipoint  = 0x01
)

// AppendTo appends the wire form to b. Diagnostic is cut to five bits and
// State to two.
func (p Packet) AppendTo(b []byte) []byte {
	flags := byte(p.State) << 6
	for _, f := range []struct {
		set bool
		bit byte
	}{{p.Poll, bitPoll}, {p.Final, bitFinal}, {p.Independent, bitIndependent}, {p.Demand, bitDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, 1<<5|byte(p.Diagnostic)&0x1f, flags, p.Multiplier, packetLen)
	b = binary.BigEndian.AppendUint32(b, p.MyDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.DesiredTransmit)
	b = binary.BigEndian.AppendUint32(b, p.RequiredReceive)
	return binary.BigEndian.AppendUint32(b, p.RequiredEcho)
}

// ParsePacket reads a UDP payload and makes the checks of RFC 5880 section
// 6.8.6 that need no session. ErrAuth is told apart from malformed packets.
// Bytes after the packet's own length are ignored, as the RFC allows them.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < packetLen {
		return Packet{}, fmt.Errorf("bfd packet: %d bytes, want at least %d", len(b), packetLen)
	}
	flags, length := b[1], int(b[3])
	switch {
	case b[0]>>5 != 1:
		return Packet{}, fmt.Errorf("bfd packet: version %d, want 1", b[0]>>5)
	case length < packetLen || flags&bitAuth != 0 && length < packetLen+2:
		return Packet{}, fmt.Errorf("bfd packet: length field %d is too small", length)
	case length > len(b):
		return Packet{}, fmt.Errorf("bfd packet: length field %d exceeds the %d bytes received", length, len(b))
	case b[2] == 0:
		return Packet{}, errors.New("bfd packet: detection multiplier is zero")
	case flags&bitMultipoint != 0:
		return Packet{}, errors.New("bfd packet: multipoint bit is set")
	case flags&bitAuth != 0:
		return Packet{}, ErrAuth
	}
	p := Packet{
		Diagnostic:        Diagnostic(b[0] & 0x1f),
		State:             State(flags >> 6),
		Poll:              flags&bitPoll != 0,
		Final:             flags&bitFinal != 0,
		Independent:       flags&bitIndependent != 0,
		Demand:            flags&bitDemand != 0,
		Multiplier:        b[2],
		MyDiscriminator:   binary.BigEndian.Uint32(b[4:]),
		YourDiscriminator: binary.BigEndian.Uint32(b[8:]),
		DesiredTransmit:   binary.BigEndian.Uint32(b[12:]),
		RequiredReceive:   binary.BigEndian.Uint32(b[16:]),
		RequiredEcho:      binary.BigEndian.Uint32(b[20:]),
	}
	if p.MyDiscriminator == 0 {
		return Packet{}, errors.New("bfd packet: my discriminator is zero")
	}
	if p.YourDiscriminator == 0 && p.State != Down && p.State != AdminDown {
		return Packet{}, fmt.Errorf("bfd packet: your discriminator is zero in state %v", p.State)
	}
	return p, nil
}
