package main

import (
	"bytes"
	"encoding/binary"
)

// Types of MRT records (RFC 6396) and of path attributes (RFC 4271), as far as
// a table of IPv4 routes needs them.
const (
	tableDumpV2    = 13
	peerIndexTable = 1
	ribIPv4Unicast = 2

	flagTransitive = 0x40
	flagOptional   = 0x80
	attrOrigin     = 1
	attrASPath     = 2
	attrNextHop    = 3
	attrMED        = 4
	attrCommunity  = 8
)

// dump is an MRT dump of n routes, each a /24 with a path of three AS numbers
// and two communities, as a table from a transit has them.
func dump(n int) []byte {
	var out bytes.Buffer
	var peers bytes.Buffer
	put(&peers, []byte{10, 0, 0, 1}, uint16(0), uint16(1)) // collector, no view name, one peer
	put(&peers, uint8(2), []byte{10, 0, 0, 2}, []byte{10, 0, 0, 2}, uint32(64501))
	record(&out, peerIndexTable, peers.Bytes())
	for i := range n {
		attrs := attributes(i)
		var rib bytes.Buffer
		put(&rib, uint32(i), uint8(24), []byte{byte(20 + i>>16), byte(i >> 8), byte(i)})
		put(&rib, uint16(1), uint16(0), uint32(1_700_000_000), uint16(len(attrs)), attrs)
		record(&out, ribIPv4Unicast, rib.Bytes())
	}
	return out.Bytes()
}

func attributes(i int) []byte {
	var b bytes.Buffer
	attr := func(flags, kind uint8, values ...any) {
		var v bytes.Buffer
		put(&v, values...)
		put(&b, flags, kind, uint8(v.Len()), v.Bytes())
	}
	attr(flagTransitive, attrOrigin, uint8(0))
	attr(flagTransitive, attrASPath, uint8(2), uint8(3), uint32(64501), uint32(65000+i%100), uint32(4200000000+i%1000))
	attr(flagTransitive, attrNextHop, []byte{10, 0, 0, 2})
	attr(flagOptional, attrMED, uint32(i%100))
	attr(flagOptional|flagTransitive, attrCommunity, uint32(64501<<16|i%50), uint32(64501<<16|1000+i%7))
	return b.Bytes()
}

func record(out *bytes.Buffer, subtype uint16, body []byte) {
	put(out, uint32(1_700_000_000), uint16(tableDumpV2), subtype, uint32(len(body)), body)
}

// put writes in network order; a bytes.Buffer takes everything.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.BigEndian, v)
	}
}
