package rpki

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// PDU types of RFC 8210 section 5.
const (
	serialNotify  = 0
	resetQuery    = 2
	cacheResponse = 3
	ipv4Prefix    = 4
	ipv6Prefix    = 6
	endOfData     = 7
	cacheReset    = 8
	routerKey     = 9
	errorReport   = 10
)

const (
	headerSize         = 8
	maxPDU             = 64 << 10 // of an error report with what caused it; others are short
	unsupportedVersion = 4
	newest             = 1 // protocol version of RFC 8210; 0 is RFC 6810
)

// pdu is one message of a cache.
type pdu struct {
	version, kind uint8
	session       uint16 // or the error's code
	body          []byte // after the header
}

// errVersion is a cache that speaks an older version of the protocol.
var errVersion = errors.New("protocol version not supported")

// Fetch asks the cache at HOST:PORT for all that it has and returns the VRPs
// that keep wants, in its order. The context bounds all of it. The connection
// is plain TCP (RFC 8210 section 9).
func Fetch(ctx context.Context, address string, keep func(VRP) bool) ([]VRP, error) {
	var err error
	for version := newest; version >= 0; version-- {
		var vrps []VRP
		if vrps, err = fetch(ctx, address, uint8(version), keep); err == nil {
			return vrps, nil
		}
		if !errors.Is(err, errVersion) {
			break
		}
	}
	return nil, fmt.Errorf("RTR cache %s: %w", address, err)
}

func fetch(ctx context.Context, address string, version uint8, keep func(VRP) bool) ([]VRP, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) // ends what waits
	defer stop()
	query := []byte{version, resetQuery, 0, 0, 0, 0, 0, headerSize}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	vrps, err := read(c, version, keep)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("no end of its data: %w", ctx.Err())
	}
	return vrps, err
}

// read takes a cache's answer to a reset query.
func read(r io.Reader, version uint8, keep func(VRP) bool) ([]VRP, error) {
	held := map[VRP]bool{}
	var order []VRP
	begun := false
	for {
		p, err := readPDU(r)
		if err != nil {
			return nil, err
		}
		switch {
		case p.kind == errorReport && p.session == unsupportedVersion, p.version < version:
			return nil, errVersion
		case p.kind == errorReport:
			return nil, fmt.Errorf("it reports error %d: %s", p.session, p.errorText())
		case p.kind == serialNotify: // at any time; what it tells of comes anyway
		case p.kind == cacheResponse && !begun:
			begun = true
		case p.kind == cacheReset || !begun:
			return nil, errors.New("it has no data (yet)")
		case p.kind == ipv4Prefix || p.kind == ipv6Prefix:
			v, announced, err := p.vrp()
			if err != nil {
				return nil, err
			}
			if keep(v) && announced && !held[v] {
				order = append(order, v)
			}
			if keep(v) {
				held[v] = announced
			}
		case p.kind == endOfData:
			out := order[:0]
			for _, v := range order {
				if held[v] {
					out = append(out, v)
					held[v] = false // once, if it came and went and came again
				}
			}
			return out, nil
		case p.kind == routerKey: // BGPsec's, not ours
		default:
			return nil, fmt.Errorf("PDU of type %d", p.kind)
		}
	}
}

func readPDU(r io.Reader) (pdu, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it hung up")
		}
		return pdu{}, err
	}
	p := pdu{version: head[0], kind: head[1], session: binary.BigEndian.Uint16(head[2:4])}
	size := binary.BigEndian.Uint32(head[4:8])
	if size < headerSize || size > maxPDU {
		return pdu{}, fmt.Errorf("PDU of %d bytes: not RTR?", size)
	}
	p.body = make([]byte, size-headerSize)
	if _, err := io.ReadFull(r, p.body); err != nil {
		return pdu{}, fmt.Errorf("a PDU ends early: %w", err)
	}
	return p, nil
}

// vrp reads a prefix PDU: flags, length, longest length, zero, address, AS.
func (p pdu) vrp() (v VRP, announced bool, err error) {
	size := 4
	if p.kind == ipv6Prefix {
		size = 16
	}
	if len(p.body) != 4+size+4 {
		return VRP{}, false, fmt.Errorf("prefix PDU of %d bytes", headerSize+len(p.body))
	}
	addr, _ := netip.AddrFromSlice(p.body[4 : 4+size])
	bits, longest := int(p.body[1]), int(p.body[2])
	if bits > 8*size || longest < bits || longest > 8*size {
		return VRP{}, false, fmt.Errorf("prefix %s/%d-%d", addr, bits, longest)
	}
	v = VRP{Prefix: netip.PrefixFrom(addr, bits).Masked(), MaxLength: longest, AS: binary.BigEndian.Uint32(p.body[4+size:])}
	return v, p.body[0]&1 == 1, nil
}

// errorText is what an error report says, after the PDU that it is about.
func (p pdu) errorText() string {
	b := p.body
	for range 2 { // the PDU, then the text, each behind its length
		if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
			return "no text"
		}
		n := binary.BigEndian.Uint32(b)
		p.body, b = b[4:4+n], b[4+n:]
	}
	return fmt.Sprintf("%q", p.body)
}
