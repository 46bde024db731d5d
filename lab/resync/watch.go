package resync

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// seen is what lab-watch saw of a client's port: small segments, by when the
// kernel saw them on the wire (SO_TIMESTAMPNS, nanoseconds).
type seen struct {
	Probes []int64 `json:"probes,omitempty"` // from the VIP
	Acks   []int64 `json:"acks,omitempty"`   // to it, bare
	Resets []int64 `json:"resets,omitempty"` // from it
}

// watchMain writes down, until it is told to end, when which small segments of
// a VIP's connections are on a wire, and gives that as JSON by the client's port.
func watchMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("watch", flag.ContinueOnError)
	dev := fs.String("dev", "eth1", "interface")
	vip := fs.String("vip", vip4, "address")
	resets := fs.Bool("resets", false, "nothing but resets")
	if err := fs.Parse(args); err != nil {
		return err
	}
	fd, err := tap(*dev, netip.MustParseAddr(*vip).As4(), *resets)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	all := map[uint16]*seen{}
	fmt.Println("{}") // it watches
	// The kernel says when: what has come is read now and then, so that looking
	// takes little from what is looked at.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := drain(fd, all, netip.MustParseAddr(*vip).As4()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return json.NewEncoder(os.Stdout).Encode(all)
		case <-tick.C:
		}
	}
}

// drain notes all that has come to a packet socket.
func drain(fd int, all map[uint16]*seen, vip [4]byte) error {
	buf, oob := make([]byte, 256), make([]byte, 256)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		default:
			note(all, buf[:n], stamp(oob[:oobn]), vip)
		}
	}
}

// tap is a packet socket that gets small segments of IPv4 from or to a VIP.
func tap(dev string, vip [4]byte, resets bool) (int, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	v := binary.BigEndian.Uint32(vip[:])
	ld := func(size uint16, at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | size | unix.BPF_ABS, K: at}
	}
	is := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	flags := uint32(0xff)
	if resets {
		flags = 4
	}
	prog := []unix.SockFilter{
		ld(unix.BPF_B, 0), is(unix.BPF_JEQ, 0x45, 0, 11),
		ld(unix.BPF_B, 9), is(unix.BPF_JEQ, unix.IPPROTO_TCP, 0, 9),
		ld(unix.BPF_H, 2), is(unix.BPF_JGT, 64, 7, 0),
		ld(unix.BPF_W, 12), is(unix.BPF_JEQ, v, 2, 0),
		ld(unix.BPF_W, 16), is(unix.BPF_JEQ, v, 0, 3),
		ld(unix.BPF_B, 33), is(unix.BPF_JSET, flags, 0, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: 256},
		{Code: unix.BPF_RET | unix.BPF_K},
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: be16(unix.ETH_P_ALL), Ifindex: ifi.Index}))
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

// stamp is when the kernel saw a packet.
func stamp(oob []byte) int64 {
	all, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range all {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
			}
		}
	}
	return time.Now().UnixNano()
}

// note puts a segment where it belongs.
func note(all map[uint16]*seen, p []byte, at int64, vip [4]byte) {
	if len(p) < 40 {
		return
	}
	t := p[20:]
	from := [4]byte(p[12:16]) == vip
	port := binary.BigEndian.Uint16(t)
	if from {
		port = binary.BigEndian.Uint16(t[2:])
	}
	s := all[port]
	if s == nil {
		s = &seen{}
		all[port] = s
	}
	payload := int(binary.BigEndian.Uint16(p[2:])) - 20 - int(t[12]>>4)*4
	switch flags := t[13] & 0x17; {
	case from && flags&4 != 0:
		s.Resets = append(s.Resets, at)
	case from && (flags == 0x12 || flags == 0x10 && payload > 0):
		s.Probes = append(s.Probes, at)
	case !from && flags == 0x10 && payload == 0:
		s.Acks = append(s.Acks, at)
	}
}
