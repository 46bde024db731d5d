package cachetest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// Every byte of an answer is compared: other bytes and short answers are
// wrong, broken ones are not.
func TestSame(t *testing.T) {
	fresh := func() *ware { w, _ := newWare("/x/100000", 3); return w }
	body, _ := io.ReadAll(fresh())
	if len(body) != 100_000 {
		t.Fatalf("%d bytes", len(body))
	}
	flipped := bytes.Clone(body)
	flipped[77_777] ^= 1
	other, _ := newWare("/x/100000", 4)
	for name, c := range map[string]struct {
		body  io.Reader
		wrong bool
		ok    bool
	}{
		"right":           {bytes.NewReader(body), false, true},
		"a byte a read":   {iotest.OneByteReader(bytes.NewReader(body)), false, true},
		"flipped":         {bytes.NewReader(flipped), true, false},
		"another version": {other, true, false},
		"short":           {bytes.NewReader(body[:99_999]), true, false},
		"long":            {bytes.NewReader(append(bytes.Clone(body), 0)), true, false},
		"broken":          {io.MultiReader(bytes.NewReader(body[:5]), iotest.ErrReader(io.ErrUnexpectedEOF)), false, false},
		"flipped, broken": {io.MultiReader(bytes.NewReader(flipped[:80_000]), iotest.ErrReader(io.ErrUnexpectedEOF)), true, false},
	} {
		err := same(c.body, fresh())
		if (err == nil) != c.ok || errors.Is(err, errWrong) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A piece of an object is made as that piece of the whole is.
func TestWareSeeks(t *testing.T) {
	w, _ := newWare("/x/1000", 0)
	all, _ := io.ReadAll(w)
	for _, at := range []int64{0, 1, 7, 8, 9, 500, 999} {
		w.at = at
		if got, _ := io.ReadAll(w); !bytes.Equal(got, all[at:]) {
			t.Errorf("from %d: other bytes", at)
		}
	}
}

// An origin that breaks off is told by a proxy that stores nothing as a
// broken answer, and grab as refused.
func TestBrokenIsRefused(t *testing.T) {
	org := newWares()
	at, end, err := Loopback(org)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	org.cut.Store(100)
	client := newClient(5 * time.Second)
	defer client.CloseIdleConnections()
	for range 20 {
		if g, err := grab(t.Context(), client, at.String(), "/x/300000", 0, -1); g != refused {
			t.Fatalf("%v, %v", g, err)
		}
	}
	org.cut.Store(0)
	if g, err := grab(t.Context(), client, at.String(), "/x/300000", 100_000, 200_000); g != right {
		t.Fatalf("%v, %v", g, err)
	}
	if resp, err := http.Get("http://" + at.String() + "/nothing"); err != nil || resp.StatusCode != 404 {
		t.Fatal(resp, err)
	}
}

// TestFaults does all harm in its short form to our own cache, each kind to a
// process of its own.
func TestFaults(t *testing.T) {
	o := FaultOptions{Work: t.TempDir(), Quick: true}
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			out := o.try(t.Context(), f, catchmentLib())
			t.Log(strings.Join(out.notes, "; "))
			if out.err != nil {
				t.Fatal(out.err)
			}
			for _, w := range out.wrong {
				t.Error(w)
			}
		})
	}
}
