package store

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// largeFile is the data file of an open large object, sparse while chunks
// are missing, and what is known of its side file. Guarded by Object.mu but
// for reads of the data.
type largeFile struct {
	d     *disk
	id    uint64
	f     file
	bytes int64    // of the body on disk, as charged to the quota
	side  bool     // the side file exists
	meta  int      // length of the metadata in it
	sums  []uint32 // checksums of the chunks that are complete in the file
}

func (d *disk) dataName(id uint64) string { return d.largeName(id) + ".data" }
func (d *disk) sideName(id uint64) string { return d.largeName(id) + ".side" }

func (d *disk) largeName(id uint64) string {
	return filepath.Join(d.dir, "large", fmt.Sprintf("%02x", byte(id)), fmt.Sprintf("%016x", id))
}

// createLarge makes the data file of an object.
func (d *disk) createLarge(id uint64, size int64) (*largeFile, error) {
	if err := d.fs.MkdirAll(filepath.Dir(d.dataName(id))); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(d.dataName(id), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		if err := f.Truncate(size); err != nil {
			f.Close()
			d.fs.Remove(d.dataName(id))
			return nil, err
		}
	}
	return &largeFile{d: d, id: id, f: f}, nil
}

// write puts bytes at off; they are charged to the quota.
func (l *largeFile) write(p []byte, off int64) error {
	if _, err := l.f.WriteAt(p, off); err != nil {
		return err
	}
	l.bytes += int64(len(p))
	l.d.large.Add(int64(len(p)))
	return nil
}

func (l *largeFile) read(p []byte, off int64) error { return readFull(l.f, p, off) }

// remember notes the checksum of a chunk that is complete in the file.
func (l *largeFile) remember(i int, sum uint32) {
	for i >= len(l.sums) {
		l.sums = append(l.sums, 0)
	}
	l.sums[i] = sum
}

// writeSide writes the side file anew and puts it in place at once.
func (l *largeFile) writeSide(s *side) error {
	name := l.d.sideName(l.id)
	f, err := l.d.fs.Open(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(appendSide(nil, s), 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = l.d.fs.Rename(name+".tmp", name)
	}
	if err != nil {
		l.d.fs.Remove(name + ".tmp")
		return err
	}
	l.side, l.meta = true, len(s.meta)
	return nil
}

// writeSlot writes one slot of the side file in place; b is a slot or zeros.
func (l *largeFile) writeSlot(slot int, b []byte) error {
	f, err := l.d.fs.Open(l.d.sideName(l.id), os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, slotAt(l.meta, slot))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// removeLarge deletes the files of an object and gives back its charge.
func (d *disk) removeLarge(id uint64, charged int64) {
	d.large.Add(-charged)
	d.noteRemove(d.fs.Remove(d.dataName(id)))
	d.noteRemove(d.fs.Remove(d.sideName(id)))
}

// openLarge reads the side file of an object and opens its data.
func (d *disk) openLarge(id uint64, key *Key, variant uint64) (*largeFile, *side, error) {
	name := d.sideName(id)
	f, err := d.fs.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size, err := d.fs.Size(name)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, size)
	if err := readFull(f, b, 0); err != nil {
		return nil, nil, err
	}
	s, err := parseSide(b)
	if err == nil && (s.id != id || s.key != *key || s.variant != variant) {
		err = errCorrupt
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	data, err := d.fs.Open(d.dataName(id), os.O_RDWR)
	if err != nil {
		return nil, nil, err
	}
	l := &largeFile{d: d, id: id, f: data, side: true, meta: len(s.meta), sums: s.sums}
	for i := range s.sums {
		if s.done.has(i) {
			l.bytes += chunkLen(s.size, i)
		}
	}
	return l, s, nil
}

// checksum reads a chunk and returns its checksum.
func (l *largeFile) checksum(i int, length int64) (uint32, error) {
	b := make([]byte, min(length, 128<<10))
	sum := uint32(0)
	for at := int64(0); at < length; at += int64(len(b)) {
		b = b[:min(int64(len(b)), length-at)]
		if err := l.read(b, int64(i)*chunkSize+at); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, b)
	}
	return sum, nil
}
