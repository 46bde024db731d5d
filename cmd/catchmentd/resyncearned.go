package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/catchment/catchment/server/resync/careful"
)

// earnedFile is what pairs of POPs have earned, for networks that have not
// jumped yet: a restart does not begin with first jumps again.
func (f *flows) earnedFile() string { return filepath.Join(f.d.cfg.StateDir, "jumps.json") }

// earnedBefore is what the file says. One that cannot be read is no loss but of
// that.
func (f *flows) earnedBefore() (all []careful.LearnedPair) {
	b, err := os.ReadFile(f.earnedFile())
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("what jumps have earned before cannot be read, they begin anew", "file", f.earnedFile(), "err", err)
		return nil
	}
	return all
}

// earnedEvery is how often the file is written, if anything is new.
const earnedEvery = time.Minute

// keepEarned writes the file now and then, and at the end, until ctx ends.
func (f *flows) keepEarned(ctx context.Context) {
	if f.d.dry {
		return
	}
	tick := time.NewTicker(earnedEvery)
	defer tick.Stop()
	last := []byte("null")
	for over := false; !over; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			over = true
		}
		now, err := json.Marshal(f.core.Pairs())
		if err == nil && !bytes.Equal(now, last) {
			err = writeWhole(f.earnedFile(), func(w io.Writer) error {
				_, err := w.Write(now)
				return err
			})
			last = now
		}
		if err != nil {
			f.log.Warn("what jumps have earned is not on disk, a restart begins anew", "file", f.earnedFile(), "err", err)
		}
	}
}
