package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var errCorrupt = errors.New("store: checksum or identity wrong")

// A record is a small object in a segment: a header of fixed length, the
// metadata, the body, and zeros to the next multiple of eight. The header
// says where the record lies and whose it is, and is covered by a checksum
// that covers those of metadata and body in turn.
const (
	recordMagic  = 0x31524343 // "CCR1"
	recordHeader = 104
	maxMeta      = 1 << 20
)

// record is the decoded form; meta and body point into what was read.
type record struct {
	id      uint64
	key     Key
	variant uint64
	stamp   Stamp
	seg     uint32
	off     uint32
	meta    []byte
	body    []byte
	bodySum uint32
}

func recordLen(meta, body int) int { return (recordHeader + meta + body + 7) &^ 7 }

// appendRecord encodes r behind dst.
func appendRecord(dst []byte, r *record) []byte {
	le := binary.LittleEndian
	at := len(dst)
	dst = le.AppendUint32(dst, recordMagic)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, r.id)
	dst = append(dst, r.key[:]...)
	dst = le.AppendUint64(dst, r.variant)
	dst = le.AppendUint64(dst, uint64(r.stamp.Stored))
	dst = le.AppendUint64(dst, r.stamp.Epoch)
	dst = le.AppendUint64(dst, r.stamp.Aux)
	dst = le.AppendUint32(dst, r.seg)
	dst = le.AppendUint32(dst, r.off)
	dst = le.AppendUint32(dst, uint32(len(r.meta)))
	dst = le.AppendUint32(dst, uint32(len(r.body)))
	dst = le.AppendUint32(dst, crc32.Checksum(r.meta, castagnoli))
	dst = le.AppendUint32(dst, r.bodySum)
	le.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	dst = append(dst, r.meta...)
	dst = append(dst, r.body...)
	for len(dst)%8 != at%8 {
		dst = append(dst, 0)
	}
	return dst
}

// parseRecord decodes and verifies the record in b.
func parseRecord(b []byte) (record, error) {
	le := binary.LittleEndian
	var r record
	if len(b) < recordHeader || le.Uint32(b) != recordMagic ||
		le.Uint32(b[4:]) != crc32.Checksum(b[8:recordHeader], castagnoli) {
		return r, errCorrupt
	}
	r.id = le.Uint64(b[8:])
	copy(r.key[:], b[16:])
	r.variant = le.Uint64(b[48:])
	r.stamp = Stamp{int64(le.Uint64(b[56:])), le.Uint64(b[64:]), le.Uint64(b[72:])}
	r.seg, r.off = le.Uint32(b[80:]), le.Uint32(b[84:])
	meta, body := int64(le.Uint32(b[88:])), int64(le.Uint32(b[92:]))
	if meta+body > int64(len(b)-recordHeader) {
		return r, errCorrupt
	}
	rest := b[recordHeader:]
	r.meta = rest[:meta:meta]
	r.body = rest[meta : meta+body : meta+body]
	r.bodySum = le.Uint32(b[100:])
	if crc32.Checksum(r.meta, castagnoli) != le.Uint32(b[96:]) || crc32.Checksum(r.body, castagnoli) != r.bodySum {
		return r, errCorrupt
	}
	return r, nil
}
