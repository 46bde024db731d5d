package store

import (
	"bytes"
	"testing"
)

// TestMoveLosesToRefresh refreshes an object after the reclaiming has read its
// record: the copy of the old record must not win.
func TestMoveLosesToRefresh(t *testing.T) {
	opt := Options{Dir: t.TempDir(), RAM: 8000, ScrubRate: -1}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, pattern(1, 1000))
	k := key(1)
	places := s.disk.placesIn(&s.shards[k.shard()], map[uint32]bool{1: true}, nil)
	if len(places) != 1 {
		t.Fatalf("%d records in the first segment", len(places))
	}
	o := s.Lookup(k, nil)[0]
	if err := o.SetMeta([]byte("new"), stamp([]byte("new"))); err != nil {
		t.Fatal(err)
	}
	o.Release()
	s.disk.move(places[0])
	m := &model{t: t, s: s}
	m.invariants()
	for range 2 {
		o := s.Lookup(k, nil)[0]
		if got := o.Head(); string(got.Meta) != "new" || got.Stamp != stamp(got.Meta) {
			t.Fatalf("metadata %q, stamp %+v", got.Meta, got.Stamp)
		}
		o.Release()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(opt); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
}

// TestReturnedIsKept kills the store right after a refresh, a delete or a
// replacement has returned: it holds.
func TestReturnedIsKept(t *testing.T) {
	for _, size := range []int{1000, 200_000} {
		for op := range 3 {
			returned(t, size, op)
		}
	}
}

func returned(t *testing.T, size, op int) {
	m, f := faulty(t, Options{})
	put(t, m.s, 0, pattern(0, size))
	m.s.disk.journal.flush()
	o := m.s.Lookup(key(0), nil)[0]
	fresh := []byte("new")
	switch op {
	case 0:
		if err := o.SetMeta(fresh, stamp(fresh)); err != nil {
			t.Fatal(err)
		}
	case 1:
		m.s.Delete(key(0))
	case 2:
		create(t, m.s, 0, New{Size: int64(size)})
	}
	f.die(t)
	m.opt.fs = osFS{}
	m.open()
	defer m.close()
	in := Info{}
	m.s.Walk(t.Context(), func(i Info) bool { in = i; return true })
	objs := m.s.Lookup(key(0), nil)
	if op > 0 {
		if len(objs) != 0 {
			t.Fatalf("size %d, operation %d: the old version is back", size, op)
		}
		return
	}
	if len(objs) != 1 || in.Stamp != stamp(fresh) {
		t.Fatalf("size %d: %d objects, stamp in the index %+v", size, len(objs), in.Stamp)
	}
	got := make([]byte, size)
	n, _ := objs[0].ReadAt(got, 0)
	if h := objs[0].Head(); string(h.Meta) != "new" || h.Stamp != stamp(fresh) || !bytes.Equal(got[:n], pattern(0, size)) {
		t.Fatalf("size %d: metadata %q, %d bytes", size, h.Meta, n)
	}
	objs[0].Release()
}
