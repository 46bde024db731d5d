package balance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/catchment/catchment/policy"
)

// saved is what outlives the daemon besides the wishes, which are the
// controller's.
type saved struct {
	Memory
	Checks map[policy.SliceID]check `json:"checks,omitempty"` // the last step of each slice
}

// remember takes up what a former life left. What load did lately counts from
// the wishes too, in case the file is older or lost. Nothing moves before the
// loads have settled after a start.
func (l *Loop) remember(now time.Time) {
	if l.opt.Path != "" {
		b, err := os.ReadFile(l.opt.Path)
		if err == nil {
			err = json.Unmarshal(b, &l.saved)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("balance: what is remembered of former steps cannot be read, it begins anew", "file", l.opt.Path, "err", err)
			l.saved = saved{}
		}
	}
	past := func(t *time.Time) {
		if t.After(now) { // a clock was wrong
			*t = now
		}
	}
	m := &l.saved.Memory
	for _, w := range l.opt.Controller.Situation().Shed {
		if w.Since.After(m.Shed) {
			m.Shed = w.Since
		}
	}
	past(&m.Shed)
	past(&m.Returned)
	m.Changed = now
}

// save writes to the side and renames. Steps are few: some an hour at most.
func (l *Loop) save() {
	if l.opt.Path == "" {
		return
	}
	b, err := json.Marshal(l.saved)
	if err == nil {
		err = replace(l.opt.Path, b)
	}
	if err != nil {
		l.log.Error("balance: what was done is not on disk, a restart would know less", "err", err)
	}
}

func replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
