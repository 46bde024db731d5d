package store

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

func open(t *testing.T, opt Options) *Store {
	t.Helper()
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func create(t *testing.T, s *Store, k int, n New) *Object {
	t.Helper()
	o, err := s.Create(key(k), n)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func write(t *testing.T, o *Object, b []byte, off int64) {
	t.Helper()
	if n, err := o.WriteAt(b, off); n != len(b) || err != nil {
		t.Fatalf("%d of %d bytes, %v", n, len(b), err)
	}
}

// kinds runs f on a store in RAM and on one with a disk.
func kinds(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("ram", func(t *testing.T) { f(t, open(t, Options{})) })
	t.Run("disk", func(t *testing.T) { f(t, open(t, Options{Dir: t.TempDir(), ScrubRate: -1})) })
}

func TestMissing(t *testing.T) {
	const c = chunkSize
	kinds(t, func(t *testing.T, s *Store) {
		o := create(t, s, 1, New{Size: 4*c + 10})
		defer o.Release()
		body := noise[:4*c+10]
		write(t, o, body[c:2*c], c)
		write(t, o, body[3*c:3*c+7], 3*c)
		for _, x := range []struct {
			off, end int64
			want     []Range
		}{
			{0, -1, []Range{{0, c}, {2 * c, 3 * c}, {3*c + 7, 4*c + 10}}},
			{0, 1, []Range{{0, c}}},
			{5, c + 5, []Range{{0, c}}},
			{c, 2 * c, nil},
			{c + 1, 2*c + 1, []Range{{2 * c, 3 * c}}},
			{3 * c, 3*c + 7, nil},
			{3*c + 2, 3*c + 8, []Range{{3*c + 7, 4 * c}}},
			{4 * c, 1 << 40, []Range{{4 * c, 4*c + 10}}},
			{5 * c, -1, nil},
			{7, 7, nil},
		} {
			if got := o.Missing(x.off, x.end); !slices.Equal(got, x.want) {
				t.Errorf("Missing(%d, %d) = %v, want %v", x.off, x.end, got, x.want)
			}
		}
		if got := o.Available(c); got != c {
			t.Errorf("Available = %d, want %d", got, c)
		}
		if err := o.Complete(4*c + 10); !errors.Is(err, ErrShort) || o.Whole() {
			t.Errorf("complete with holes: %v", err)
		}
		for _, r := range o.Missing(0, -1) {
			write(t, o, body[r.Off:r.End], r.Off)
		}
		if o.Missing(0, -1) != nil || o.Available(3) != 4*c+7 {
			t.Errorf("missing %v, available %d", o.Missing(0, -1), o.Available(3))
		}
		if err := o.Complete(4*c + 10); err != nil {
			t.Error(err)
		}
	})
}

func TestMissingUnknownSize(t *testing.T) {
	s := open(t, Options{})
	o := create(t, s, 1, New{Size: -1})
	defer o.Release()
	write(t, o, noise[:chunkSize+5], 0)
	if got := o.Missing(0, -1); !slices.Equal(got, []Range{{chunkSize + 5, -1}}) {
		t.Error(got)
	}
	if got := o.Missing(0, chunkSize); got != nil {
		t.Error(got)
	}
}

func TestWriteRefused(t *testing.T) {
	kinds(t, func(t *testing.T, s *Store) {
		o := create(t, s, 1, New{Size: 3 * chunkSize})
		defer o.Release()
		for _, x := range []struct {
			n    int
			off  int64
			want error
		}{
			{1, 1, ErrGap}, {1, chunkSize + 1, ErrGap}, {1, 3 * chunkSize, ErrSize}, {2, 3*chunkSize - 1, ErrSize}, {1, -1, ErrSize},
		} {
			if n, err := o.WriteAt(noise[:x.n], x.off); n != 0 || !errors.Is(err, x.want) {
				t.Errorf("%d bytes at %d: %d, %v", x.n, x.off, n, err)
			}
		}
		write(t, o, []byte("abc"), 0)
		write(t, o, []byte("XYZd"), 0) // what is there stays
		got := make([]byte, 10)
		if n, err := o.ReadAt(got, 0); n != 4 || err != nil || string(got[:n]) != "abcd" {
			t.Errorf("%q, %v", got[:n], err)
		}
		if err := o.Complete(3*chunkSize - 1); !errors.Is(err, ErrSize) {
			t.Error(err)
		}
	})
}

func TestCompleteLengths(t *testing.T) {
	kinds(t, func(t *testing.T, s *Store) {
		for _, size := range []int{0, 1, smallMax, smallMax + 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize} {
			for _, d := range []int{-1, 1, chunkSize, 0} { // the last is right
				want := ErrShort
				switch {
				case size+d < 0:
					continue
				case d < 0:
					want = ErrSize
				case d == 0:
					want = nil
				}
				o := create(t, s, size, New{Size: -1})
				write(t, o, noise[:size], 0)
				if err := o.Complete(int64(size + d)); !errors.Is(err, want) || o.Whole() != (want == nil) {
					t.Errorf("%d bytes completed as %d: %v, want %v", size, size+d, err, want)
				}
				o.Release()
			}
			objs := s.Lookup(key(size), nil)
			if len(objs) != 1 {
				t.Fatalf("%d objects of %d bytes", len(objs), size)
			}
			got := make([]byte, size+1)
			n, err := objs[0].ReadAt(got, 0)
			if n != size || !bytes.Equal(got[:n], noise[:size]) || n == 0 && err != io.EOF {
				t.Errorf("%d of %d bytes: %v", n, size, err)
			}
			objs[0].Release()
		}
	})
}

func TestReplace(t *testing.T) {
	kinds(t, func(t *testing.T, s *Store) {
		put(t, s, 1, noise[:200_000])
		old := s.Lookup(key(1), nil)[0]
		private := create(t, s, 1, New{Size: 5, Private: true})
		if got := s.Lookup(key(1), nil)[0]; got != old || !private.Gone() {
			t.Fatal("a private object is visible")
		}
		old.Release()
		write(t, private, []byte("hello"), 0)
		if err := private.Publish(); err != nil {
			t.Fatal(err)
		}
		if !old.Gone() || private.Gone() {
			t.Fatal("the old version stayed")
		}
		got := make([]byte, 200_000)
		if n, _ := old.ReadAt(got, 0); n != len(got) || !bytes.Equal(got, noise[:n]) {
			t.Fatalf("the old version reads %d bytes", n)
		}
		old.Release()
		private.Fail(io.ErrUnexpectedEOF)
		if len(s.Lookup(key(1), nil)) != 0 || !errors.Is(private.Err(), io.ErrUnexpectedEOF) {
			t.Fatal("a failed object is visible")
		}
		if n, err := private.ReadAt(got, 0); n != 5 || err != nil {
			t.Fatalf("what arrived before the failure: %d, %v", n, err)
		}
		if _, err := private.ReadAt(got, 5); err != io.EOF {
			t.Fatal(err)
		}
		private.Release()
		if st := s.Stats(); st.Objects != 0 || st.Large != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestVariants(t *testing.T) {
	s := open(t, Options{Variants: 3})
	for v := range uint64(5) {
		create(t, s, 1, New{Size: 1, Variant: v}).Release()
	}
	var got []uint64
	for _, o := range s.Lookup(key(1), nil) {
		got = append(got, o.Variant())
		o.Release()
	}
	if !slices.Equal(got, []uint64{4, 3, 2}) {
		t.Fatalf("variants %v, want the newest three", got)
	}
	if n := s.Delete(key(1)); n != 3 {
		t.Fatalf("%d deleted", n)
	}
}

func TestHead(t *testing.T) {
	kinds(t, func(t *testing.T, s *Store) {
		put(t, s, 1, noise[:100])
		o := s.Lookup(key(1), nil)[0]
		h := o.Head()
		if h.Attached() != nil || h.Attach("a") != "a" || h.Attach("b") != "a" {
			t.Fatal("attached", h.Attached())
		}
		o.SetMeta([]byte("new"), Stamp{Stored: 5, Epoch: 6, Aux: 7})
		if string(h.Meta) != "1" || string(o.Head().Meta) != "new" || o.Head().Attached() != nil {
			t.Fatalf("old %q, new %q", h.Meta, o.Head().Meta)
		}
		o.Release()
		in := Info{}
		s.Walk(t.Context(), func(i Info) bool { in = i; return true })
		if in.Stamp != (Stamp{5, 6, 7}) || in.Key != key(1) || !in.Whole || in.Size != 100 {
			t.Fatalf("%+v", in)
		}
	})
}

// TestLimits refuses what is too large, also when that shows only on the way.
func TestLimits(t *testing.T) {
	s := open(t, Options{RAM: 8 << 20})
	if _, err := s.Create(key(1), New{Size: 3 << 20}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	o := create(t, s, 1, New{Size: -1})
	defer o.Release()
	n, err := o.WriteAt(noise[:3<<20], 0)
	if !errors.Is(err, ErrTooLarge) || n == 0 || !errors.Is(o.Err(), ErrTooLarge) {
		t.Fatal(n, err, o.Err())
	}
	if len(s.Lookup(key(1), nil)) != 0 {
		t.Fatal("still visible")
	}
}
