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
	"github.com/catchment/catchment/pop/maintenance"
)

// Saved is what survives the daemon: the decisions' state and the operator's
// intents.
type Saved struct {
	State   policy.State    `json:"state"`
	Intents []policy.Intent `json:"intents,omitempty"`
	// Shed is what load wants of slices.
	Shed map[policy.SliceID]policy.Shed `json:"shed,omitempty"`
	// Announced is how each slice is announced that is.
	Announced []Kept `json:"announced,omitempty"`
	// Windows are the maintenance windows that were added by command, and
	// WindowsEnded the starts of those that an operator ended early.
	Windows      []maintenance.Window `json:"windows,omitempty"`
	WindowsEnded map[string]time.Time `json:"windows_ended,omitempty"`
	// Stopped: the daemon went away in order, with everything withdrawn.
	Stopped bool `json:"stopped,omitempty"`
}

// Store keeps Saved in one file, written to the side and renamed. Its writer
// goroutine takes the newest value only, so that a slow disk delays nobody.
// What could not be written is tried again at each sign of life; until it is
// on disk, the older state there does not count as alive.
type Store struct {
	path  string
	alive string // path of the last sign of life
	log   *slog.Logger
	clock Clock
	next  chan job // size one: the newest
	kick  chan time.Time

	former func() Former // what was there at the first look

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
	s := &Store{
		path: filepath.Join(dir, "state.json"), alive: filepath.Join(dir, "alive.json"), log: log, clock: systemClock(),
		next: make(chan job, 1), kick: make(chan time.Time, 1), changed: make(chan struct{}),
	}
	s.former = sync.OnceValue(s.read)
	return s
}

func (s *Store) String() string { return "store" }

// Former is what a former life left.
type Former struct {
	Saved
	Alive time.Time // when it was last known to be, by the wall clock as it is now; zero: there was none
	// Damaged says that it left something and why it cannot be read.
	Damaged error
}

// Fresh reports whether routers may still hold the routes of that life: it did
// not end in order, and not long before now.
func (f Former) Fresh(now time.Time) bool { return !f.Stopped && Recent(f.Alive, now) }

// Load returns what a former life left, as it was when it was first asked for.
func (s *Store) Load() Former { return s.former() }

func (s *Store) read() Former {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Former{}
	}
	f := Former{Alive: s.lastAlive()}
	if err == nil {
		err = json.Unmarshal(b, &f.Saved)
	}
	if err != nil {
		f.Saved, f.Damaged = Saved{}, fmt.Errorf("state %s: %w", s.path, err)
	}
	return f
}

// Restarting reports whether routers may still hold the routes of a former
// life that did not end in order.
func (s *Store) Restarting() (bool, error) {
	f := s.Load()
	return f.Fresh(time.Now()), f.Damaged
}

// aside keeps a damaged file for a person to look at.
func (s *Store) aside() {
	if s.Load().Damaged == nil {
		return
	}
	if err := os.Rename(s.path, s.path+".bad"); err != nil {
		s.log.Error("the damaged state cannot be kept aside", "err", err)
	}
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

// Run writes until ctx ends, and then what is still waiting.
func (s *Store) Run(ctx context.Context) error {
	s.aside()
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
		s.Touch(time.Now())
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
