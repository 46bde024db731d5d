package store

import (
	"encoding/binary"
	"hash/crc32"
)

// The side file of a large object: a header of fixed length with the
// metadata behind it, both under one checksum, then slots of 16 bytes: the
// first says that the object is whole, the others hold the checksum of one
// chunk each. A slot is valid only with its own checksum over the object's
// id, so it can be written in place at any time.
const (
	sideMagic  = 0x31534343 // "CCS1"
	sideHeader = 96
	slotLen    = 16
	wholeSlot  = 0
)

// side is the decoded form.
type side struct {
	id      uint64
	key     Key
	variant uint64
	size    int64
	stamp   Stamp
	meta    []byte
	whole   bool
	done    bitset
	sums    []uint32 // by chunk
}

// slotsAt returns where the slots begin behind metadata of a length.
func slotsAt(meta int) int64 { return int64(sideHeader+meta+slotLen-1) &^ (slotLen - 1) }

// slotAt returns where a slot is; slot 0 is wholeSlot, chunk i is i+1.
func slotAt(meta, slot int) int64 { return slotsAt(meta) + int64(slot)*slotLen }

// appendSlot encodes a valid slot.
func appendSlot(dst []byte, id uint64, slot int, sum uint32) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, sum)
	dst = le.AppendUint32(dst, uint32(slot))
	dst = le.AppendUint32(dst, uint32(id))
	return le.AppendUint32(dst, slotCheck(id, slot, sum))
}

func slotCheck(id uint64, slot int, sum uint32) uint32 {
	le := binary.LittleEndian
	var b [20]byte
	le.PutUint64(b[:], id)
	le.PutUint64(b[8:], uint64(slot))
	le.PutUint32(b[16:], sum)
	return ^crc32.Checksum(b[:], castagnoli)
}

func parseSlot(b []byte, id uint64, slot int) (sum uint32, ok bool) {
	le := binary.LittleEndian
	sum = le.Uint32(b)
	return sum, le.Uint32(b[4:]) == uint32(slot) && le.Uint32(b[8:]) == uint32(id) && le.Uint32(b[12:]) == slotCheck(id, slot, sum)
}

// appendSide encodes the whole side file.
func appendSide(dst []byte, d *side) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, sideMagic)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, d.id)
	dst = append(dst, d.key[:]...)
	dst = le.AppendUint64(dst, d.variant)
	dst = le.AppendUint64(dst, uint64(d.size))
	dst = le.AppendUint64(dst, uint64(d.stamp.Stored))
	dst = le.AppendUint64(dst, d.stamp.Epoch)
	dst = le.AppendUint64(dst, d.stamp.Aux)
	dst = le.AppendUint32(dst, uint32(len(d.meta)))
	dst = le.AppendUint32(dst, uint32(chunkSize))
	dst = append(dst, d.meta...)
	le.PutUint32(dst[4:], crc32.Checksum(dst[8:], castagnoli))
	end := slotAt(len(d.meta), 1+chunks(d.size))
	dst = append(dst, make([]byte, end-int64(len(dst)))...)
	for i := range chunks(d.size) {
		if d.done.has(i) {
			appendSlot(dst[:slotAt(len(d.meta), i+1)], d.id, i+1, d.sums[i])
		}
	}
	if d.whole {
		appendSlot(dst[:slotAt(len(d.meta), wholeSlot)], d.id, wholeSlot, 0)
	}
	return dst
}

// parseSide decodes a side file; chunks whose slot is not valid are absent.
func parseSide(b []byte) (*side, error) {
	le := binary.LittleEndian
	if len(b) < sideHeader || le.Uint32(b) != sideMagic || le.Uint32(b[92:]) != chunkSize {
		return nil, errCorrupt
	}
	meta := int64(le.Uint32(b[88:]))
	if meta > int64(len(b)-sideHeader) || le.Uint32(b[4:]) != crc32.Checksum(b[8:sideHeader+meta], castagnoli) {
		return nil, errCorrupt
	}
	d := &side{
		id: le.Uint64(b[8:]), variant: le.Uint64(b[48:]), size: int64(le.Uint64(b[56:])),
		stamp: Stamp{int64(le.Uint64(b[64:])), le.Uint64(b[72:]), le.Uint64(b[80:])},
		meta:  b[sideHeader : sideHeader+meta : sideHeader+meta],
	}
	copy(d.key[:], b[16:])
	if d.size < 0 || d.size > 1<<50 || slotAt(int(meta), 1+chunks(d.size)) > int64(len(b)) {
		return nil, errCorrupt
	}
	d.sums = make([]uint32, chunks(d.size))
	all := true
	for i := range d.sums {
		sum, ok := parseSlot(b[slotAt(int(meta), i+1):], d.id, i+1)
		if ok {
			d.done.set(i)
			d.sums[i] = sum
		}
		all = all && ok
	}
	_, marked := parseSlot(b[slotAt(int(meta), wholeSlot):], d.id, wholeSlot)
	d.whole = marked && all
	return d, nil
}
