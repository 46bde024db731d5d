package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const initMarker = "CATCHMENT_NETLAB_INIT"

// nodeInit is PID 1 of a node: it builds the node's root, starts what the lab
// asks for, reaps everything, and ends (and with it the whole node) when the
// lab's end of the connection closes.
type nodeInit struct {
	conn *net.UnixConn

	mu      sync.Mutex
	started map[int]int // pid to request id
}

// runInit never returns.
func runInit() {
	os.Unsetenv(initMarker)
	conn, err := fileConn(os.NewFile(3, "lab"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "netlab init:", err)
		os.Exit(1)
	}
	n := &nodeInit{conn: conn, started: map[int]int{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE, unix.SIGTTOU)
	go n.reap(children)
	for {
		var req request
		files, err := receive(conn, &req)
		if err != nil {
			os.Exit(0)
		}
		n.handle(req, files)
		for _, f := range files {
			f.Close()
		}
	}
}

func (n *nodeInit) handle(req request, files []*os.File) {
	rep := reply{ID: req.ID}
	var err error
	switch req.Op {
	case "setup":
		err = req.Setup.build()
	case "start":
		n.start(req, files)
		return
	case "signal":
		rep.Procs, err = n.signal(req.Who, syscall.Signal(req.Sig))
	case "list":
		rep.Procs, err = processes()
	default:
		err = fmt.Errorf("unknown request %q", req.Op)
	}
	if err != nil {
		rep.Err = err.Error()
	}
	send(n.conn, rep)
}

// start holds the lock until the pid is noted and said, so that the reaper
// cannot report an end before the beginning.
func (n *nodeInit) start(req request, files []*os.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rep := reply{ID: req.ID}
	attr := &syscall.ProcAttr{Dir: "/", Env: req.Env, Sys: &syscall.SysProcAttr{Setsid: true}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	path, err := lookPath(req.Argv, req.Env)
	if err == nil {
		rep.Pid, err = syscall.ForkExec(path, req.Argv, attr)
	}
	if err != nil {
		rep.Err = fmt.Sprintf("%s: %v", strings.Join(req.Argv, " "), err)
	} else {
		n.started[rep.Pid] = req.ID
	}
	send(n.conn, rep)
}

// lookPath finds a program in the PATH of the process to be, not in ours.
func lookPath(argv, env []string) (string, error) {
	if len(argv) == 0 {
		return "", errors.New("no command")
	}
	if strings.Contains(argv[0], "/") {
		return argv[0], nil
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			p := filepath.Join(dir, argv[0])
			if isFile(p) && unix.Access(p, unix.X_OK) == nil {
				return p, nil
			}
		}
	}
	return "", errors.New("not found in PATH")
}

func (n *nodeInit) reap(children <-chan os.Signal) {
	for range children {
		n.mu.Lock()
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			if id, ok := n.started[pid]; ok {
				delete(n.started, pid)
				send(n.conn, reply{ID: id, Pid: pid, Exited: true, Status: int(ws)})
			}
		}
		n.mu.Unlock()
	}
}

// signal sends sig to the processes that who names and says which.
func (n *nodeInit) signal(who string, sig syscall.Signal) ([]ProcessInfo, error) {
	if who == "all" {
		// Twice: a process forked while the first round went on is caught by
		// the second.
		for range 2 {
			if err := syscall.Kill(-1, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, err
			}
		}
		return nil, nil
	}
	all, err := processes()
	if err != nil {
		return nil, err
	}
	match, err := matcher(who)
	if err != nil {
		return nil, err
	}
	var hit []ProcessInfo
	for _, p := range all {
		if p.Pid == 1 || !match(p) {
			continue
		}
		if err := syscall.Kill(p.Pid, sig); err != nil {
			return hit, fmt.Errorf("kill %d (%s): %w", p.Pid, p.Name, err)
		}
		hit = append(hit, p)
	}
	if len(hit) == 0 {
		return nil, fmt.Errorf("no process %q", who)
	}
	return hit, nil
}

func matcher(who string) (func(ProcessInfo) bool, error) {
	text, byPid := strings.CutPrefix(who, "pid:")
	if file, ok := strings.CutPrefix(who, "pidfile:"); ok {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text, byPid = strings.TrimSpace(string(raw)), true
	}
	if byPid {
		pid, err := strconv.Atoi(text)
		return func(p ProcessInfo) bool { return p.Pid == pid }, err
	}
	return func(p ProcessInfo) bool {
		return p.Name == who || len(p.Command) > 0 && filepath.Base(p.Command[0]) == who
	}, nil
}

// processes lists what runs in the node, init left out.
func processes() ([]ProcessInfo, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []ProcessInfo
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		comm, err := os.ReadFile("/proc/" + e.Name() + "/comm")
		if err != nil {
			continue // gone meanwhile
		}
		p := ProcessInfo{Pid: pid, Name: strings.TrimSpace(string(comm))}
		cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		for _, arg := range bytes.Split(bytes.TrimRight(cmdline, "\x00"), []byte{0}) {
			p.Command = append(p.Command, string(arg))
		}
		out = append(out, p)
	}
	return out, nil
}
