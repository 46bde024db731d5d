package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
)

// The journal of the index: frames of length (2 bytes), checksum (4 bytes),
// kind (1 byte) and payload. A put frame holds a whole entry and takes the
// place of what was known of its id and of its variant; a delete frame names
// key and id. Frames can be replayed over a newer state without harm, so a
// snapshot may be taken while the journal goes on.
const (
	frameHead  = 7
	framePut   = 1
	frameDel   = 2
	entryLen   = 32 + 8*5 + 8 + 12 + 8 + 4
	delLen     = 32 + 8
	journalBuf = 32 << 10
	journalMax = 4 << 20 // what is kept while the disk does not take it
	ahead      = 1 << 20 // reserved on disk beyond the end
)

// flagMain is set in a stored entry that was in the main queue.
const flagMain = 1 << 7

// appendEntry encodes an entry with its charge and queue.
func appendEntry(dst []byte, e *entry) []byte {
	le := binary.LittleEndian
	dst = append(dst, e.key[:]...)
	dst = le.AppendUint64(dst, e.variant)
	dst = le.AppendUint64(dst, e.id)
	dst = le.AppendUint64(dst, uint64(e.size))
	dst = le.AppendUint64(dst, uint64(e.stamp.Stored))
	dst = le.AppendUint64(dst, e.stamp.Epoch)
	dst = le.AppendUint64(dst, e.stamp.Aux)
	dst = le.AppendUint32(dst, e.seg)
	dst = le.AppendUint32(dst, e.off)
	dst = le.AppendUint32(dst, e.length)
	dst = le.AppendUint64(dst, uint64(e.node.size))
	flags := e.flags &^ flagMain
	if e.node.queue == mainQueue {
		flags |= flagMain
	}
	return append(dst, byte(e.kind), flags, e.freq, 0)
}

// parseEntry decodes an entry; false if it cannot be one.
func parseEntry(b []byte) (e entry, ok bool) {
	if len(b) != entryLen {
		return e, false
	}
	le := binary.LittleEndian
	copy(e.key[:], b)
	e.variant, e.id, e.size = le.Uint64(b[32:]), le.Uint64(b[40:]), int64(le.Uint64(b[48:]))
	e.stamp = Stamp{int64(le.Uint64(b[56:])), le.Uint64(b[64:]), le.Uint64(b[72:])}
	e.seg, e.off, e.length = le.Uint32(b[80:]), le.Uint32(b[84:]), le.Uint32(b[88:])
	e.node.size = int64(le.Uint64(b[92:]))
	e.kind, e.flags, e.freq = kind(b[100]), b[101], min(b[102], 3)
	if e.flags&flagMain != 0 {
		e.flags &^= flagMain
		e.node.queue = mainQueue
	}
	ok = e.id != 0 && e.size >= 0 && e.node.size >= 0 && (e.kind == inSegment || e.kind == inFile)
	return e, ok
}

// frames calls put and del for the frames in b that are right, and returns how
// many bytes were. What is damaged in the middle is skipped: the next frame is
// found by its length, kind and checksum. A frame that is lost so may have been a
// delete: what it named is looked at again when it is used (its record says whose
// it is, and the purges are asked), as after a power failure.
func frames(b []byte, put func(entry), del func(Key, uint64)) (good int) {
	for at := 0; len(b)-at >= frameHead; {
		n := frame(b[at:], put, del)
		if n == 0 {
			at++
			continue
		}
		at += n
		good += n
	}
	return good
}

// frame reads the frame that b begins with; 0: there is none.
func frame(b []byte, put func(entry), del func(Key, uint64)) int {
	le := binary.LittleEndian
	n, kind := int(le.Uint16(b)), b[6]
	if !(kind == framePut && n == entryLen || kind == frameDel && n == delLen) || len(b) < frameHead+n ||
		le.Uint32(b[2:]) != crc32.Checksum(b[6:frameHead+n], castagnoli) {
		return 0
	}
	p := b[frameHead : frameHead+n]
	if kind == frameDel {
		del(Key(p[:32]), le.Uint64(p[32:]))
		return frameHead + n
	}
	e, ok := parseEntry(p)
	if !ok {
		return 0
	}
	put(e)
	return frameHead + n
}

// journal collects frames and writes them to the file of its generation.
type journal struct {
	fs   fsys
	dir  string
	lost func(error) // told, without a lock, when writing fails

	mu       sync.Mutex
	f        file
	gen      uint64
	size     int64
	reserved int64
	written  int64 // since the last snapshot
	buf      []byte
	broken   bool // frames were lost: only a snapshot helps
	dels     bool // a delete frame is in buf
}

func journalName(dir string, gen uint64) string {
	return filepath.Join(dir, fmt.Sprintf("index.%016x.log", gen))
}

func (j *journal) put(e *entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.frame(framePut, func(b []byte) []byte { return appendEntry(b, e) })
}

func (j *journal) del(key *Key, id uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dels = true
	j.frame(frameDel, func(b []byte) []byte {
		return binary.LittleEndian.AppendUint64(append(b, key[:]...), id)
	})
}

func (j *journal) frame(kind byte, payload func([]byte) []byte) {
	if j.broken {
		return
	}
	if len(j.buf) > journalMax {
		j.broken, j.buf = true, nil
		return
	}
	at := len(j.buf)
	j.buf = append(j.buf, 0, 0, 0, 0, 0, 0, kind)
	j.buf = payload(j.buf)
	le := binary.LittleEndian
	le.PutUint16(j.buf[at:], uint16(len(j.buf)-at-frameHead))
	le.PutUint32(j.buf[at+2:], crc32.Checksum(j.buf[at+6:], castagnoli))
	if len(j.buf) >= journalBuf && at < journalBuf {
		j.write() // an error shows again in flush
	}
}

// write writes the buffer with the lock held. What could not be written stays
// and is written again at the same place.
func (j *journal) write() error {
	if j.broken {
		return fmt.Errorf("index journal: %w", ErrDisk)
	}
	if len(j.buf) == 0 || j.f == nil {
		return nil
	}
	n := int64(len(j.buf))
	if _, err := j.f.WriteAt(j.buf, j.size); err != nil {
		return fmt.Errorf("index journal: %w", err)
	}
	j.size += n
	j.written += n
	j.buf, j.dels = j.buf[:0], false
	if j.size+ahead/2 > j.reserved { // best effort: deletes must find room on a full disk
		if err := j.f.Allocate(j.size, ahead); err == nil {
			j.reserved = j.size + ahead
		}
	}
	return nil
}

// tryFlush writes all frames to the file.
func (j *journal) tryFlush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write()
}

// settle flushes if something was deleted: what the caller does next must not
// be undone by a crash.
func (j *journal) settle() {
	j.mu.Lock()
	dels := j.dels
	j.mu.Unlock()
	if dels {
		j.flush()
	}
}

// flush is tryFlush that tells of a failure. A delete that cannot be written
// makes the index on disk useless: it would come back at the next start.
func (j *journal) flush() error {
	j.mu.Lock()
	err := j.write()
	if err != nil && j.dels {
		j.broken, j.buf, j.dels = true, nil, false
	}
	j.mu.Unlock()
	if err != nil {
		j.lost(err)
	}
	return err
}

// rotate begins the file of the next generation; all frames so far are on
// disk in the files before.
func (j *journal) rotate() (gen uint64, err error) {
	var old file
	defer func() {
		if old != nil { // not under the lock: it may take long
			old.Sync()
			old.Close()
		}
	}()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(); err != nil && !j.broken {
		return 0, err
	}
	gen = j.gen + 1
	f, err := j.fs.Open(journalName(j.dir, gen), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return 0, fmt.Errorf("index journal: %w", err)
	}
	old = j.f
	j.f, j.gen, j.size, j.reserved, j.buf = f, gen, 0, 0, nil
	if err := f.Allocate(0, ahead); err == nil {
		j.reserved = ahead
	}
	return gen, nil
}

func (j *journal) close() error {
	err := j.flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f != nil {
		if cerr := j.f.Close(); err == nil {
			err = cerr
		}
		j.f = nil
	}
	return err
}
