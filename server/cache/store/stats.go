package store

import (
	"context"
	"sync/atomic"
	"time"
)

type counters struct {
	created, misses, ramHits, diskHits atomic.Uint64
	start                              time.Duration
}

// Stats are figures of the store at one time; counters count from Open on.
type Stats struct {
	Objects   int   // in the index
	RAM       int64 // bytes of bodies and metadata held in RAM
	RAMQuota  int64
	Resident  int // objects with their body in RAM
	OpenFiles int // large objects kept open

	Created, Misses, RAMHits, DiskHits uint64
	RAMEvicted                         uint64

	Disk       int64 // bytes of all files
	DiskQuota  int64
	DiskLimit  int64 // the quota, or less after the disk was full
	Live       int64 // bytes of small objects in segments that are in the index
	Segments   int
	Large      int64 // bytes of bodies of large objects
	DiskErrors uint64

	DiskEvicted, Reclaimed, Copied uint64 // objects; bytes of segments removed; bytes copied for that

	Start       time.Duration // how long Open took
	ScrubPasses uint64
	ScrubDone   float64 // share of the pass that runs
	ScrubBytes  uint64
	Corrupt     uint64 // records and chunks found bad, and dropped
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	st := Stats{
		Objects: s.slab.count(), RAMQuota: s.opt.RAM,
		Created: s.count.created.Load(), Misses: s.count.misses.Load(),
		RAMHits: s.count.ramHits.Load(), DiskHits: s.count.diskHits.Load(),
	}
	st.RAM, st.Resident, st.OpenFiles, st.RAMEvicted = s.res.use()
	st.Start = s.count.start
	if d := s.disk; d != nil {
		st.Disk, st.DiskQuota, st.DiskLimit = d.total(), d.quota, d.health.limit.Load()
		_, st.Live, st.Segments = d.segs.use()
		st.Large, st.DiskErrors = d.large.Load(), d.health.errs.Load()
		st.DiskEvicted, st.Reclaimed, st.Copied = d.evicted.Load(), d.reclaimed.Load(), d.copied.Load()
		st.ScrubPasses, st.ScrubBytes, st.Corrupt = d.scrub.passes.Load(), d.scrub.bytes.Load(), d.scrub.bad.Load()
		st.ScrubDone = float64(d.scrub.at.Load()) / shardCount
	}
	return st
}

// Tier says where the body of an object is.
type Tier string

// Tiers.
const (
	RAM  Tier = "ram"
	Disk Tier = "disk"
)

// Info describes an object in the index.
type Info struct {
	Key     Key
	Variant uint64
	ID      uint64
	Size    int64 // -1 unknown
	Stored  int64 // bytes on disk
	Stamp   Stamp
	Whole   bool
	Open    bool // held open, or by requests
	Tier    Tier
}

// Walk calls f for every object in the index until f returns false, in no
// order, with no lock held and no disk read; objects that come and go while
// it walks may be missed.
func (s *Store) Walk(ctx context.Context, f func(Info) bool) error {
	var list []Info
	for i := range s.shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		list = s.infos(&s.shards[i], list[:0])
		for _, in := range list {
			if !f(in) {
				return nil
			}
		}
	}
	return nil
}

func (s *Store) infos(h *shard, list []Info) []Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.disk != nil {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
	}
	for _, n := range h.slots {
		for ; n != 0; n = s.slab.at(n).next {
			e := s.slab.at(n)
			in := Info{
				Key: e.key, Variant: e.variant, ID: e.id, Size: e.size, Stamp: e.stamp,
				Whole: e.flags&flagWhole != 0, Open: e.open != 0, Tier: RAM,
			}
			if e.kind != inMemory {
				in.Tier, in.Stored = Disk, e.node.size
			}
			list = append(list, in)
		}
	}
	return list
}
