package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxProc bounds what is read of a file in /proc: its first lines are enough.
const maxProc = 64 << 10

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProc))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return string(text), nil
}

// absent marks the errors of what a kernel does not have.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return err
}

// cpu samples the CPUs of the host.
type cpu struct {
	path        string
	busy, total float64 // of the last sample, ticks
}

// NewCPU returns a sampler of CPU from /proc/stat: the share of time in which
// the CPUs did not idle or wait for I/O; what a hypervisor took away counts as
// busy. The first sample has nothing to compare with and says nothing.
func NewCPU() Sampler { return &cpu{path: "/proc/stat"} }

// Sample implements Sampler.
func (c *cpu) Sample(context.Context) (Reading, error) {
	text, err := readFile(c.path)
	if err != nil {
		return nil, absent(err)
	}
	busy, total, err := parseStat(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	b, t, first := busy-c.busy, total-c.total, c.total == 0
	c.busy, c.total = busy, total
	if first || t <= 0 { // CPUs that come or go take their ticks with them
		return nil, nil
	}
	return Reading{{Unit: CPU, Kind: Mean, Value: min(max(b, 0)/t, 1)}}, nil
}

// parseStat reads the line of all CPUs in /proc/stat (proc(5)): user nice
// system idle iowait irq softirq steal; guest is part of user.
func parseStat(text string) (busy, total float64, err error) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 5 || f[0] != "cpu" {
		return 0, 0, errors.New("has no line of all CPUs")
	}
	for i, s := range f[1:min(len(f), 9)] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%.40q is no number of ticks", s)
		}
		total += float64(n)
		if i != 3 && i != 4 {
			busy += float64(n)
		}
	}
	if total == 0 {
		return 0, 0, errors.New("says that no time has passed")
	}
	return busy, total, nil
}

// pressure samples files of the kernel's pressure stall information.
type pressure struct {
	files map[Unit]string
}

// NewPressure returns a sampler of PressureCPU, PressureMemory and PressureIO
// from /proc/pressure. Kernels without PSI, and those started with psi=0, give
// ErrAbsent.
func NewPressure() Sampler {
	return pressure{map[Unit]string{
		PressureCPU: "/proc/pressure/cpu", PressureMemory: "/proc/pressure/memory", PressureIO: "/proc/pressure/io",
	}}
}

// Sample implements Sampler.
func (p pressure) Sample(context.Context) (Reading, error) {
	var r Reading
	var errs []error
	for _, u := range []Unit{PressureCPU, PressureMemory, PressureIO} {
		total, err := readPressure(p.files[u])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r = append(r, Point{Unit: u, Kind: Counter, Value: total.Seconds()})
	}
	return r, errors.Join(errs...)
}

func readPressure(path string) (time.Duration, error) {
	text, err := readFile(path)
	if err != nil {
		return 0, absent(err)
	}
	total, err := parsePressure(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return total, nil
}

// parsePressure reads the total time of the line "some" of a PSI file
// (Documentation/accounting/psi.rst):
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=12345
func parsePressure(text string) (time.Duration, error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "some" {
			continue
		}
		for _, s := range f[1:] {
			if s, ok := strings.CutPrefix(s, "total="); ok {
				n, err := strconv.ParseUint(s, 10, 64)
				if err != nil || n > uint64(1<<63-1)/1000 {
					return 0, fmt.Errorf("total=%.40s is no number of microseconds", s)
				}
				return time.Duration(n) * time.Microsecond, nil
			}
		}
	}
	return 0, errors.New("has no total of some")
}

// cgroup samples a control group.
type cgroup struct {
	dir  string
	cpus int
}

// NewCgroup returns a sampler of CPU and pressure of a control group (cgroup
// v2) by its directory, such as /sys/fs/cgroup/system.slice/nginx.service:
// for servers that may use a part of the host only. CPU is the share of the
// group's limit (cpu.max), where it has none of cpus.
func NewCgroup(dir string, cpus int) Sampler { return &cgroup{dir, max(cpus, 1)} }

// Sample implements Sampler.
func (c *cgroup) Sample(ctx context.Context) (Reading, error) {
	used, err := c.usage()
	if err != nil {
		return nil, err // no such group, and that is a fault
	}
	r, err := pressure{map[Unit]string{
		PressureCPU: filepath.Join(c.dir, "cpu.pressure"), PressureMemory: filepath.Join(c.dir, "memory.pressure"),
		PressureIO: filepath.Join(c.dir, "io.pressure"),
	}}.Sample(ctx)
	return append(r, used), err
}

// usage is the CPU time that the group has used, in seconds of all it may.
func (c *cgroup) usage() (Point, error) {
	text, err := readFile(filepath.Join(c.dir, "cpu.stat"))
	if err != nil {
		return Point{}, err
	}
	micros, err := parseUsage(text)
	if err != nil {
		return Point{}, fmt.Errorf("%s/cpu.stat: %w", c.dir, err)
	}
	cpus := float64(c.cpus)
	limit, err := readFile(filepath.Join(c.dir, "cpu.max"))
	switch {
	case errors.Is(err, fs.ErrNotExist): // the root group
	case err != nil:
		return Point{}, err
	default:
		if q, ok := parseQuota(limit); ok {
			cpus = q
		}
	}
	// With another limit it is another count.
	return Point{Unit: CPU, Kind: Counter, Value: micros / 1e6 / cpus, Epoch: math.Float64bits(cpus)}, nil
}

// parseUsage reads usage_usec of cpu.stat.
func parseUsage(text string) (float64, error) {
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("usage_usec %.40q is no number", s)
			}
			return float64(n), nil
		}
	}
	return 0, errors.New("has no usage_usec")
}

// parseQuota reads cpu.max, "QUOTA PERIOD" in microseconds: the CPUs that may
// be used; false with "max" for a quota.
func parseQuota(text string) (float64, bool) {
	f := strings.Fields(text)
	if len(f) != 2 {
		return 0, false
	}
	quota, err1 := strconv.ParseUint(f[0], 10, 63)
	period, err2 := strconv.ParseUint(f[1], 10, 63)
	if err1 != nil || err2 != nil || quota == 0 || period == 0 {
		return 0, false
	}
	return float64(quota) / float64(period), true
}
