package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// invariants compares the counters with what is there.
func (m *model) invariants() {
	m.t.Helper()
	s := m.s
	st := s.Stats()
	objects, stored := 0, int64(0)
	s.Walk(context.Background(), func(in Info) bool {
		objects++
		if in.Tier == Disk {
			stored += in.Stored
		}
		return true
	})
	if objects != st.Objects {
		m.t.Fatalf("walk finds %d objects, index has %d", objects, st.Objects)
	}
	if s.disk == nil {
		return
	}
	if got := s.disk.q.bytes(); got != stored {
		m.t.Fatalf("queue holds %d bytes, objects %d", got, stored)
	}
	live, large, files := m.charges()
	if st.Live != live || st.Large != large || s.disk.dying.Load() != 0 {
		m.t.Fatalf("live %d, want %d; large %d, want %d; dying %d", st.Live, live, st.Large, large, s.disk.dying.Load())
	}
	each(m.t, filepath.Join(s.opt.Dir, "large"), func(name string, _ int64) {
		if !files[strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))] {
			m.t.Fatalf("%s belongs to no object", name)
		}
	})
}

// charges adds up what the objects are charged, and names the large ones.
func (m *model) charges() (live, large int64, files map[string]bool) {
	s := m.s
	files = map[string]bool{}
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		for _, n := range h.slots {
			for ; n != 0; n = s.slab.at(n).next {
				e := s.slab.at(n)
				id := fmt.Sprintf("%016x", e.id)
				switch {
				case e.kind == inSegment:
					live += int64(e.length)
				case e.open != 0 && h.open[e.open-1].b.file != nil:
					large += h.open[e.open-1].b.file.bytes
					files[id] = true
				case e.kind == inFile:
					large += e.node.size
					files[id] = true
				}
			}
		}
		h.mu.Unlock()
	}
	return live, large, files
}
