package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/catchment/catchment/server/dns/zone"
)

// served is a version of a zone with what is kept beside it.
type served struct {
	*zone.Zone
	conf   *Zone
	source *zone.Source
	stamp  stamp
	epoch  zone.Epoch
	diffs  []*zone.Diff // oldest first, without a gap, to this version
	mixed  bool         // the serial has stood for other records, too

	packed    []packedNode // by Node.ID, for the fast path
	negative  []byte       // the SOA of negative answers, with an owner to be filled in
	apexLen   int
	errorKind [2]uint64 // for the rate limit: of empty answers and of names that are not there
}

// stamp tells a file from what it was.
type stamp struct {
	at   time.Time
	size int64
	ino  uint64
}

// maxDiffs is how many versions back a secondary can be and still get
// differences.
const maxDiffs = 16

// table is all zones at a moment. It never changes.
type table struct {
	zones map[string]*served // by wire name
}

// find returns the zone that a name is in: the longest. A question for DS is
// for the parent where we have that too (RFC 4035 §3.1.4.1).
func (t *table) find(name []byte, above bool) *served {
	var skipped *served
	for {
		if z := t.zones[string(name)]; z != nil {
			if !above {
				return z
			}
			skipped, above = z, false
		} else {
			above = false // only the name itself can be a cut
		}
		if name[0] == 0 {
			return skipped
		}
		name = name[1+name[0]:]
	}
}

// load builds a version of a zone. old is what was served before, or nil; it
// is returned where nothing has changed.
func (s *Server) load(conf *Zone, old *served) (*served, error) {
	z := &served{conf: conf, epoch: zone.EpochAt(s.opt.Now(), conf.Life)}
	var err error
	if conf.source != nil {
		z.source = conf.source
	} else {
		if z.stamp, err = stampOf(conf.File); err != nil {
			return nil, fmt.Errorf("zone %s: %w", conf.Name, err)
		}
		fresh := old == nil || old.stamp != z.stamp || old.conf.File != conf.File || old.conf.Name != conf.Name
		switch {
		case fresh:
			z.source, err = zone.ReadFile(conf.File, conf.Name)
		case old.conf == conf && (conf.Key == nil || old.epoch == z.epoch):
			return old, nil
		default:
			z.source = old.source
		}
		if err != nil {
			return nil, err
		}
	}
	o := zone.Options{Dynamic: conf.Dynamic, Key: conf.Key}
	if conf.Key != nil {
		o.Epoch = z.epoch
	}
	if z.Zone, err = zone.Build(z.source, o); err != nil {
		return nil, err
	}
	z.since(old)
	z.prepare()
	return z, nil
}

// since keeps the differences from older versions (RFC 1995).
func (z *served) since(old *served) {
	if old == nil || old.Apex != z.Apex {
		return
	}
	if z.Serial == old.Serial { // such as with another name that is chosen for
		z.mixed = old.mixed || len(z.conf.Transfer) == 0 || !zone.Same(old.Zone, z.Zone)
		if !z.mixed {
			z.diffs = old.diffs
		}
		return
	}
	if old.mixed || !later(z.Serial, old.Serial) || len(z.conf.Transfer) == 0 {
		return
	}
	d, err := zone.Compare(old.Zone, z.Zone)
	if err != nil {
		return // too large: a secondary gets all of it
	}
	z.diffs = append(slices.Clone(old.diffs), d)
	total := 0
	for i, d := range slices.Backward(z.diffs) {
		if total += len(d.Added) + len(d.Removed); total > zone.MaxDiff || len(z.diffs)-i > maxDiffs {
			z.diffs = z.diffs[i+1:]
			break
		}
	}
}

// later compares serials (RFC 1982).
func later(a, b uint32) bool { return int32(a-b) > 0 }

func stampOf(path string) (stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{at: st.ModTime(), size: st.Size(), ino: inode(st)}, nil
}

// SetZones serves these zones from now on; files are read anew where they
// changed. On an error nothing changes.
func (s *Server) SetZones(zones []Zone) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	o := Options{Zones: zones, Keys: s.opt.Keys}
	if err := o.check(); err != nil {
		return err
	}
	old := s.table.Load()
	next := &table{zones: map[string]*served{}}
	var errs []error
	for i := range zones {
		wire, _, err := zone.Wire(zones[i].Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if next.zones[wire] != nil {
			errs = append(errs, fmt.Errorf("zone %s: twice", zones[i].Name))
			continue
		}
		conf := zones[i]
		z, err := s.load(&conf, old.zones[wire])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		next.zones[wire] = z
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.swap(old, next)
	return nil
}

// Reload reads zone files that changed. A zone whose file is bad stays as it
// was; the error names file and line, and is returned once for each change.
func (s *Server) Reload() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	old := s.table.Load()
	next := &table{zones: map[string]*served{}}
	var errs []error
	for wire, was := range old.zones {
		next.zones[wire] = was
		if st, err := stampOf(was.conf.File); err == nil && s.bad[wire] == st && st != (stamp{}) {
			continue // known to be bad
		}
		z, err := s.load(was.conf, was)
		if err != nil {
			errs = append(errs, err)
			s.bad[wire], _ = stampOf(was.conf.File)
			s.stats.reloadFailed.Add(1)
			continue
		}
		delete(s.bad, wire)
		next.zones[wire] = z
	}
	s.swap(old, next)
	return errors.Join(errs...)
}

// swap puts a table in force and has secondaries told of what is new.
func (s *Server) swap(old, next *table) {
	s.table.Store(next)
	for wire, z := range next.zones {
		was := old.zones[wire]
		if was == z {
			continue
		}
		s.log.Info("zone loaded", "zone", z.Apex, "serial", z.Serial, "names", z.Len(), "signed", z.Signed())
		if was != nil && was.Serial == z.Serial && was.stamp != z.stamp {
			s.log.Warn("the zone's file changed but its serial did not: secondaries will not see it", "zone", z.Apex, "serial", z.Serial)
		}
		s.notices.add(z)
	}
}

// watch looks after zone files and epochs until ctx ends.
func (s *Server) watch(ctx context.Context) {
	t := time.NewTicker(s.opt.Watch)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.Reload(); err != nil {
				s.log.Error("zone not loaded; the old one stays", "error", err)
			}
		}
	}
}
