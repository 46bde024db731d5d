package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/story"
)

// TestWrongClock plays the stories of testdata/clock. Their catchmentd is ours
// but for the wall clock: no namespace has one of its own, so it is built with
// a package time that adds the seconds in /run/clock to it. The monotonic
// clock is the kernel's.
func TestWrongClock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the standard library anew; run without -short")
	}
	files, err := filepath.Glob("testdata/clock/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	bin := t.TempDir()
	if err := os.CopyFS(bin, os.DirFS(programs(t))); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", wrongClock(t), "-o", filepath.Join(bin, "catchmentd"),
		"github.com/catchment/catchment/cmd/catchmentd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build catchmentd with a wrong clock: %v\n%s", err, out)
	}
	opt := story.Options{Make: story.InNetlab(netlab.Options{Bin: bin})}
	t.Parallel()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { tell(t, file, opt) })
	}
}

// skew is what the wrong clock adds to package time: a file read at most every
// 10 ms of the monotonic clock. Timers call time.Now on the scheduler's stack,
// where nothing may be allocated and no ordinary system call be made. What the
// runtime times by itself, by the monotonic clock, does not pass here.
const skew = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var (
	skewFile              = [...]byte{'/', 'r', 'u', 'n', '/', 'c', 'l', 'o', 'c', 'k', 0}
	skewRead, skewSeconds atomic.Int64
)

func skew(mono int64) int64 {
	last := skewRead.Load()
	if mono-last < 10e6 || !skewRead.CompareAndSwap(last, mono) {
		return skewSeconds.Load()
	}
	cwd := -100
	fd, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&skewFile[0])), syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return skewSeconds.Load()
	}
	var buf [32]byte
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if errno != 0 || n == 0 {
		return skewSeconds.Load()
	}
	sign, sum := int64(1), int64(0)
	for i, c := range buf[:n] {
		switch {
		case i == 0 && c == '-':
			sign = -1
		case c >= '0' && c <= '9':
			sum = sum*10 + int64(c-'0')
		}
	}
	skewSeconds.Store(sign * sum)
	return sign * sum
}
`

// wrongClock writes an overlay for go build in which time.Now is wrong by
// skew, and returns its file.
func wrongClock(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const reading = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reading) != 1 {
		t.Skipf("time.Now of %s reads the clock in another way than this test knows", runtime.Version())
	}
	dir := t.TempDir()
	now, added := filepath.Join(dir, "time.go"), filepath.Join(dir, "skew.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		original: now, filepath.Join(filepath.Dir(original), "skew.go"): added,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		now:                                strings.Replace(string(text), reading, reading+"\tsec += skew(mono)\n", 1),
		added:                              skew,
		filepath.Join(dir, "overlay.json"): string(overlay),
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "overlay.json")
}
