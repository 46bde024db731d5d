package load

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCPU(t *testing.T) {
	c := &cpu{path: filepath.Join(t.TempDir(), "stat")}
	for _, step := range []struct {
		text string
		want float64 // -1: nothing
		err  bool
	}{
		{"cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2\n", -1, false},
		{"cpu  130 10 110 840 5 2 1 2 20 5\n", 0.55, false}, // 55 of 100; guest is in user
		{"cpu  130 10 110 840 5 2 1 2 20 5\n", -1, false},   // no time has passed
		{"cpu  130 10 110 940 4 2 1 2 20 5\n", 0, false},    // iowait goes back at times
		{"cpu  50 5 50 400 2 1 0 1 0 0\n", -1, false},       // CPUs were taken away
		{"cpu  60 5 50 400 2 1 0 1 0 0\n", 1, false},
		{"cpu  x 5 50 400\n", -1, true},
		{"cpu  60 5 50 430 2 1 0 1 0 0\n", 0, false},
		{"intr 5\n", -1, true},
		{"", -1, true},
		{"cpu 0 0 0 0 0\n", -1, true},
	} {
		write(t, c.path, step.text)
		r, err := c.Sample(t.Context())
		if (err != nil) != step.err || (step.want >= 0) != (len(r) == 1) {
			t.Errorf("%q: %v, %v", step.text, r, err)
		} else if len(r) == 1 {
			near(t, step.text, r[0].Value, step.want)
		}
	}
}

func TestPressure(t *testing.T) {
	dir := t.TempDir()
	p := pressure{map[Unit]string{
		PressureCPU: filepath.Join(dir, "cpu"), PressureMemory: filepath.Join(dir, "memory"), PressureIO: filepath.Join(dir, "io"),
	}}
	r, err := p.Sample(t.Context())
	if len(r) != 0 || !errors.Is(err, ErrAbsent) {
		t.Errorf("without PSI: %v, %v", r, err)
	}
	write(t, p.files[PressureCPU], "some avg10=1.53 avg60=1.20 avg300=0.87 total=157622151\n")
	write(t, p.files[PressureMemory], "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n")
	write(t, p.files[PressureIO], "some avg10=0.00\n")
	r, err = p.Sample(t.Context())
	if len(r) != 2 || err == nil || errors.Is(err, ErrAbsent) {
		t.Fatalf("%v, %v", r, err)
	}
	near(t, "cpu", r[0].Value, 157.622151)
	near(t, "memory", r[1].Value, 2)
	if r[1].Unit != PressureMemory || r[1].Kind != Counter {
		t.Errorf("%+v", r[1])
	}
}

func TestCgroup(t *testing.T) {
	dir := t.TempDir()
	c := NewCgroup(dir, 4)
	if r, err := c.Sample(t.Context()); len(r) != 0 || err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("no such group: %v, %v", r, err)
	}
	write(t, filepath.Join(dir, "cpu.stat"), "usage_usec 8000000\nuser_usec 1\n")
	write(t, filepath.Join(dir, "memory.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
	for _, step := range []struct {
		max  string
		want float64
	}{{"", 2}, {"max 100000\n", 2}, {"50000 100000\n", 16}, {"0 100000\n", 2}, {"x\n", 2}} {
		if step.max != "" {
			write(t, filepath.Join(dir, "cpu.max"), step.max)
		}
		r, err := c.Sample(t.Context())
		if len(r) != 2 || !errors.Is(err, ErrAbsent) || r[0].Unit != PressureMemory || r[1].Unit != CPU {
			t.Fatalf("%q: %v, %v", step.max, r, err)
		}
		near(t, step.max, r[1].Value, step.want)
	}
}

// The host this runs on has CPUs, and pressure or says that it has none.
func TestThisHost(t *testing.T) {
	c := NewCPU()
	if _, err := c.Sample(t.Context()); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(30 * time.Second)
	for {
		r, err := c.Sample(t.Context())
		if err != nil || time.Now().After(limit) {
			t.Fatalf("%v, %v", r, err)
		}
		if len(r) == 1 && r[0].Value > 0 && r[0].Value <= 1 {
			break
		}
	}
	r, err := NewPressure().Sample(t.Context())
	if len(r) != 3 && !errors.Is(err, ErrAbsent) {
		t.Errorf("%v, %v", r, err)
	}
}

// FuzzProc: the parsers of the kernel's files give sane numbers or an error.
func FuzzProc(f *testing.F) {
	f.Add("cpu  130 10 110 840 5 2 1 2 20 5\n")
	f.Add("some avg10=1.53 avg60=1.20 avg300=0.87 total=157622151\n")
	f.Add("usage_usec 8000000\nuser_usec 1\n")
	f.Add("50000 100000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if busy, total, err := parseStat(text); err == nil && !(busy >= 0 && busy <= total && total > 0) {
			t.Errorf("busy %v of %v", busy, total)
		}
		if d, err := parsePressure(text); err == nil && d < 0 {
			t.Errorf("pressure %v", d)
		}
		if n, err := parseUsage(text); err == nil && n < 0 {
			t.Errorf("usage %v", n)
		}
		if n, ok := parseQuota(text); ok && !(n > 0) {
			t.Errorf("quota %v", n)
		}
	})
}
