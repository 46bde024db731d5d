package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// version is an object as the model knows it. Its body follows from its seed.
type version struct {
	seed, size int
	metas      []string // the last is current; after a crash the one before, too
	whole      bool
	gone       bool // deleted or replaced
}

var noise = pattern(0, 8<<20)

func (v *version) body() []byte {
	return noise[v.seed*4099%(len(noise)/2):][:v.size]
}

// model is a store beside what was put into it.
type model struct {
	t      *testing.T
	rnd    *rand.Rand
	opt    Options
	s      *Store
	seeds  int
	now    map[string]*version // by key and variant
	all    map[int]*version    // by seed
	key    int                 // of the step that runs; -1: none
	doubt  int                 // key that a crash may have left old or new; -1: none
	served int                 // versions read back
	weak   bool                // after power failures older versions may come back
}

func newModel(t *testing.T, seed uint64, opt Options) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), opt: opt, now: map[string]*version{}, all: map[int]*version{}, key: -1, doubt: -1}
	m.open()
	return m
}

func (m *model) open() {
	s, err := Open(m.opt)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func name(k int, variant uint64) string { return fmt.Sprintf("%d/%d", k, variant) }

var sizes = []int{0, 1, 100, 5000, smallMax - 1, smallMax, smallMax + 1, 200_000, chunkSize, chunkSize + 1, 2*chunkSize + 77}

// step does one random thing.
func (m *model) step() {
	k, variant := m.rnd.IntN(12), uint64(m.rnd.IntN(2))
	m.key = -1
	if m.s.disk != nil && m.rnd.IntN(5) == 0 {
		m.s.disk.journal.flush()
	}
	m.key = k
	switch n := m.rnd.IntN(20); {
	case n < 8:
		m.create(k, variant)
	case n < 14:
		m.read(k)
	case n < 16:
		m.refresh(k, variant)
	case n < 17:
		m.delete(k)
	case n < 19:
		m.resume(k)
	case m.s.disk != nil:
		m.key = -1
		switch m.rnd.IntN(3) {
		case 0:
			m.s.disk.housekeeping(time.Now())
		case 1:
			m.s.disk.snapshot()
		case 2:
			m.s.disk.reclaim()
		}
	}
}

func (m *model) meta(v *version) []byte {
	s := fmt.Sprintf("%d:%d:%d", v.seed, v.size, m.rnd.IntN(1000))
	s += string(bytes.Repeat([]byte{'.'}, m.rnd.IntN(100)))
	v.metas = append(v.metas, s)
	return []byte(s)
}

// stamp follows from the metadata, so that a mix of two shows.
func stamp(meta []byte) Stamp { return Stamp{int64(len(meta)), uint64(checksum(meta)), 7} }

func (m *model) create(k int, variant uint64) {
	m.seeds++
	v := &version{seed: m.seeds, size: sizes[m.rnd.IntN(len(sizes))]}
	m.all[v.seed] = v
	meta := m.meta(v)
	private := m.rnd.IntN(4) == 0
	size := int64(v.size)
	if m.rnd.IntN(3) == 0 {
		size = -1
	}
	o, err := m.s.Create(key(k), New{Variant: variant, Meta: meta, Stamp: stamp(meta), Size: size, Private: private})
	if errors.Is(err, ErrTooLarge) {
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	defer o.Release()
	took := func() {
		if old := m.now[name(k, variant)]; old != nil {
			old.gone = true
		}
		m.now[name(k, variant)] = v
	}
	if !private {
		took()
	}
	stop := len(v.body())
	if m.rnd.IntN(5) == 0 {
		stop = m.rnd.IntN(stop + 1)
	}
	if !m.write(o, v, 0, stop) {
		v.gone = v.gone || o.Gone()
		return
	}
	if private && m.rnd.IntN(2) == 0 {
		took()
		o.Publish()
		private = false
	}
	if stop == v.size {
		v.whole = true
		if err := o.Complete(int64(v.size)); err != nil {
			m.t.Fatalf("complete: %v", err)
		}
	} else if size < 0 {
		v.gone = true
		o.Fail(io.ErrUnexpectedEOF)
	}
	if private && o.Err() == nil {
		took()
		o.Publish()
	}
	m.check(o)
}

// write writes body bytes in pieces.
func (m *model) write(o *Object, v *version, from, to int) bool {
	body := v.body()
	for at := from; at < to; {
		n := min(to-at, 1+m.rnd.IntN(300_000))
		if _, err := o.WriteAt(body[at:at+n], int64(at)); err != nil {
			if !errors.Is(err, ErrTooLarge) && o.Err() == nil && !errors.Is(err, ErrGap) {
				m.t.Fatalf("write: %v", err)
			}
			return false
		}
		at += n
	}
	return true
}

// check compares an open object with its version.
func (m *model) check(o *Object) {
	m.t.Helper()
	h := o.Head()
	var seed, size, n int
	if _, err := fmt.Sscanf(string(h.Meta), "%d:%d:%d", &seed, &size, &n); err != nil {
		m.t.Fatalf("metadata %q: %v", h.Meta, err)
	}
	v := m.all[seed]
	if v == nil || v.size != size || !slices.Contains(v.metas, string(h.Meta)) || h.Stamp != stamp(h.Meta) {
		m.t.Fatalf("metadata %q, stamp %+v of no version", h.Meta, h.Stamp)
	}
	want := v.body()
	if s := o.Size(); s >= 0 && s != int64(size) {
		m.t.Fatalf("size %d, want %d", s, size)
	}
	if o.Whole() {
		if !v.whole {
			m.t.Fatalf("version %d was never completed and is whole", seed)
		}
		if b := o.Bytes(); b != nil && !bytes.Equal(b, want) {
			m.t.Fatalf("version %d: other bytes", seed)
		}
	}
	for off := int64(0); off < int64(size); {
		have := o.Available(off)
		if have == 0 {
			off = (off/chunkSize + 1) * chunkSize
			continue
		}
		buf := make([]byte, have)
		n, err := o.ReadAt(buf, off)
		if n == 0 && errors.Is(err, ErrNotYet) {
			continue // a bad chunk was dropped
		}
		if n == 0 || !bytes.Equal(buf[:n], want[off:off+int64(n)]) {
			m.t.Fatalf("version %d at %d: %d other bytes, %v", seed, off, n, err)
		}
		m.sendfile(o, off, want)
		off += int64(n)
		m.served++
	}
}

func (m *model) sendfile(o *Object, off int64, want []byte) {
	fd, pos, n := o.File(off, 1<<30)
	if n == 0 {
		return
	}
	buf := make([]byte, n)
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	if err := readFull(f, buf, pos); err != nil || !bytes.Equal(buf, want[off:off+n]) {
		m.t.Fatalf("file at %d: other bytes, %v", off, err)
	}
}

// read looks a key up and compares all there is.
func (m *model) read(k int) {
	m.t.Helper()
	seen := map[uint64]bool{}
	for _, o := range m.s.Lookup(key(k), nil) {
		if seen[o.Variant()] {
			m.t.Fatalf("key %d has variant %d twice", k, o.Variant())
		}
		seen[o.Variant()] = true
		m.check(o)
		var seed int
		fmt.Sscanf(string(o.Head().Meta), "%d", &seed)
		v, now := m.all[seed], m.now[name(k, o.Variant())]
		if (v.gone || v != now) && !m.weak && k != m.doubt {
			m.t.Fatalf("key %d: version %d was deleted or replaced", k, seed)
		}
		if last := v.metas[len(v.metas)-1]; last != string(o.Head().Meta) && !m.weak && k != m.doubt {
			m.t.Fatalf("key %d: metadata %q, current is %q", k, o.Head().Meta, last)
		}
		o.Release()
	}
}

func (m *model) refresh(k int, variant uint64) {
	for _, o := range m.s.Lookup(key(k), nil) {
		if o.Variant() == variant {
			var seed int
			fmt.Sscanf(string(o.Head().Meta), "%d", &seed)
			meta := m.meta(m.all[seed])
			if err := o.SetMeta(meta, stamp(meta)); err != nil {
				m.t.Fatal(err)
			}
		}
		o.Release()
	}
}

func (m *model) delete(k int) {
	for variant := range uint64(2) {
		if v := m.now[name(k, variant)]; v != nil {
			v.gone = true
		}
		delete(m.now, name(k, variant))
	}
	m.s.Delete(key(k))
	if n := len(m.s.Lookup(key(k), nil)); n != 0 {
		m.t.Fatalf("%d objects after delete", n)
	}
}

// resume fills what is missing of partial objects.
func (m *model) resume(k int) {
	for _, o := range m.s.Lookup(key(k), nil) {
		var seed int
		fmt.Sscanf(string(o.Head().Meta), "%d", &seed)
		v := m.all[seed]
		ok := o.Size() >= 0
		for _, r := range o.Missing(0, -1) {
			if ok = ok && r.End >= 0 && m.write(o, v, int(r.Off), int(r.End)); !ok {
				break
			}
		}
		if ok {
			v.whole = true
			if err := o.Complete(int64(v.size)); err != nil {
				m.t.Fatalf("complete after resume: %v", err)
			}
		}
		m.check(o)
		o.Release()
	}
}

func (m *model) readAll() {
	m.t.Helper()
	for k := range 12 {
		m.read(k)
	}
}

func (m *model) close() {
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func TestModel(t *testing.T) {
	steps := 800
	if testing.Short() {
		steps = 300
	}
	for _, c := range []struct {
		name string
		opt  Options
	}{
		{"ram", Options{RAM: 8 << 20}},
		{"disk", Options{RAM: 2 << 20, Disk: 64 << 20, segment: 256 << 10}},
		{"tight", Options{RAM: 300_000, Disk: 9 << 20, OpenFiles: 2, Objects: 14, segment: 128 << 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "ram" {
				c.opt.Dir = t.TempDir()
			}
			m := newModel(t, 1, c.opt)
			evicted := uint64(0)
			for i := range steps {
				m.step()
				m.invariants()
				evicted = max(evicted, m.s.Stats().DiskEvicted)
				if m.opt.Dir != "" && i%100 == 99 {
					m.close()
					m.open()
					m.invariants()
				}
			}
			m.readAll()
			if c.name == "tight" && evicted < 5 {
				t.Fatalf("only %d objects evicted from disk", evicted)
			}
			if m.served < steps/10 {
				t.Fatalf("only %d reads found something", m.served)
			}
			if st := m.s.Stats(); st.Corrupt != 0 || st.DiskErrors != 0 {
				t.Fatalf("%+v", st)
			}
			t.Logf("%+v", m.s.Stats())
			m.close()
		})
	}
}
