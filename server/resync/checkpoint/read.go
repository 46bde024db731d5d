package checkpoint

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"time"
)

// decoder keeps what a peer has said by number on one connection.
type decoder struct {
	book    *Book
	page    *page
	life    uint64
	vips    []netip.AddrPort
	objects []Object
}

// Read writes what a POP says on r into the book until r ends or says what it
// must not. now is the clock. A POP has one connection: a newer one of it ends
// this with an error at its next word.
func (b *Book) Read(pop string, r io.Reader, now func() time.Time) error {
	in := bufio.NewReaderSize(r, 16<<10)
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(in, got); err != nil {
		return err
	}
	if string(got) != preface {
		return errors.Join(malformed("it begins with %q", got), errVersion)
	}
	d := &decoder{book: b}
	d.page, d.life = b.begin(pop, now())
	err := d.frames(in, now)
	b.end(d.page, d.life, errors.Is(err, errMalformed))
	return err
}

func (d *decoder) frames(in *bufio.Reader, now func() time.Time) error {
	var buf [maxFrame]byte
	for {
		n, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 || n > maxFrame {
			return malformed("a frame of %d bytes", n)
		}
		if _, err := io.ReadFull(in, buf[:n]); err != nil {
			return err
		}
		if err := d.frame(buf[0], buf[1:n], now()); err != nil {
			return err
		}
	}
}

// errReplaced: a newer connection of the same POP has taken over.
var errReplaced = errors.New("checkpoint: a newer connection of this POP is there")

func (d *decoder) frame(kind byte, body []byte, now time.Time) error {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if d.page.life != d.life {
		return errReplaced
	}
	d.page.heard = now
	d.page.counts.Frames++
	r := &reader{b: body}
	switch kind {
	case kindVIP:
		d.vip(r)
	case kindObject:
		d.object(r)
	case kindFlow:
		d.flow(r, now)
	case kindMove:
		d.move(r, now)
	case kindGone:
		if id := ID(r.uvarint()); r.end() {
			d.page.end(id, now)
		}
	case kindDrain:
		d.drain(r, now)
	case kindLink:
		if n, link := r.uvarint(), r.link(); n >= uint64(len(d.objects)) {
			r.bad = true
		} else if r.end() {
			d.objects[n].Link = link
		}
	case kindStamp:
		d.stamp(r)
	case kindBeat:
	default: // of a later version: what is not understood is passed over
		return nil
	}
	if !r.end() {
		return malformed("a frame of kind %d: % x", kind, body)
	}
	return nil
}

// drain takes in what is about to move.
func (d *decoder) drain(r *reader, now time.Time) {
	if len(r.b) == 0 {
		d.page.drain, d.page.moving = now, nil
		return
	}
	n := r.uvarint()
	if n > maxMoving {
		r.bad = true
	}
	var vips []netip.Addr
	for range n {
		vips = append(vips, r.addr())
		if r.bad {
			return
		}
	}
	if !r.end() {
		return
	}
	if len(vips) == 0 {
		now = time.Time{}
	}
	d.page.drain, d.page.moving = now, vips
}

// number reads one that is known, or the next one, below a bound.
func number(r *reader, known, most int) int {
	n := r.uvarint()
	if n > uint64(known) || n >= uint64(most) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) vip(r *reader) {
	n := number(r, len(d.vips), maxVIPs)
	a := r.addrPort()
	if !r.end() {
		return
	}
	if n == len(d.vips) {
		d.vips = append(d.vips, netip.AddrPort{})
	}
	d.vips[n] = a
}

func (d *decoder) object(r *reader) {
	n := number(r, len(d.objects), maxObjects)
	o := Object{URL: [16]byte(r.take(16)), Size: r.uvarint()}
	o.ETag = r.etag()
	if !r.end() {
		return
	}
	if n == len(d.objects) {
		d.objects = append(d.objects, Object{})
	}
	d.objects[n] = o
}

func (d *decoder) flow(r *reader, now time.Time) {
	id, vip, object := ID(r.uvarint()), r.uvarint(), r.uvarint()
	f := Flow{Client: r.addrPort(), Offset: r.uvarint()}
	r.speed(&f)
	if vip >= uint64(len(d.vips)) || object > uint64(len(d.objects)) || d.page.ended(id) {
		r.bad = true
	}
	if !r.end() {
		return
	}
	f.VIP = d.vips[vip]
	if object > 0 {
		f.Object = d.objects[object-1]
	}
	d.book.set(d.page, id, f, now)
}

// stamp takes in how far a flow's time stamps are; a flow that was refused has
// none.
func (d *decoder) stamp(r *reader) {
	id, v := ID(r.uvarint()), binary.BigEndian.Uint32(r.take(4))
	if e := d.page.flows[id]; r.end() && e != nil {
		e.Stamp = v
	}
}

func (d *decoder) move(r *reader, now time.Time) {
	id, further := ID(r.uvarint()), r.uvarint()
	var f Flow
	r.speed(&f)
	if !r.end() {
		return
	}
	e := d.page.flows[id]
	if e == nil { // it was refused, or the bound was reached
		return
	}
	if further > 1<<62 || e.Offset > 1<<62 {
		r.bad = true
		return
	}
	e.Offset += further
	e.Rate, e.RTT, e.ClientLimited, e.Streams, e.moved = f.Rate, f.RTT, f.ClientLimited, f.Streams, now
}
