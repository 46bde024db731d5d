package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// A snapshot is blocks of a count (4 bytes), a checksum (4 bytes) and so many
// entries. A block with a wrong checksum is left out, the others hold.
const (
	snapBlock   = 1024
	snapHead    = 16 // magic, generation
	snapMagic   = 0x3150414e53434331
	snapTrigger = 16 << 20 // bytes of journal before the next snapshot, at least
)

func snapName(dir string, gen uint64) string {
	return filepath.Join(dir, fmt.Sprintf("index.%016x.snap", gen))
}

// snapshot writes the index while it goes on changing, and removes the
// generations before. Changes meanwhile are in the journal that begins with
// it.
func (d *disk) snapshot() error {
	d.journal.mu.Lock()
	was := d.journal.broken
	d.journal.mu.Unlock()
	gen, err := d.journal.rotate()
	if err != nil {
		return err
	}
	d.journal.mend(false)
	size, err := d.writeSnapshot(gen)
	if err != nil {
		d.journal.mend(was)
		d.noteRemove(d.fs.Remove(snapName(d.dir, gen) + ".tmp"))
		return fmt.Errorf("index snapshot: %w", err)
	}
	d.index.Store(size)
	d.removeGenerations(gen)
	return nil
}

// mend notes whether frames were lost for which no snapshot makes up.
func (j *journal) mend(broken bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = broken
	if !broken {
		j.written = 0
	}
}

func (j *journal) bytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.written
}

func (d *disk) writeSnapshot(gen uint64) (size int64, err error) {
	f, err := d.fs.Open(snapName(d.dir, gen)+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	out := le.AppendUint64(le.AppendUint64(nil, snapMagic), gen)
	for i := range d.s.shards {
		out = d.appendShard(out, &d.s.shards[i])
		if len(out) < 1<<20 && i != shardCount-1 {
			continue
		}
		if _, err = f.WriteAt(out, size); err != nil {
			break
		}
		size += int64(len(out))
		out = out[:0]
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.fs.Rename(snapName(d.dir, gen)+".tmp", snapName(d.dir, gen))
	}
	return size, err
}

// appendShard encodes the entries of one shard in blocks.
func (d *disk) appendShard(out []byte, h *shard) []byte {
	h.mu.Lock()
	d.mu.Lock()
	defer h.mu.Unlock()
	defer d.mu.Unlock()
	le := binary.LittleEndian
	at, count := 0, 0
	finish := func() {
		if count > 0 {
			le.PutUint32(out[at:], uint32(count))
			le.PutUint32(out[at+4:], crc32.Checksum(out[at+8:], castagnoli))
			count = 0
		}
	}
	for _, n := range h.slots {
		for ; n != 0; n = d.s.slab.at(n).next {
			e := d.s.slab.at(n)
			if e.kind == inMemory {
				continue
			}
			if count == 0 {
				at = len(out)
				out = append(out, 0, 0, 0, 0, 0, 0, 0, 0)
			}
			out = appendEntry(out, e)
			if count++; count == snapBlock {
				finish()
			}
		}
	}
	finish()
	return out
}

// readBlocks calls put for every entry of a snapshot and returns how many
// blocks were not right.
func readBlocks(b []byte, put func(entry)) (bad int) {
	le := binary.LittleEndian
	if len(b) < snapHead || le.Uint64(b) != snapMagic {
		return 1
	}
	for b = b[snapHead:]; len(b) > 0; {
		if len(b) < 8 {
			return bad + 1
		}
		n := int(le.Uint32(b))
		if n == 0 || n > snapBlock || len(b) < 8+n*entryLen {
			return bad + 1
		}
		list := b[8 : 8+n*entryLen]
		if crc32.Checksum(list, castagnoli) != le.Uint32(b[4:]) {
			bad++
		} else {
			for ; len(list) > 0; list = list[entryLen:] {
				if e, ok := parseEntry(list[:entryLen]); ok {
					put(e)
				}
			}
		}
		b = b[8+n*entryLen:]
	}
	return bad
}

// generations returns the snapshots and journals in the directory, by number.
func (d *disk) generations() (snaps, logs map[uint64]string, err error) {
	list, err := d.fs.List(d.dir)
	if err != nil {
		return nil, nil, err
	}
	snaps, logs = map[uint64]string{}, map[uint64]string{}
	for _, f := range list {
		var gen uint64
		name := f.Name()
		if _, err := fmt.Sscanf(name, "index.%16x.", &gen); err != nil {
			continue
		}
		switch path := filepath.Join(d.dir, name); {
		case strings.HasSuffix(name, ".snap"):
			snaps[gen] = path
		case strings.HasSuffix(name, ".log"):
			logs[gen] = path
		default:
			d.noteRemove(d.fs.Remove(path))
		}
	}
	return snaps, logs, nil
}

// removeGenerations removes what came before a snapshot.
func (d *disk) removeGenerations(before uint64) {
	snaps, logs, err := d.generations()
	if err != nil {
		d.log.Warn("cache store: old index files stay", "error", err)
		return
	}
	for _, m := range []map[uint64]string{snaps, logs} {
		for gen, name := range m {
			if gen < before {
				d.noteRemove(d.fs.Remove(name))
			}
		}
	}
}

// invalidate makes the index on disk unusable, when it cannot be kept up: a
// start would bring back what was deleted. Without the journal that belongs
// to the snapshot a start begins empty.
func (d *disk) invalidate() {
	_, logs, err := d.generations()
	if err != nil {
		d.log.Warn("cache store: outdated index stays on disk", "error", err)
		return
	}
	for _, name := range logs {
		d.noteRemove(d.fs.Remove(name))
	}
}
