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
type Store struct {
	path string
	log  *slog.Logger
	next chan Saved // size one: the newest
	kick chan time.Time
}

// NewStore makes a store in dir; Run starts its writer.
func NewStore(dir string, log *slog.Logger) *Store {
	return &Store{path: filepath.Join(dir, "state.json"), log: log, next: make(chan Saved, 1), kick: make(chan time.Time, 1)}
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
	for {
		select {
		case s.next <- v:
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
	for {
		select {
		case v := <-s.next:
			s.write(v)
		case t := <-s.kick:
			s.Touch(t)
		case <-ctx.Done():
			select {
			case v := <-s.next:
				s.write(v)
			default:
			}
			return nil
		}
	}
}

func (s *Store) write(v Saved) {
	if err := writeFile(s.path, v); err != nil {
		s.log.Error("the state is not on disk: a restart would begin from the last one that is", "err", err)
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
