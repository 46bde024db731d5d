package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"testing"
)

func anEntry(n int) entry {
	return entry{
		key: key(n), variant: 3, id: uint64(n + 1), size: 100, stamp: Stamp{1, 2, 3}, seg: 4, off: 8, length: 240,
		kind: inSegment, flags: flagWhole, freq: 2, node: node{size: 240, queue: mainQueue},
	}
}

// FuzzFrames reads journals: no panic, no entry that was not written, and
// what is accepted is the same when written again.
func FuzzFrames(f *testing.F) {
	j := journal{}
	for n := range 3 {
		e := anEntry(n)
		j.put(&e)
		j.del(&e.key, e.id)
	}
	f.Add(j.buf)
	f.Add(j.buf[:len(j.buf)-3])
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := journal{}
		n := frames(b, func(e entry) { again.put(&e) }, func(k Key, id uint64) { again.del(&k, id) })
		if n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		count := 0
		if m := frames(again.buf, func(entry) { count++ }, func(Key, uint64) { count++ }); m != len(again.buf) {
			t.Fatalf("written again: %d of %d bytes read", m, len(again.buf))
		}
	})
}

// TestFrameBits flips every bit of a journal: one frame is lost, all others
// are read.
func TestFrameBits(t *testing.T) {
	j := journal{}
	const pairs = 3
	var ends []int // of each frame
	for n := range pairs {
		e := anEntry(n)
		j.put(&e)
		ends = append(ends, len(j.buf))
		j.del(&e.key, e.id)
		ends = append(ends, len(j.buf))
	}
	for bit := range len(j.buf) * 8 {
		b := bytes.Clone(j.buf)
		b[bit/8] ^= 1 << (bit % 8)
		hit, _ := slices.BinarySearch(ends, bit/8+1) // the frame that is damaged
		var got []int
		n := frames(b, func(e entry) {
			at := int(e.id) - 1
			if e != anEntry(at) {
				t.Fatalf("bit %d: %+v", bit, e)
			}
			got = append(got, 2*at)
		}, func(k Key, id uint64) {
			if k != key(int(id)-1) {
				t.Fatalf("bit %d: delete of %d", bit, id)
			}
			got = append(got, 2*int(id)-1)
		})
		want := slices.DeleteFunc([]int{0, 1, 2, 3, 4, 5}, func(i int) bool { return i == hit })
		length := ends[hit]
		if hit > 0 {
			length -= ends[hit-1]
		}
		if !slices.Equal(got, want) || n != len(b)-length {
			t.Fatalf("bit %d flipped: frames %v in %d of %d bytes, want %v", bit, got, n, len(b), want)
		}
	}
}

// TestEntryCodec brings back what was written.
func TestEntryCodec(t *testing.T) {
	e := anEntry(7)
	b := appendEntry(nil, &e)
	got, ok := parseEntry(b)
	if len(b) != entryLen || !ok || got != e {
		t.Fatalf("%d bytes, %v, %+v", len(b), ok, got)
	}
}

// FuzzBlocks reads snapshots.
func FuzzBlocks(f *testing.F) {
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint64(nil, snapMagic), 1)
	e := anEntry(1)
	list := appendEntry(appendEntry(nil, &e), &e)
	b = le.AppendUint32(le.AppendUint32(b, 2), crc32.Checksum(list, castagnoli))
	b = append(b, list...)
	n := 0
	if bad := readBlocks(b, func(got entry) {
		if n++; got != e {
			f.Fatalf("%+v", got)
		}
	}); bad != 0 || n != 2 {
		f.Fatal(bad, n)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		readBlocks(b, func(e entry) {
			if e.id == 0 || e.size < 0 || e.node.size < 0 {
				t.Fatalf("%+v", e)
			}
		})
	})
}

// FuzzRecord reads records of segments.
func FuzzRecord(f *testing.F) {
	r := record{id: 1, key: key(1), variant: 2, stamp: Stamp{1, 2, 3}, seg: 4, off: 5, meta: []byte("meta"), body: []byte("body!")}
	r.bodySum = checksum(r.body)
	b := appendRecord(nil, &r)
	got, err := parseRecord(b)
	if err != nil || !reflect.DeepEqual(got, r) || len(b) != recordLen(4, 5) {
		f.Fatalf("%v, %+v", err, got)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		if again := appendRecord(nil, &r); len(again) > len(b)+7 || !bytes.Equal(again[:recordHeader+len(r.meta)+len(r.body)], b[:recordHeader+len(r.meta)+len(r.body)]) {
			t.Fatal("accepted, but not what would be written")
		}
	})
}

// FuzzSide reads side files of large objects.
func FuzzSide(f *testing.F) {
	d := side{id: 1, key: key(1), variant: 2, size: 3*chunkSize + 1, stamp: Stamp{1, 2, 3}, meta: []byte("metadata"), sums: []uint32{1, 2, 3, 4}}
	d.done.set(0)
	d.done.set(3)
	got, err := parseSide(appendSide(nil, &d))
	if d.sums[1], d.sums[2] = 0, 0; err != nil || !reflect.DeepEqual(*got, d) {
		f.Fatalf("%v, %+v", err, got)
	}
	f.Add(appendSide(nil, &d))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseSide(b)
		if err != nil {
			return
		}
		again, err := parseSide(appendSide(nil, d))
		if err != nil || !reflect.DeepEqual(d, again) {
			t.Fatalf("%v: %+v, written again %+v", err, d, again)
		}
	})
}

// FuzzIndex starts a store from arbitrary index files.
func FuzzIndex(f *testing.F) {
	j := journal{}
	e := anEntry(1)
	j.put(&e)
	f.Add([]byte{}, j.buf)
	f.Fuzz(func(t *testing.T, snap, log []byte) {
		dir := t.TempDir()
		if len(snap) > 0 {
			if err := os.WriteFile(snapName(dir, 1), snap, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(journalName(dir, 1), log, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().Objects; n != 0 {
			t.Fatalf("%d objects without a file", n)
		}
		put(t, s, 1, []byte("x"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
