package demo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

func TestMain(m *testing.M) { netlab.Main(m, serve.Tools()...) }

// programsFor builds what the nodes run, unless CATCHMENT_BIN has it.
func programsFor(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CATCHMENT_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "../../cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// The whole story on a real world; where it fails, the error says at which
// step.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out strings.Builder
	err := Run(t.Context(), Options{Out: &out, Bin: programsFor(t)})
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), " yes "); n != len(steps) {
		t.Errorf("%d of %d steps were seen", n, len(steps))
	}
	nothingLeft(t)
}

// A demo that is interrupted leaves nothing.
func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	out := interrupter{stop: cancel}
	err := Run(ctx, Options{Out: &out, Bin: programsFor(t)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if strings.Contains(out.text.String(), "figures") {
		t.Errorf("it went on to the end:\n%s", out.text.String())
	}
	nothingLeft(t)
}

// interrupter interrupts in the middle of the first step.
type interrupter struct {
	text strings.Builder
	stop context.CancelFunc
}

func (i *interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "starts") {
		i.stop()
	}
	return i.text.Write(p)
}

func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "catchment-demo-*"))
	if len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range children {
		if raw, err := os.ReadFile(file); err == nil && len(raw) > 0 {
			t.Errorf("processes of the world still run: %s", raw)
		}
	}
}
