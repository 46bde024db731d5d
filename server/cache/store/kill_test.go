package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// killDir names the directory in the environment of the child.
const killDir = "CATCHMENT_STORE_KILL_DIR"

// TestKill kills a process with signal 9 while it fills, refreshes, deletes
// and evicts, and reads back what it left: no other bytes.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		killed(t, dir)
		return
	}
	dir := t.TempDir()
	served := 0
	n := rounds(t, 5)
	for i := range n {
		live(t, dir, i)
		served += readBack(t, dir)
	}
	t.Logf("killed %d times, %d objects read back", n, served)
	if served < n {
		t.Fatal("next to nothing was left to read: the test shows nothing")
	}
}

// live runs a child until a random moment after it has begun.
func live(t *testing.T, dir string, round int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for want := 20 + rand.IntN(200); want > 0 && lines.Scan(); want-- {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("round %d: the child ended by itself: %v", round, err)
	}
}

func killOptions(dir string) Options {
	return Options{Dir: dir, RAM: 4 << 20, Disk: 48 << 20, segment: 512 << 10, ScrubRate: -1}
}

// killed is the child: it goes on until it is killed, and says what it did.
func killed(t *testing.T, dir string) {
	s, err := Open(killOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(context.Background())
	done := make(chan string)
	for w := range 3 {
		go func() {
			rnd := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(w)))
			for {
				done <- change(s, rnd)
			}
		}()
	}
	for line := range done {
		fmt.Println(line)
	}
}

// change does one random thing with one of 200 keys.
func change(s *Store, rnd *rand.Rand) string {
	k := rnd.IntN(200)
	switch rnd.IntN(10) {
	case 0:
		return fmt.Sprint("deleted ", s.Delete(key(k)))
	case 1, 2:
		for _, o := range s.Lookup(key(k), nil) {
			seed, size, _ := parseMeta(o.Head().Meta)
			meta := fmt.Appendf(nil, "%d:%d:%d", seed, size, rnd.IntN(1000))
			o.SetMeta(meta, stamp(meta))
			o.Release()
		}
		return "refreshed"
	}
	v := &version{seed: rnd.IntN(1 << 20), size: rnd.IntN(3 * chunkSize)}
	if rnd.IntN(4) > 0 {
		v.size = rnd.IntN(smallMax)
	}
	meta := fmt.Appendf(nil, "%d:%d:0", v.seed, v.size)
	o, err := s.Create(key(k), New{Meta: meta, Stamp: stamp(meta), Size: int64(v.size)})
	if err != nil {
		return err.Error()
	}
	defer o.Release()
	body := v.body()
	for at := 0; at < len(body); at += 100_000 {
		if _, err := o.WriteAt(body[at:min(len(body), at+100_000)], int64(at)); err != nil {
			return err.Error()
		}
	}
	if err := o.Complete(int64(v.size)); err != nil {
		return err.Error()
	}
	return "stored"
}

func parseMeta(meta []byte) (seed, size int, err error) {
	n := 0
	_, err = fmt.Sscanf(string(meta), "%d:%d:%d", &seed, &size, &n)
	return seed, size, err
}

// readBack opens what a killed process left and compares every byte.
func readBack(t *testing.T, dir string) (served int) {
	t.Helper()
	s, err := Open(killOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Status(); st.Disk != DiskOK {
		t.Fatalf("%+v", st)
	}
	for k := range 200 {
		for _, o := range s.Lookup(key(k), nil) {
			seed, size, err := parseMeta(o.Head().Meta)
			if err != nil || o.Head().Stamp != stamp(o.Head().Meta) || o.Size() != int64(size) {
				t.Fatalf("metadata %q, stamp %+v, size %d: %v", o.Head().Meta, o.Head().Stamp, o.Size(), err)
			}
			v := &version{seed: seed, size: size, metas: []string{string(o.Head().Meta)}, whole: true}
			m := &model{t: t, all: map[int]*version{seed: v}}
			m.check(o)
			served += m.served
			o.Release()
		}
	}
	if st := s.Stats(); st.Corrupt > 0 {
		t.Fatalf("%d records or chunks were corrupt after a mere kill", st.Corrupt)
	}
	return served
}

// TestLock opens a directory twice.
func TestLock(t *testing.T) {
	opt := Options{Dir: t.TempDir()}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opt); err == nil {
		t.Fatal("two stores in one directory")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if s, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	if d := s.Stats().Start; d <= 0 || d > time.Since(began) {
		t.Fatalf("start took %s", d)
	}
	s.Close()
}
