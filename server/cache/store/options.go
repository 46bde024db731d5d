package store

import (
	"fmt"
	"log/slog"
	"time"
)

// Options of a store; the zero value is a store in RAM of 64 MiB.
type Options struct {
	// Dir is the directory of the disk tier, made if absent and owned by one
	// store at a time; empty: RAM only.
	Dir string
	// RAM is the quota in bytes for bodies and metadata held in RAM; 0: 64 MiB.
	RAM int64
	// Disk is the quota in bytes of all files under Dir; 0: 1 GiB.
	Disk int64
	// Objects limits how many objects the index holds (about 150 bytes of RAM
	// each); 0: 4 million.
	Objects int
	// OpenFiles limits the large objects kept open between requests; 0: 1024.
	// Objects that are in use stay open beyond it.
	OpenFiles int
	// Variants limits the variants of one key, the oldest leaves; 0: 32.
	Variants int
	// ScrubRate is how many bytes a second the background check of stored
	// data reads; 0: 8 MiB, negative: no scrub.
	ScrubRate int64
	// Retry is the first wait before a failed disk is tried again, doubled
	// up to 32 times it; 0: 5 s.
	Retry time.Duration
	// Log takes what an operator should know; nil: nothing is logged.
	Log *slog.Logger

	fs      fsys  // tests inject faults here; nil: the real one
	segment int64 // bytes of a segment file; 0: from Disk
}

// chunkSize is the unit of large objects: presence and checksums.
const chunkSize = 1 << 20

// smallMax is the largest body that lies in a segment.
const smallMax = 64 << 10

// overhead is what an object in RAM is charged beside its body and metadata.
const overhead = 512

func (o Options) withDefaults() (Options, error) {
	if o.RAM < 0 || o.Disk < 0 || o.Objects < 0 || o.OpenFiles < 0 || o.Variants < 0 {
		return o, fmt.Errorf("store: negative limit in options")
	}
	fill := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&o.RAM, 64<<20)
	fill(&o.Disk, 1<<30)
	fill(&o.ScrubRate, 8<<20)
	if o.Objects == 0 {
		o.Objects = 4_000_000
	}
	o.Objects = min(o.Objects, maxPages*pageLen-pageLen)
	if o.OpenFiles == 0 {
		o.OpenFiles = 1024
	}
	if o.Variants == 0 {
		o.Variants = 32
	}
	if o.Retry == 0 {
		o.Retry = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.fs == nil {
		o.fs = osFS{}
	}
	if o.segment == 0 {
		o.segment = min(max(o.Disk/256, min(o.Disk/8, 1<<20)), 1<<30)
	}
	return o, nil
}
