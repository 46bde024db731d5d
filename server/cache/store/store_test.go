package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func key(n int) Key { return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func pattern(seed, size int) []byte {
	b := make([]byte, 0, size+8)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for len(b) < size {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b[:size]
}

func TestFollow(t *testing.T) {
	s, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(1, 3*chunkSize+5)
	o, err := s.Create(key(1), New{Size: -1, Meta: []byte("m")})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		f := s.Lookup(key(1), nil)[0]
		defer f.Release()
		var all []byte
		buf := make([]byte, 70_000)
		for {
			ch := f.Changed()
			n, err := f.ReadAt(buf, int64(len(all)))
			all = append(all, buf[:n]...)
			switch {
			case errors.Is(err, ErrNotYet):
				<-ch
			case errors.Is(err, io.EOF):
				got <- all
				return
			case err != nil:
				t.Error(err)
				got <- nil
				return
			}
		}
	}()
	for off := 0; off < len(want); off += 100_000 {
		if _, err := o.WriteAt(want[off:min(len(want), off+100_000)], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Complete(int64(len(want)) + 1); !errors.Is(err, ErrShort) {
		t.Fatalf("one byte more than came: %v", err)
	}
	if err := o.Complete(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, want) {
		t.Fatal("follower read other bytes")
	}
	o.Release()
	if n := len(s.Lookup(key(2), nil)); n != 0 {
		t.Fatalf("%d objects under a key never stored", n)
	}
}
