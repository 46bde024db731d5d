package slowness

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// A snapshot is what a POP tells the fleet, and what it keeps on disk: magic,
// version, half-life in seconds, epoch, number of records, and the records in
// order of key. Numbers are varints (encoding/binary); of the counts only those
// that are not zero are written, and of the clients those that are there, after
// their number: the id, and the two counts.
const (
	magic       = "CSLW"
	version     = 2        // 1 knew no clients
	maxSnapshot = 16 << 20 // networks in one
)

// Snapshot encodes the networks that say most, max of them at most; 0: all.
func (s *Store) Snapshot(now time.Time, max int) []byte {
	epoch := s.epoch(now)
	recs := s.sorted(epoch)
	if max > 0 {
		recs = most(recs, max)
	}
	b := append([]byte(magic), version)
	b = binary.AppendUvarint(b, uint64(s.opt.Half/time.Second))
	b = binary.AppendUvarint(b, uint64(epoch))
	b = binary.AppendUvarint(b, uint64(len(recs)))
	last := key(0)
	for i := range recs {
		b = recs[i].append(b, last)
		last = recs[i].key
	}
	return b
}

func (r *record) append(b []byte, last key) []byte {
	b = binary.AppendUvarint(b, uint64(r.key-last))
	b = binary.AppendUvarint(b, uint64(r.seen))
	var mask uint64
	for i, x := range r.rate {
		if x > 0 {
			mask |= 1 << i
		}
	}
	for i, x := range r.class {
		if x > 0 {
			mask |= 1 << (buckets + i)
		}
	}
	b = binary.AppendUvarint(b, mask)
	for _, x := range r.rate {
		if x > 0 {
			b = append(b, x)
		}
	}
	for _, x := range r.class {
		if x > 0 {
			b = append(b, x)
		}
	}
	for _, f := range []float32{r.busy, r.receiver, r.rtt, r.minRTT, r.sent, r.again, r.megabyte} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	at := len(b)
	b = append(b, 0)
	for _, c := range r.clients {
		if c.samples() > 0 {
			b[at]++
			b = append(binary.AppendUvarint(b, uint64(c.id)), c.slow, c.quick)
		}
	}
	return b
}

var errSnapshot = errors.New("slowness: the snapshot is broken")

// reader reads varints; after an error it gives zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.err, r.b = errSnapshot, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if len(r.b) < n {
		r.err, r.b = errSnapshot, nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// decode reads a snapshot of stores with this half-life, and its epoch.
func decode(b []byte, half time.Duration) (recs []record, err error) {
	r := &reader{b: b}
	if string(r.bytes(len(magic))) != magic {
		return nil, errSnapshot
	}
	v := r.bytes(1)[0]
	if (v < 1 || v > version) && r.err == nil {
		return nil, fmt.Errorf("slowness: snapshot of version %d: we read up to %d", v, version)
	}
	if h := r.uint(math.MaxUint32); h != uint64(half/time.Second) && r.err == nil {
		return nil, fmt.Errorf("slowness: snapshot with a half-life of %v: ours is %v", time.Duration(h)*time.Second, half)
	}
	epoch := uint16(r.uint(math.MaxUint16))
	n := r.uint(maxSnapshot)
	if r.err == nil && n > uint64(len(r.b))/33 {
		return nil, errSnapshot // not even the least of a record each
	}
	recs = make([]record, 0, n)
	last := key(0)
	for i := uint64(0); i < n && r.err == nil; i++ {
		x := record{epoch: epoch, key: last + key(r.uint(math.MaxUint64))}
		if i > 0 && x.key <= last || x.key&^isV4 >= 1<<48 || x.key&isV4 != 0 && x.key&^isV4 >= 1<<24 {
			return nil, errSnapshot
		}
		last = x.key
		if x.read(r); v > 1 {
			x.readClients(r)
		}
		recs = append(recs, x)
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errSnapshot
	}
	return recs, r.err
}

func (r *record) read(in *reader) {
	r.seen = uint32(in.uint(math.MaxUint32))
	mask := in.uint(1<<(buckets+classes) - 1)
	for i := range r.rate {
		if mask>>i&1 == 1 {
			r.rate[i] = in.bytes(1)[0]
		}
	}
	for i := range r.class {
		if mask>>(buckets+i)&1 == 1 {
			r.class[i] = in.bytes(1)[0]
		}
	}
	for _, f := range []*float32{&r.busy, &r.receiver, &r.rtt, &r.minRTT, &r.sent, &r.again, &r.megabyte} {
		v := math.Float32frombits(binary.LittleEndian.Uint32(in.bytes(4)))
		if !(v >= 0) || math.IsInf(float64(v), 0) {
			in.err = errSnapshot
		}
		*f = v
	}
}

func (r *record) readClients(in *reader) {
	n := in.uint(apart)
	for i := range r.clients[:n] {
		id := uint16(in.uint(math.MaxUint16))
		b := in.bytes(2)
		c := client{id: id, slow: b[0], quick: b[1]}
		if c.samples() == 0 || r.at(id) != nil {
			in.err = errSnapshot
			return
		}
		r.clients[i] = c
	}
}

// Book holds a POP's own store and the last snapshot of each other POP. What a
// POP tells replaces what it told before, so that nothing counts twice.
type Book struct {
	own *Store

	mu     sync.Mutex
	others map[policy.POPID]heard
}

// heard is what a POP told last, and when.
type heard struct {
	recs []record
	at   time.Time
}

// Told is what another POP has told.
type Told struct {
	POP      policy.POPID
	Networks int
	At       time.Time
}

// NewBook makes a book around a POP's own store.
func NewBook(own *Store) *Book { return &Book{own: own, others: map[policy.POPID]heard{}} }

// Hear takes the snapshot of another POP; an empty one forgets it. Of more
// networks than the own store may hold in all, each POP's share of that counts.
func (b *Book) Hear(pop policy.POPID, snapshot []byte, now time.Time) error {
	var recs []record
	if len(snapshot) > 0 {
		var err error
		if recs, err = decode(snapshot, b.own.opt.Half); err != nil {
			return fmt.Errorf("POP %s: %w", pop, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if delete(b.others, pop); len(recs) > 0 {
		b.others[pop] = heard{most(recs, b.own.opt.Max/(len(b.others)+1)), now}
	}
	return nil
}

// Heard tells whom we have heard, by name.
func (b *Book) Heard() (out []Told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for pop, h := range b.others {
		out = append(out, Told{pop, len(h.recs), h.at})
	}
	slices.SortFunc(out, func(a, b Told) int { return cmp.Compare(a.POP, b.POP) })
	return out
}

// most are the records that say most, at most so many, in order of key.
func most(recs []record, n int) []record {
	if len(recs) <= n {
		return recs
	}
	recs = slices.Clone(recs)
	slices.SortStableFunc(recs, func(a, b record) int { return cmp.Compare(b.clear(), a.clear()) })
	recs = slices.Clone(recs[:n])
	slices.SortFunc(recs, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return recs
}

// Report judges what the fleet knows.
func (b *Book) Report(now time.Time) *Report {
	epoch := b.own.epoch(now)
	all := b.own.sorted(epoch)
	b.mu.Lock()
	for _, h := range b.others {
		for _, r := range h.recs {
			r.decay(epoch)
			if r.samples() > 0 {
				all = append(all, r)
			}
		}
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return report(b.own.options(), all, now)
}

// Look judges the network (/24, /48) of an address by itself, if anything was
// seen of it.
func (b *Book) Look(a netip.Addr, now time.Time) (Network, bool) {
	k, epoch := keyOf(a), b.own.epoch(now)
	var recs []record
	b.own.mu.Lock()
	if i, ok := b.own.index[k]; ok {
		recs = append(recs, b.own.recs[i])
	}
	b.own.mu.Unlock()
	b.mu.Lock()
	for _, o := range b.others {
		if i, ok := slices.BinarySearchFunc(o.recs, k, func(r record, k key) int { return cmp.Compare(r.key, k) }); ok {
			recs = append(recs, o.recs[i])
		}
	}
	b.mu.Unlock()
	for i := range recs {
		recs[i].decay(epoch)
	}
	var all sum
	all.network(recs)
	r := reporter{o: b.own.options(), rates: newSketches()}
	n := r.judge(k.prefix(0), &all)
	return n, n.Samples > 0
}

// Restore puts a snapshot into an empty store: what was on disk.
func (s *Store) Restore(snapshot []byte) error {
	recs, err := decode(snapshot, s.opt.Half)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recs) > 0 {
		return errors.New("slowness: the store is not empty")
	}
	s.recs = recs[:min(len(recs), s.opt.Max)]
	for i := range s.recs {
		s.index[s.recs[i].key] = int32(i)
	}
	return nil
}
