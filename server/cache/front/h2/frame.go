package h2

import (
	"encoding/binary"
	"fmt"
)

// kind is the type of a frame (RFC 9113 §6).
type kind uint8

const (
	kindData kind = iota
	kindHeaders
	kindPriority
	kindReset
	kindSettings
	kindPush
	kindPing
	kindGoAway
	kindWindow
	kindContinuation
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	headLen     = 9                          // of a frame's head
	maxPayload  = 16384                      // that we take: the least that can be asked for, and the default
	maxStreamID = 1<<31 - 1                  // also the largest window
	firstWindow = 65535                      // of both directions until something else is said
	settingLen  = 6                          // of one setting
	preface     = "PRI * HTTP/2.0\r\n\r\n" + // what a client begins with (RFC 9113 §3.4)
		"SM\r\n\r\n"
)

// Settings (RFC 9113 §6.5.2, RFC 9218 §2.1).
const (
	setTableSize    = 0x1
	setPush         = 0x2
	setStreams      = 0x3
	setWindow       = 0x4
	setFrameSize    = 0x5
	setHeadBytes    = 0x6
	setNoPriorities = 0x9
)

// Code is an error code (RFC 9113 §7).
type Code uint32

// The error codes.
const (
	NoError          Code = 0x0
	ProtocolError    Code = 0x1
	InternalError    Code = 0x2
	FlowControlError Code = 0x3
	SettingsTimeout  Code = 0x4
	StreamClosed     Code = 0x5
	FrameSizeError   Code = 0x6
	RefusedStream    Code = 0x7
	Cancel           Code = 0x8
	CompressionError Code = 0x9
	ConnectError     Code = 0xa
	EnhanceYourCalm  Code = 0xb
)

// connError ends the connection with GOAWAY.
type connError struct {
	code Code
	why  string
}

func (e *connError) Error() string { return fmt.Sprintf("http2: %s (error code %d)", e.why, e.code) }

func broken(code Code, why string) error { return &connError{code, why} }

// frame is the head of one.
type frame struct {
	n     int // bytes of payload
	kind  kind
	flags uint8
	id    uint32 // of the stream
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// parseFrame reads the nine bytes of a head; the reserved bit is ignored (RFC 9113 §4.1).
func parseFrame(p []byte) frame {
	_ = p[headLen-1]
	return frame{
		n: int(p[0])<<16 | int(p[1])<<8 | int(p[2]), kind: kind(p[3]), flags: p[4],
		id: binary.BigEndian.Uint32(p[5:]) & maxStreamID,
	}
}

// appendFrame writes the head of a frame.
func appendFrame(dst []byte, n int, k kind, flags uint8, id uint32) []byte {
	return append(dst, byte(n>>16), byte(n>>8), byte(n), byte(k), flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// putLength sets the length of a frame that begins at dst.
func putLength(dst []byte, n int) { dst[0], dst[1], dst[2] = byte(n>>16), byte(n>>8), byte(n) }

func appendSetting(dst []byte, id uint16, v uint32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, id)
	return binary.BigEndian.AppendUint32(dst, v)
}

func appendReset(dst []byte, id uint32, code Code) []byte {
	dst = appendFrame(dst, 4, kindReset, 0, id)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

func appendWindow(dst []byte, id, n uint32) []byte {
	dst = appendFrame(dst, 4, kindWindow, 0, id)
	return binary.BigEndian.AppendUint32(dst, n)
}

func appendPing(dst []byte, flags uint8, data [8]byte) []byte {
	dst = appendFrame(dst, 8, kindPing, flags, 0)
	return append(dst, data[:]...)
}

func appendGoAway(dst []byte, last uint32, code Code, why string) []byte {
	dst = appendFrame(dst, 8+len(why), kindGoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, why...)
}
