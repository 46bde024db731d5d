package core

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/catchment/catchment/pop/lapse"
)

// embedded runs an etcd member and starts it anew when it stops.
type embedded struct {
	etcd
	cfg Embedded
	log *slog.Logger
	now atomic.Pointer[session]
}

// session is one life of the member.
type session struct {
	etcd    *embed.Etcd
	cli     *clientv3.Client
	mu      sync.Mutex
	why     string
	failure chan struct{}     // closed when the engine broke
	trusted [sha256.Size]byte // digest of the certificates it began with
	again   chan struct{}     // closed when upkeep wants a new session
	cleaned int64             // upkeep's: what compactions had deleted before the last defragmentation
}

func (s *session) broke(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == "" {
		s.why = why
		close(s.failure)
	}
}

// failed is why the engine broke; empty: it did not.
func (s *session) failed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (m *embedded) client() (*clientv3.Client, error) {
	s := m.now.Load()
	if s == nil {
		return nil, errNotRunning("")
	}
	return s.cli, nil
}

var (
	errForever = errors.New("for good")   // another try does not heal it
	errAgain   = errors.New("once again") // nothing is wrong
)

func (m *embedded) run(ctx context.Context, ready func()) error {
	release, err := m.lockDir()
	if err != nil {
		return err
	}
	defer release()
	pause := time.Second
	var was atomic.Bool // ready at least once
	for {
		began := time.Now()
		err := m.live(ctx, func() { was.Store(true); ready() })
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errAgain) {
			continue
		}
		if errors.Is(err, errForever) || !was.Load() && m.cfg.Peers == nil {
			return fail(Unavailable, "member %s: %w", m.cfg.Name, err)
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		m.log.Error("core: the member stopped and will be started again", "err", err, "in", pause)
		lapse.Of(ctx, pause)
		for free, err := freeBytes(m.cfg.Dir); err == nil && free < m.cfg.MinFree; free, err = freeBytes(m.cfg.Dir) {
			if !lapse.Of(ctx, time.Second) {
				return nil // the disk it broke over is still full
			}
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// lockDir keeps a second process out; the engine's own lock would wait.
func (m *embedded) lockDir() (release func(), err error) {
	if err := os.MkdirAll(m.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(m.cfg.Dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fail(Unavailable, "%s is held by another process: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// closing bounds how long a member may take to stop.
const closing = 15 * time.Second

// live is one life of the member: start, serve, stop.
func (m *embedded) live(ctx context.Context, ready func()) error {
	s, err := m.start()
	if err != nil {
		return err
	}
	m.now.Store(s)
	if err = m.fits(s); err == nil {
		err = m.attend(ctx, s, ready)
	}
	m.now.CompareAndSwap(s, nil)
	if !s.close() {
		// It holds locks and files that only the end of this process frees.
		return fmt.Errorf("%w: the engine broke and does not stop: %w", errForever, err)
	}
	return err
}

// fits refuses to run a member of several as one that is alone: it would wait
// for the others, whom it does not listen for.
func (m *embedded) fits(s *session) error {
	all := s.etcd.Server.Cluster().Members()
	if m.cfg.Peers != nil || len(all) < 2 {
		return nil
	}
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: %s is of a member of a core of several (%s): let it listen for them again, or move the directory away to begin with an empty core",
		errForever, filepath.Join(m.cfg.Dir, "etcd"), strings.Join(names, ", "))
}

// close stops the member, and reports whether it did stop.
func (s *session) close() bool {
	patience := closing
	if s.failed() != "" {
		patience = 2 * time.Second
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.cli.Close()
		s.etcd.Close()
	}()
	select {
	case <-stopped:
		return true
	case <-time.After(patience):
		return false
	}
}

// attend looks after a member until it ends.
func (m *embedded) attend(ctx context.Context, s *session, ready func()) error {
	srv := s.etcd.Server
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { m.upkeep(ctx, s, ready) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.again:
		return errAgain
	case <-s.failure:
		return errors.New(s.failed())
	case <-srv.StopNotify():
		return m.ended(s)
	case err := <-s.etcd.Err():
		return err
	}
}

// ended says why a member stopped by itself.
func (m *embedded) ended(s *session) error {
	if !s.removed() {
		return errors.New("the member stopped")
	}
	return fmt.Errorf("%w: the member was removed from the core", errForever)
}

// removed: it belongs to the core no more.
func (s *session) removed() bool {
	for _, member := range s.etcd.Server.Cluster().Members() {
		if member.ID == s.etcd.Server.MemberID() {
			return false
		}
	}
	return true
}

// start makes a session. It has a goroutine of its own because what breaks in
// it ends the goroutine.
func (m *embedded) start() (*session, error) {
	s := &session{failure: make(chan struct{}), again: make(chan struct{}), trusted: m.trusted()}
	cfg, err := m.cfg.engineConfig(zapTo(m.log, s.broke))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForever, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.etcd, err = embed.StartEtcd(cfg); err != nil {
			return
		}
		s.cli = v3client.New(s.etcd.Server)
		if m.cfg.Socket != "" {
			err = os.Chmod(m.cfg.Socket, 0o600)
		}
	}()
	<-done
	switch {
	case err != nil:
		if s.cli != nil {
			s.close()
		}
		return nil, err
	case s.etcd == nil || s.cli == nil:
		return nil, fmt.Errorf("%w: %s", errForever, s.failed())
	}
	return s, nil
}
