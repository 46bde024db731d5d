package front

import (
	"bufio"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The bytes are the same whether the file is in memory, has to come from the disk, or the kernel does not say.
func TestSendAnyFile(t *testing.T) {
	data := make([]byte, 2*sendUnit+12_345)
	rand.Read(data)
	for _, c := range []struct {
		name        string
		blind, drop bool
	}{{"in memory", false, false}, {"on disk", false, true}, {"unknown", true, false}, {"unknown, on disk", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			var hits shelf
			o := hits.putFile(t, "/x", data)
			s := start(t, http.NotFound, &hits, nil)
			s.sender.blind.Store(c.blind)
			if c.drop {
				if err := o.file.Sync(); err != nil {
					t.Fatal(err)
				}
				if err := unix.Fadvise(int(o.file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
					t.Fatal(err)
				}
			}
			conn := s.dial()
			br := bufio.NewReader(conn)
			for range 2 {
				if r := ask(t, conn, br, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "GET")[0]; body(r) != string(data) {
					t.Fatal("wrong body")
				}
			}
		})
	}
}

// What is asked of the kernel is the piece alone: of a file with a hole in memory, the pieces beside it count as there.
func TestCached(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 20
	if err := f.Truncate(size); err != nil { // nothing of it is in memory
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 3*pageSize), size/2); err != nil {
		t.Fatal(err)
	}
	var s sender
	is := func(off, n int64) bool { return s.cached(&writeOp{file: int(f.Fd()), off: off, count: int(n)}) }
	if all := is(size/2, 3*pageSize); s.blind.Load() {
		t.Skip("no cachestat here")
	} else if !all || !is(size/2+5, 3*pageSize-5) || !is(size/2+1, 1) {
		t.Error("what was written is not in memory")
	}
	if is(size/4, size/2) || is(size/2, size/4) || is(0, size) {
		t.Error("a hole is in memory")
	}
	f.Close()
	if is := s.cached(&writeOp{file: -1, count: 1}); is || s.blind.Load() {
		t.Error("a bad descriptor: cached or blind")
	}
}
