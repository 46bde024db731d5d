package socket

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health"
)

// lookAgain is how often PID files are read for a new process.
const lookAgain = 500 * time.Millisecond

// process is one that a PID file names.
type process struct {
	pid    int
	cancel context.CancelFunc // nil: it has ended
}

// ended is the end of a process.
type ended struct {
	file string
	pid  int
}

// processes is the state of watchProcesses.
type processes struct {
	*Watcher
	wg   sync.WaitGroup
	last map[string]process // by PID file: the process that was last followed
	said map[string]string  // by PID file: the last complaint
	ends chan ended
}

// watchProcesses keeps a pidfd on the process of each PID file, and hints
// when it ends. A file that is missing or stale waits for the next look.
func (w *Watcher) watchProcesses(ctx context.Context) {
	p := &processes{Watcher: w, last: make(map[string]process), said: make(map[string]string), ends: make(chan ended)}
	defer p.wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		p.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.kick:
		case e := <-p.ends:
			if now := p.last[e.file]; now.pid == e.pid && now.cancel != nil {
				p.forget(e.file)
				p.last[e.file] = process{pid: e.pid}
			}
		}
	}
}

// look reads the PID files and follows the processes that are new.
func (p *processes) look(ctx context.Context) {
	p.mu.Lock()
	files := p.pidFiles
	p.mu.Unlock()
	for _, file := range files {
		if err := p.lookAt(ctx, file); err != nil && err.Error() != p.said[file] {
			p.said[file] = err.Error()
			p.opt.Logger.Debug("health/socket: no process to watch", "file", file, "error", err)
		}
	}
	for file := range p.last {
		if !slices.Contains(files, file) {
			p.forget(file)
		}
	}
}

func (p *processes) lookAt(ctx context.Context, file string) error {
	pid, err := readPID(file)
	if err != nil {
		return err // whatever is followed now is followed on
	}
	last := p.last[file]
	if pid == last.pid && last.cancel != nil {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	if pid == last.pid && hasEnded(fd) { // nobody has reaped it: told already
		_ = unix.Close(fd)
		return nil
	}
	p.forget(file)
	p.follow(ctx, file, pid, os.NewFile(uintptr(fd), "pidfd"))
	return nil
}

// forget stops following the process of a file.
func (p *processes) forget(file string) {
	if last := p.last[file]; last.cancel != nil {
		last.cancel()
		p.opt.Logger.Debug("health/socket: no longer watching", "file", file, "pid", last.pid)
	}
	delete(p.last, file)
}

// follow waits for the end of a process in a goroutine, which costs no thread.
func (p *processes) follow(ctx context.Context, file string, pid int, f *os.File) {
	ctx, cancel := context.WithCancel(ctx)
	p.last[file] = process{pid, cancel}
	p.opt.Logger.Debug("health/socket: watching", "file", file, "pid", pid)
	p.wg.Go(func() {
		defer f.Close()
		defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
		if !waitEnd(f) || ctx.Err() != nil {
			return
		}
		p.opt.OnHint(health.Hint{PIDFile: file, By: health.ByProcess, At: time.Now()})
		select {
		case p.ends <- ended{file, pid}:
		case <-ctx.Done():
		}
	})
}

func readPID(file string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 32)
	n, err := f.Read(buf)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(buf[:n]), []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s holds no process number", file)
	}
	return pid, nil
}

// waitEnd waits until the process has ended, or the file's deadline.
func waitEnd(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(func(fd uintptr) bool {
		return hasEnded(int(fd))
	}) == nil
}

func hasEnded(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1
}
