package purge

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// compactIfLong rewrites a journal that has grown over twice what is kept.
func (p *Purges) compactIfLong() {
	j := p.journal
	if j == nil || j.lines <= 2*p.opt.Max+1000 || len(j.unsaved) > 0 {
		return
	}
	if err := p.compact(); err != nil {
		p.failed.Add(1)
		p.opt.Logger.Error("purge journal cannot be rewritten", "err", err)
	}
}

// compact writes a new journal without what is forgotten, and with the oldest
// folded where the rest is too much, and puts it in the old one's place.
func (p *Purges) compact() error {
	var lines []line
	old := p.journal
	if _, err := old.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	dropped := Epoch(0)
	again := &journal{f: old.f}
	err := again.read(func(l *line) {
		if l.Kind == "" || l.ID <= p.oldest {
			dropped = max(dropped, l.ID, l.Floor)
			return
		}
		lines = append(lines, *l)
	})
	if err != nil {
		return err
	}
	if len(lines) > p.opt.Max {
		lines = squeeze(lines, p.opt.Max/2)
	}
	floor := line{Floor: dropped}
	for i := range lines {
		floor.Floor = max(floor.Floor, lines[i].Floor)
	}
	if floor.Floor > 0 {
		lines = append([]line{floor}, lines...)
	}
	if err := p.replace(lines); err != nil {
		return err
	}
	p.floor = max(p.floor, floor.Floor)
	return nil
}

// replace puts a journal of these lines in the old one's place.
func (p *Purges) replace(lines []line) error {
	dir := filepath.Dir(p.journal.path)
	name := p.journal.path + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	next := &journal{path: p.journal.path, f: f}
	err = next.append(lines)
	if err == nil {
		err = os.Rename(name, next.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	old := p.journal
	p.journal = next
	return errors.Join(old.close(), syncDir(dir))
}

// List returns at most limit purges after since, oldest first. It is not complete
// where older ones are forgotten or folded: who follows from there has to
// invalidate everything that is older than the first one listed.
func (p *Purges) List(since Epoch, limit int) (entries []Entry, complete bool, err error) {
	p.write.Lock()
	defer p.write.Unlock()
	complete = since >= p.floor
	if len(p.recent) > 0 && since < p.recent[0].ID && p.journal != nil {
		if entries, err = p.listFile(since, limit); err != nil || len(p.journal.unsaved) == 0 {
			return entries, complete, err
		}
		entries = nil
	}
	for _, e := range p.recent {
		if e.ID > since && len(entries) < limit {
			entries = append(entries, e)
		}
	}
	return entries, complete, nil
}

// listFile is List from the journal.
func (p *Purges) listFile(since Epoch, limit int) (entries []Entry, err error) {
	j := p.journal
	again := &journal{f: j.f}
	if _, err := j.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	err = again.read(func(l *line) {
		if l.Kind != "" && l.ID > since && len(entries) < limit {
			entries = append(entries, l.Entry)
		}
	})
	return entries, err
}
