package netlab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A keeper is a process in the background that holds one lab, for commands
// that come and go. It listens on NAME.sock in StateDir; package-internal
// words are in call and answer.
const keeperMarker = "CATCHMENT_NETLAB_KEEPER"

type keeperOrder struct {
	File   string
	Vars   map[string]string
	Opt    keeperOptions
	Socket string // said by the caller: inside a user namespace all are user 0
}

type keeperOptions struct{ Dir, Images, Bin string }

type (
	call struct {
		Op   string // exec, signal, inspect, link, freeze, thaw, crash, kill, boot, log, down
		Node string
		Args []string
		Sig  int
	}
	answer struct {
		Err    string
		Exited bool
		Code   int
		Text   string
		Nodes  []NodeInfo
	}
)

// StateDir is where labs in the background have their sockets and logs: of
// the calling user.
func StateDir() string {
	if dir := os.Getenv(enterMarker); filepath.IsAbs(dir) {
		return dir
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Getuid() != 0 {
		return filepath.Join(dir, "catchment-lab")
	}
	if os.Getuid() == 0 {
		return "/run/catchment-lab"
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("catchment-lab-%d", os.Getuid()))
}

// Keep starts a lab in the background and returns its name when it is up.
// The file's lab must not be running. Opt.Log is not used; Opt.Dir is NAME in
// StateDir by default.
func Keep(ctx context.Context, file string, vars map[string]string, opt Options) (string, error) {
	t, err := Load(file, vars)
	if err != nil {
		return "", err
	}
	if _, err := Connect(t.Name); err == nil {
		return "", fmt.Errorf("lab %s is already up", t.Name)
	}
	if err := os.MkdirAll(StateDir(), 0o700); err != nil {
		return "", err
	}
	if opt.Dir == "" {
		opt.Dir = filepath.Join(StateDir(), t.Name)
	}
	opt.Bin = first(opt.Bin, os.Getenv("CATCHMENT_BIN"))
	order, err := json.Marshal(keeperOrder{File: file, Vars: vars, Socket: socketPath(t.Name),
		Opt: keeperOptions{opt.Dir, opt.Images, opt.Bin}})
	if err != nil {
		return "", err
	}
	return t.Name, startKeeper(ctx, t.Name, string(order))
}

func startKeeper(ctx context.Context, name, order string) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "netlab-keeper " + name
	cmd.Env = append(os.Environ(), keeperMarker+"="+order)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(unix.SIGTERM) })
	defer stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	switch {
	case err == nil && strings.TrimSpace(line) == "ready":
		return cmd.Process.Release()
	case err == nil:
		cmd.Wait()
		return errors.New(strings.TrimSpace(line))
	}
	return errors.Join(errors.New("the keeper ended without a word"), cmd.Wait())
}

// runKeeper is the process in the background; it never returns.
func runKeeper(order string) {
	fail := func(err error) {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	if err := Enter(); err != nil {
		fail(err)
	}
	os.Unsetenv(keeperMarker)
	var o keeperOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	t, err := Load(o.File, o.Vars)
	if err != nil {
		fail(err)
	}
	lab, err := Up(ctx, t, Options{Dir: o.Opt.Dir, Images: o.Opt.Images, Bin: o.Opt.Bin})
	if err != nil {
		fail(err)
	}
	os.Remove(o.Socket)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: o.Socket, Net: "unixpacket"})
	if err != nil {
		fail(errors.Join(err, lab.Down()))
	}
	fmt.Println("ready")
	detach()
	k := &keeper{lab: lab, stop: stop}
	context.AfterFunc(ctx, func() { ln.Close() })
	k.accept(ctx, ln)
	err = lab.Down()
	os.RemoveAll(lab.Dir())
	k.bye(err)
	os.Exit(0)
}

// detach leaves the terminal and the pipes of whoever started the keeper.
func detach() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		unix.Dup3(int(null.Fd()), fd, 0)
	}
	null.Close()
}

func socketPath(name string) string { return filepath.Join(StateDir(), name+".sock") }

type keeper struct {
	lab    *Lab
	stop   context.CancelFunc
	waiter *net.UnixConn // who asked for the end
}

func (k *keeper) accept(ctx context.Context, ln *net.UnixListener) {
	for {
		conn, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			if !k.serve(ctx, conn) {
				conn.Close()
			}
		}()
	}
}

// bye tells who asked for the end that it is done.
func (k *keeper) bye(err error) {
	if k.waiter == nil {
		return
	}
	var a answer
	if err != nil {
		a.Err = err.Error()
	}
	send(k.waiter, a)
	k.waiter.Close()
}

// serve handles one call a connection; it is true when the connection is
// kept for bye.
func (k *keeper) serve(ctx context.Context, conn *net.UnixConn) bool {
	var c call
	files, err := receive(conn, &c)
	if err != nil {
		return false
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	switch c.Op {
	case "down":
		k.waiter = conn
		k.stop()
		return true
	case "exec":
		err = k.exec(conn, c, files)
	default:
		var a answer
		if a, err = k.do(ctx, c); err == nil {
			send(conn, a)
		}
	}
	if err != nil {
		send(conn, answer{Err: err.Error()})
	}
	return false
}

func (k *keeper) do(ctx context.Context, c call) (a answer, err error) {
	l := k.lab
	switch c.Op {
	case "inspect":
		a.Nodes, err = l.Inspect(ctx)
	case "signal":
		_, err = l.Signal(ctx, c.Node, strings.Join(c.Args, " "), syscall.Signal(c.Sig))
	case "link":
		if len(c.Args) != 2 || c.Args[1] != "up" && c.Args[1] != "down" {
			return a, errors.New("link wants an interface and up or down")
		}
		err = l.SetLink(c.Node, c.Args[0], c.Args[1] == "up")
	case "freeze":
		err = l.Freeze(ctx, c.Node)
	case "thaw":
		err = l.Thaw(ctx, c.Node)
	case "crash":
		err = l.Crash(c.Node)
	case "kill":
		err = l.Kill(c.Node)
	case "boot":
		err = l.Boot(ctx, c.Node)
	case "log":
		a.Text = l.Log(c.Node)
		a.Text = a.Text[max(0, len(a.Text)-maxMessage/4):]
	default:
		err = fmt.Errorf("the keeper does not know %q", c.Op)
	}
	return a, err
}

// exec runs a command on the caller's own stdin, stdout and stderr. Signals
// come as further calls; when the caller is gone the command is killed.
func (k *keeper) exec(conn *net.UnixConn, c call, files []*os.File) error {
	if len(files) != 3 {
		return errors.New("exec wants three descriptors")
	}
	p, err := k.lab.Start(c.Node, Command{Args: c.Args, Stdin: files[0], Stdout: files[1], Stderr: files[2]})
	if err != nil {
		return err
	}
	go func() {
		for {
			var c call
			if _, err := receive(conn, &c); err != nil {
				p.Signal(unix.SIGKILL)
				return
			}
			p.Signal(syscall.Signal(c.Sig))
		}
	}()
	<-p.Done()
	st := p.status()
	return send(conn, answer{Exited: true, Code: st.Code, Text: st.Status})
}
