package account

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
)

// line is a slot on the disk.
type line struct {
	Slot  int64 `json:"slot"`
	Every int64 `json:"every"`
	// Links are the rates in bit/s that were, and that would have been; a link
	// that is missing was not heard of.
	Links   map[string][2]float64         `json:"links"`
	Quality map[policy.POPID]cost.Quality `json:"quality,omitempty"`
}

// dayFile is the file of the day of a slot.
func (k *Keeper) dayFile(begins time.Time) string {
	return filepath.Join(k.opt.Dir, begins.Format(time.DateOnly)+".jsonl")
}

// write adds a slot to its day's file. One that cannot be written is missing
// after a restart, and only then.
func (k *Keeper) write(slot int64, sent, would []float64, quality []cost.Quality) {
	if k.opt.Dir == "" {
		return
	}
	l := line{Slot: slot, Every: int64(k.cfg.Slot.Seconds()), Links: map[string][2]float64{}, Quality: map[policy.POPID]cost.Quality{}}
	for i, x := range sent {
		if !math.IsNaN(x) {
			l.Links[k.names[i]] = [2]float64{math.Round(x), math.Round(would[i])}
		}
	}
	for i, q := range quality {
		if q != (cost.Quality{}) {
			l.Quality[k.cfg.POPs[i].ID] = q
		}
	}
	b, err := json.Marshal(l)
	if err == nil {
		err = os.MkdirAll(k.opt.Dir, 0o750)
	}
	if err == nil {
		err = appendTo(k.dayFile(k.cfg.begins(slot)), append(b, '\n'))
	}
	if err != nil {
		k.opt.Logger.Error("cost: a slot is not on the disk, it will be missing after a restart", "err", err)
	}
}

// appendTo writes a line at the end of a file. A part of one that a crash has
// left is ended first.
func appendTo(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if fi, e := f.Stat(); e == nil && fi.Size() > 0 {
		last := make([]byte, 1)
		if _, e := f.ReadAt(last, fi.Size()-1); e == nil && last[0] != '\n' {
			b = append([]byte{'\n'}, b...)
		}
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// days are the files there are, the oldest first.
func (k *Keeper) days() []string {
	if k.opt.Dir == "" {
		return nil
	}
	list, err := filepath.Glob(filepath.Join(k.opt.Dir, "????-??-??.jsonl"))
	if err != nil {
		return nil
	}
	slices.Sort(list)
	return list
}

// read fills a ledger with what is on the disk.
func (k *Keeper) read(c *Config, l *cost.Ledger, names []string) {
	for _, file := range k.days() {
		f, err := os.Open(file)
		if err != nil {
			k.opt.Logger.Error("cost: a day cannot be read", "err", err)
			continue
		}
		in := bufio.NewScanner(f)
		in.Buffer(nil, 16<<20)
		for in.Scan() {
			var x line
			if json.Unmarshal(in.Bytes(), &x) == nil && x.Every == int64(c.Slot.Seconds()) {
				restore(c, l, names, &x)
			}
		}
		f.Close()
	}
}

// restore puts a line into a ledger. Links that it does not know are not
// heard of; those that have no price any more are left out.
func restore(c *Config, l *cost.Ledger, names []string, x *line) {
	sent, would := make([]float64, len(names)), make([]float64, len(names))
	for i, name := range names {
		sent[i], would[i] = math.NaN(), math.NaN()
		if v, ok := x.Links[name]; ok {
			sent[i], would[i] = v[0], v[1]
		}
	}
	quality := make([]cost.Quality, len(c.POPs))
	for i := range c.POPs {
		quality[i] = x.Quality[c.POPs[i].ID]
	}
	l.Restore(x.Slot, sent, would, quality)
}

// forget drops what is older than is kept.
func (k *Keeper) forget(now time.Time) {
	oldest := now.UTC().AddDate(0, 0, -k.cfg.Keep)
	k.ledger.Drop(k.cfg.slot(oldest))
	for _, f := range k.days() {
		if strings.TrimSuffix(filepath.Base(f), ".jsonl") < oldest.Format(time.DateOnly) {
			if err := os.Remove(f); err != nil {
				k.opt.Logger.Warn("cost: an old day is not removed", "err", err)
			}
		}
	}
}

// stateFile has whether steering is stopped.
func (k *Keeper) stateFile() string { return filepath.Join(k.opt.Dir, "stopped.json") }

// save keeps a stop over restarts.
func (k *Keeper) save() {
	if k.opt.Dir == "" {
		return
	}
	s := k.stopped.Load()
	_, err := os.Stat(k.stateFile())
	there := err == nil
	switch err = nil; {
	case s == nil && there:
		err = os.Remove(k.stateFile())
	case s != nil && !there:
		var b []byte
		if b, err = json.Marshal(s); err == nil {
			err = os.MkdirAll(k.opt.Dir, 0o750)
		}
		if err == nil {
			err = os.WriteFile(k.stateFile(), b, 0o640)
		}
	}
	if err != nil {
		k.opt.Logger.Error("cost: that steering is stopped, or not, is not on the disk", "err", err)
	}
}

// remember takes up a stop of a former life: calm is waited for anew.
func (k *Keeper) remember() {
	if k.opt.Dir == "" {
		return
	}
	b, err := os.ReadFile(k.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s Stop
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil { // it was stopped, by what is not known
		k.opt.Logger.Error("cost: why steering was stopped cannot be read", "err", err)
		s = Stop{Since: time.Now(), Why: "stalls", Text: "stopped before the last restart"}
	}
	k.stopped.Store(&s)
	k.ceiling.Resume(s.Why)
}
