package cachetest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Setup is what a subject is started with.
type Setup struct {
	Origin netip.AddrPort // where it fills from: HTTP/1.1
	Dir    string         // an empty folder for its config, store and logs
	CPU    int            // the core it is pinned to; -1 for none
	TLS    *KeyPair       // for an HTTPS listener beside the plain one; nil for none
	Bin    string         // folder with catchmentd
	HTTP   string         // where it shall listen; "" for a free port. The port is part of the names of what ours stores

	// Memory and Disk bound the store, in bytes; 0 takes 256 MiB and 2 GiB. A
	// negative Disk asks for a store in memory alone, where there is the choice.
	Memory, Disk int64
	// StoreDir is where the store on disk lives; "" takes a folder in Dir.
	StoreDir string
}

func (s Setup) withDefaults() Setup {
	if s.Memory == 0 {
		s.Memory = 256 << 20
	}
	if s.Disk == 0 {
		s.Disk = 2 << 30
	}
	if s.StoreDir == "" && s.Disk > 0 {
		s.StoreDir = filepath.Join(s.Dir, "store")
	}
	return s
}

// Subject is a cache that can be put under test.
type Subject struct {
	Name  string
	H2C   bool // speaks HTTP/2 in clear text, with prior knowledge, at its plain listener
	TLS   bool // has an HTTPS listener when asked for
	Ours  bool // goals are about this one
	start func(context.Context, Setup, *Running) error
}

// Running is a subject at work.
type Running struct {
	Subject
	HTTP   string // host:port
	HTTPS  string // host:port; "" without TLS
	Socket string // the control socket, where there is one

	env  []string // of its process, beside ours
	proc *process
	end  func()
}

// Start starts the subject and waits until it listens.
func (s Subject) Start(ctx context.Context, set Setup) (*Running, error) {
	set = set.withDefaults()
	for _, dir := range []string{set.Dir, set.StoreDir} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
		}
	}
	r := &Running{Subject: s}
	if err := s.start(ctx, set, r); err != nil {
		r.Stop()
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return r, nil
}

// startup is how long a subject may take until it listens.
const startup = 20 * time.Second

// run starts the subject's program and waits for its listeners.
func (r *Running) run(ctx context.Context, set Setup, args ...string) error {
	var err error
	if r.proc, err = start(set.CPU, set.Dir, r.env, args...); err != nil {
		return err
	}
	for _, addr := range []string{r.HTTP, r.HTTPS} {
		if addr != "" {
			if err := r.proc.await(ctx, addr, startup); err != nil {
				return err
			}
		}
	}
	return nil
}

// listeners chooses the addresses.
func (r *Running) listeners(set Setup) error {
	if r.HTTP = set.HTTP; r.HTTP == "" {
		port, err := freePort()
		if err != nil {
			return err
		}
		r.HTTP = fmt.Sprintf("127.0.0.1:%d", port)
	}
	if set.TLS == nil || !r.TLS {
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	r.HTTPS = fmt.Sprintf("127.0.0.1:%d", port)
	return nil
}

// Stop ends the subject gently; Kill at once, as a crash would.
func (r *Running) Stop() {
	if r.end != nil {
		r.end()
	}
	if r.proc != nil {
		r.proc.stop(10 * time.Second)
	}
}

// Kill ends it as kill -9 does.
func (r *Running) Kill() {
	if r.end != nil {
		r.end()
	}
	if r.proc != nil {
		r.proc.kill()
	}
}

// Alive says whether the program still runs, and what it said last when not.
func (r *Running) Alive() error {
	if r.proc == nil {
		return nil
	}
	select {
	case <-r.proc.done:
		return fmt.Errorf("%s ended: %v\n%s", r.Name, r.proc.err, r.proc.out)
	default:
		return nil
	}
}

// Output is what the program said last.
func (r *Running) Output() string {
	if r.proc == nil {
		return ""
	}
	return r.proc.out.String()
}

// Usage of its processes; zero for one that lives in our own.
func (r *Running) Usage() Usage {
	if r.proc == nil {
		return Usage{}
	}
	return usage(r.proc.cmd.Process.Pid)
}

// Subjects are all that are known here, ours first.
func Subjects() []Subject {
	return []Subject{
		catchment(),
		catchmentLib(),
		nginx("nginx", ""),
		nginx("nginx-slice", sliceOptions),
		nginx("nginx-h2c", ""),
		varnish(),
		goProxy(),
	}
}

// Named returns the subjects of those names, in that order; those that are
// not installed are left out and named in missing.
func Named(names ...string) (found []Subject, missing []string, err error) {
	for _, name := range names {
		ok := false
		for _, s := range Subjects() {
			if s.Name != name {
				continue
			}
			ok = true
			if program := needs[name]; program != "" {
				if _, err := installed(program); err != nil {
					missing = append(missing, name)
					continue
				}
			}
			found = append(found, s)
		}
		if !ok {
			return nil, nil, fmt.Errorf("no cache is known by the name %q", name)
		}
	}
	return found, missing, nil
}

// needs is the program of each subject that is not ours.
var needs = map[string]string{"nginx": "nginx", "nginx-slice": "nginx", "nginx-h2c": "nginx", "varnish": "varnishd"}
