package pop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Saved is what survives the daemon: the decisions' state and the operator's
// intents.
type Saved struct {
	State   policy.State    `json:"state"`
	Intents []policy.Intent `json:"intents,omitempty"`
	// Stopped: the daemon went away in order, with everything withdrawn.
	Stopped bool `json:"stopped,omitempty"`
}

// Store keeps Saved in one file, written to the side and renamed. Its writer
// goroutine takes the newest value only, so that a slow disk delays nobody.
// What could not be written is tried again at each sign of life; until it is
// on disk, the older state there does not count as alive.
type Store struct {
	path string
	log  *slog.Logger
	next chan job // size one: the newest
	kick chan time.Time

	mu      sync.Mutex
	asked   uint64 // number of the newest value handed over
	tried   uint64 // of the newest that was written, or failed to be
	err     error  // of it
	changed chan struct{}
}

type job struct {
	number uint64
	value  Saved
}

// NewStore makes a store in dir; Run starts its writer.
func NewStore(dir string, log *slog.Logger) *Store {
	return &Store{path: filepath.Join(dir, "state.json"), log: log, next: make(chan job, 1), kick: make(chan time.Time, 1), changed: make(chan struct{})}
}

func (s *Store) String() string { return "store" }

// Load reads what a former life left, and when that life was last known to be
// alive. No file is no error: the zero Saved.
func (s *Store) Load() (Saved, time.Time, error) {
	var v Saved
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, time.Time{}, nil
	}
	if err != nil {
		return v, time.Time{}, fmt.Errorf("state: %w", err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Saved{}, time.Time{}, fmt.Errorf("state %s: %w", s.path, err)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return v, time.Time{}, fmt.Errorf("state: %w", err)
	}
	return v, info.ModTime(), nil
}

// Restarting reports whether routers may still hold the routes of a former
// life that did not end in order.
func (s *Store) Restarting() (bool, error) {
	v, alive, err := s.Load()
	return !v.Stopped && Recent(alive, time.Now()), err
}

// Save hands over the value to write; an older one still waiting is dropped.
func (s *Store) Save(v Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	for {
		select {
		case s.next <- job{s.asked, v}:
			return
		default:
		}
		select {
		case <-s.next:
		default:
		}
	}
}

// Alive notes that the daemon was alive at t.
func (s *Store) Alive(t time.Time) {
	select {
	case s.kick <- t:
	default:
	}
}

// Touch makes t the time at which the daemon was last alive.
func (s *Store) Touch(t time.Time) { os.Chtimes(s.path, t, t) } // of a file that may not be there yet

// Run writes until ctx ends, and then what is still waiting.
func (s *Store) Run(ctx context.Context) error {
	var owed *job // could not be written
	for {
		select {
		case j := <-s.next:
			owed = s.write(j)
		case t := <-s.kick:
			if owed != nil {
				owed = s.write(*owed)
			}
			if owed == nil {
				s.Touch(t)
			}
		case <-ctx.Done():
			select {
			case j := <-s.next:
				owed = &j
			default:
			}
			if owed != nil {
				s.write(*owed)
			}
			return nil
		}
	}
}

// write returns the job if it could not be done.
func (s *Store) write(j job) *job {
	err := writeFile(s.path, j.value)
	s.mu.Lock()
	was := s.err
	s.tried, s.err = j.number, err
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	switch {
	case err == nil:
		if was != nil {
			s.log.Info("the state is on disk again")
		}
		return nil
	case was == nil:
		s.log.Error("the state is not on disk: a restart would begin from the last one that is", "err", err)
	}
	return &j
}

// Err returns why the newest state is not on disk; nil while nothing is wrong.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Settled waits until what was saved so far is on disk, or could not be
// written: that is its error, or that of ctx.
func (s *Store) Settled(ctx context.Context) error {
	s.mu.Lock()
	number := s.asked
	s.mu.Unlock()
	for {
		s.mu.Lock()
		tried, err, changed := s.tried, s.err, s.changed
		s.mu.Unlock()
		if tried >= number {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the disk has not taken it yet: %w", ctx.Err())
		}
	}
}

func writeFile(path string, v Saved) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, path)
}
