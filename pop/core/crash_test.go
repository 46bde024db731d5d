package core

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

const memberEnv = "CORE_TEST_MEMBER"

// memberMain is a member as a process: the test binary called with a directory.
func memberMain(dir string) int {
	c, err := NewEmbedded(Embedded{Dir: dir, Socket: filepath.Join(dir, "s"), MinFree: 1}, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		<-c.Ready()
		fmt.Println("ready")
	}()
	if err := c.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func spawn(t *testing.T, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), memberEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

// TestKilled: a member that is killed while it writes has everything it
// acknowledged when it comes back, its client goes on, and so does a watch.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), deadline(t)
	cmd := spawn(t, dir)
	c, err := NewExternal(External{Endpoints: []string{"unix://" + filepath.Join(dir, "s")}}, Options{Limits: wide, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	start(t, c)
	waitReady(t, c)
	h := listen(t, c, All(KindIntent), 0)
	h.next(t)
	for life := range 2 {
		killer := time.AfterFunc(300*time.Millisecond, func() { cmd.Process.Kill() })
		acked := 0
		for ; ; acked++ {
			if _, err = c.Put(ctx, ann, intent(fmt.Sprint(life, " ", acked)), raw(`1`), Absent); err != nil {
				break
			}
		}
		killer.Stop()
		if !errors.Is(err, Unavailable) {
			t.Fatal(err)
		}
		cmd.Wait()
		cmd = spawn(t, dir)
		s, err := c.List(ctx, Selector{KindIntent, fmt.Sprint(life, " ")})
		for ; errors.Is(err, Unavailable) && lapse.Of(ctx, 20*time.Millisecond); s, err = c.List(ctx, Selector{KindIntent, fmt.Sprint(life, " ")}) {
		}
		if n := len(s.Objects); err != nil || n < acked || n > acked+1 || acked == 0 {
			t.Errorf("%d writes acknowledged, %d there: %v", acked, n, err)
		}
		// The last one may be heard before or after the kill, and so may one
		// that nobody knew of.
		for heard := 0; heard < len(s.Objects); {
			for _, e := range h.next(t).Events {
				if e.Key.Name != fmt.Sprint(life, " ", heard) {
					t.Fatalf("heard %v, want %d", e.Key, heard)
				}
				heard++
			}
		}
	}
}
