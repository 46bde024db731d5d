// Package store keeps the objects of the cache server in RAM and on disk.
//
// It decides where the bytes of an object lie, which objects stay when the
// quota is used up (S3-FIFO by bytes in both tiers), and which bytes may be
// trusted: a byte read back from disk is given out only after the checksum of
// its record or chunk was right, whatever happened to the process or the disk
// in between. It owns the directory it is given.
//
// It never looks into the metadata of an object (opaque bytes of the layers
// above), knows no HTTP, fetches nothing and decides nothing about freshness.
//
// Layout: small objects (64 KiB and less) are records in append-only segment
// files, large ones a sparse data file with a side file of metadata and
// checksums by chunk. The index is a slab without pointers in RAM, kept on
// disk as a snapshot and a journal. One object version has one id for ever;
// its chunks and records carry that id in their checksums, so bytes of two
// versions can never be mixed.
//
// Locks, in the order they are taken: Object.mu, disk.upkeep, shard.mu, then one of the
// leaf locks (tier.mu, disk queue, slab, journal buffer).
package store
