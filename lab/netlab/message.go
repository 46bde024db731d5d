package netlab

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The words between a lab and the init of a node: one JSON object a packet
// over a SOCK_SEQPACKET pair, with up to three descriptors (stdin, stdout,
// stderr) beside a start.
type (
	request struct {
		ID    int
		Op    string // setup, start, signal, list
		Setup *rootSpec
		Argv  []string
		Env   []string
		Who   string // signal: process name, pid:N, pidfile:PATH, all
		Sig   int
	}
	reply struct {
		ID     int
		Err    string
		Pid    int  // of a started process, inside the node
		Exited bool // the second reply to a start
		Status int  // wait status of that process
		Procs  []ProcessInfo
	}
)

// ProcessInfo is one process of a node, as the node sees it.
type ProcessInfo struct {
	Pid     int      `json:"pid"`
	Name    string   `json:"name"`
	Command []string `json:"command"`
}

const maxMessage = 128 << 10

// pair makes the two ends of a control connection: ours as a net.UnixConn,
// the node's as a file to hand over.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "node"), os.NewFile(uintptr(fds[1]), "lab")
	conn, err := fileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

func fileConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%T is not a unix socket", c)
	}
	return u, nil
}

func send(c *net.UnixConn, v any, files ...*os.File) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > maxMessage {
		return fmt.Errorf("message of %d bytes is above %d", len(raw), maxMessage)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = syscall.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(raw, oob, nil)
	return err
}

// receive reads one message. The files that came with it belong to the caller.
func receive(c *net.UnixConn, v any) ([]*os.File, error) {
	buf, oob := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(3*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	if oobn > 0 {
		if files, err = rights(oob[:oobn]); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, net.ErrClosed
	}
	return files, json.Unmarshal(buf[:n], v)
}

func rights(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}
