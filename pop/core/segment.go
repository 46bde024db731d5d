package core

import "go.etcd.io/etcd/server/v3/storage/wal"

// segment is by how many bytes the engine's log grows. Two are there from the
// start; etcd's own 64 MB would be 128 MB for the few kB that a core of one
// POP holds. A log with segments of another size is read as well, and goes on
// with these.
const segment = 2 << 20

// etcd has the size in a variable of its package, read whenever a log is made
// or opened: no place but this, before any engine of the process can run, sets
// it without a race.
func init() { wal.SegmentSizeBytes = segment }
