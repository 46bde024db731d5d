package socket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxConditions is up to how many addresses the kernel is asked to filter by;
// with more it is cheaper to look at every connection here.
const maxConditions = 32

// inUse are the states of connections that somebody would miss: established,
// or closed on this side with bytes, or their acknowledgment, still on the way.
// A server that has written a whole answer and closed is not done with it.
const inUse = 1<<tcpEstablished | 1<<tcpFinWait1 | 1<<tcpLastAck | 1<<tcpClosing

// Connections counts the TCP connections to each local address that are in
// use, in this network namespace. It asks the kernel for a dump of both families
// and needs no capability; 100,000 connections take tens of milliseconds.
func Connections(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]int, error) {
	counts := make(map[netip.Addr]int, len(addrs))
	for _, a := range addrs {
		counts[a.Unmap().WithZone("")] = 0
	}
	if len(counts) == 0 {
		return counts, nil
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := dump(ctx, family, conditions(addrs), func(s sock) {
			if n, ok := counts[s.local.Addr()]; ok && inUse>>s.state&1 == 1 {
				counts[s.local.Addr()] = n + 1
			}
		}); err != nil {
			return nil, fmt.Errorf("connections: %w", err)
		}
	}
	return counts, nil
}

func dump(ctx context.Context, family uint8, filter []byte, f func(sock)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := open(0)
	if err != nil {
		return err
	}
	defer file.Close()
	defer context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })()
	if _, err := file.Write(dumpRequest(family, filter)); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := receive(file, buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		done, err := parse(buf[:n], f)
		if errors.Is(err, syscall.ENOENT) && family == unix.AF_INET6 {
			return nil // a kernel without IPv6
		}
		if done || err != nil {
			return err
		}
	}
}

// dumpRequest asks for the established TCP sockets of a family that pass the
// filter (struct inet_diag_req_v2 and attribute INET_DIAG_REQ_BYTECODE).
func dumpRequest(family uint8, filter []byte) []byte {
	const bytecode = 1 // INET_DIAG_REQ_BYTECODE
	n := headerLen + requestLen
	if len(filter) > 0 {
		n += 4 + len(filter)
	}
	b := make([]byte, n)
	binary.NativeEndian.PutUint32(b, uint32(n))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	req := b[headerLen:]
	req[0], req[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(req[4:], inUse)
	if len(filter) > 0 {
		attr := b[headerLen+requestLen:]
		binary.NativeEndian.PutUint16(attr, uint16(4+len(filter)))
		binary.NativeEndian.PutUint16(attr[2:], bytecode)
		copy(attr[4:], filter)
	}
	return b
}

// conditions returns inet_diag bytecode that passes sockets with one of the
// local addresses, or nothing where there are too many. Each condition but
// the last is followed by a jump to the end, taken where it holds: a
// condition itself can only jump 255 bytes.
func conditions(addrs []netip.Addr) []byte {
	const (
		opJump, opSource = 1, 7 // INET_DIAG_BC_JMP, INET_DIAG_BC_S_COND
		opLen, hostLen   = 4, 8
	)
	if len(addrs) > maxConditions {
		return nil
	}
	var b []byte
	var jumps []int
	for i, a := range addrs {
		a = a.Unmap().WithZone("")
		family, bits := byte(unix.AF_INET), byte(32)
		if a.Is6() {
			family, bits = unix.AF_INET6, 128
		}
		n := opLen + hostLen + int(bits/8)
		op := make([]byte, opLen+hostLen)
		op[0], op[1] = opSource, byte(n)
		binary.NativeEndian.PutUint16(op[2:], uint16(n+opLen))
		op[4], op[5] = family, bits
		binary.NativeEndian.PutUint32(op[8:], ^uint32(0)) // any port
		b = append(append(b, op...), a.AsSlice()...)
		if i < len(addrs)-1 {
			jumps = append(jumps, len(b))
			b = append(b, opJump, opLen, 0, 0)
		}
	}
	for _, at := range jumps {
		binary.NativeEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	return b
}
