package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// MaxAddrs is up to how many addresses the kernel is asked to filter by; with
// more it is cheaper to look at every socket.
const MaxAddrs = 32

// Operations of inet_diag bytecode. Each is a byte of operation, the distance
// to go on at where it holds (a byte) and where it does not (two bytes), and
// what it compares. A program that is left exactly at its end takes the
// socket, one that is left beyond it does not.
const (
	opJump     = 1 // INET_DIAG_BC_JMP
	opPortFrom = 4 // INET_DIAG_BC_D_GE
	opPortTo   = 5 // INET_DIAG_BC_D_LE
	opSource   = 7 // INET_DIAG_BC_S_COND
	opLen      = 4
)

// Local is a filter of sockets with one of the local addresses; nil, which
// takes all, where there are too many. Each condition but the last is followed
// by a jump to the end, taken where it holds: a condition itself can only jump
// 255 bytes.
func Local(addrs []netip.Addr) []byte {
	const hostLen = 8
	if len(addrs) > MaxAddrs {
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

// RemotePorts puts before a filter that the remote port is from first to last.
func RemotePorts(first, last uint16, filter []byte) []byte {
	const n = 2 * opLen // the second holds the port
	b := make([]byte, 2*n, 2*n+len(filter))
	total := 2*n + len(filter)
	for i, c := range []struct {
		op   byte
		port uint16
	}{{opPortFrom, first}, {opPortTo, last}} {
		op := b[i*n:]
		op[0], op[1] = c.op, n
		binary.NativeEndian.PutUint16(op[2:], uint16(total-i*n+opLen)) // beyond the end
		binary.NativeEndian.PutUint16(op[opLen+2:], c.port)
	}
	return append(b, filter...)
}
