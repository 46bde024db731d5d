package socket

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/sockdiag"
)

// maxFilterPorts bounds the program: its jumps reach 255 instructions.
const maxFilterPorts = 200

// filter tells the kernel which messages to give us: listeners (no remote
// port) on a port of interest. Without it a busy web server would wake the
// daemon for each connection it closes. The caller holds w.mu.
func (w *Watcher) filter() {
	if w.sock == nil {
		return
	}
	ports := slices.Sorted(maps.Keys(w.byPort))
	if w.test.IsValid() && !slices.Contains(ports, w.test.Port()) {
		ports = append(ports, w.test.Port())
	}
	program := filterProgram(ports)
	raw, err := w.sock.File().SyscallConn()
	if err == nil {
		var attach error
		err = raw.Control(func(fd uintptr) {
			attach = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		})
		if err == nil {
			err = attach
		}
	}
	if err != nil { // more wakeups, same hints
		w.opt.Logger.Debug("health/socket: no filter in the kernel", "error", err)
	}
}

// filterProgram returns classic BPF that takes messages about sockets with
// remote port 0 and one of the local ports; any local port if there are too
// many.
func filterProgram(ports []uint16) []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	if len(ports) > maxFilterPorts {
		return []unix.SockFilter{
			{Code: load, K: sockdiag.HeaderLen + sockdiag.AtDport},
			{Code: jeq, K: 0, Jf: 1},
			{Code: ret, K: 0xffff},
			{Code: ret, K: 0},
		}
	}
	n := len(ports)
	p := []unix.SockFilter{
		{Code: load, K: sockdiag.HeaderLen + sockdiag.AtDport},
		{Code: jeq, K: 0, Jf: uint8(n + 1)},
		{Code: load, K: sockdiag.HeaderLen + sockdiag.AtSport},
	}
	for i, port := range ports {
		p = append(p, unix.SockFilter{Code: jeq, K: uint32(port), Jt: uint8(n - i)})
	}
	return append(p, unix.SockFilter{Code: ret, K: 0}, unix.SockFilter{Code: ret, K: 0xffff})
}
