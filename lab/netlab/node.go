package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Node is one linux node of a running lab; its network namespace outlives
// its processes, so that Crash and Boot need no new cables.
type Node struct {
	lab  *Lab
	spec NodeSpec
	net  *space

	mu      sync.Mutex
	control *control // nil while crashed
	init    *exec.Cmd
	main    *Process
	state   string
}

// prepare makes the namespaces and the root; nothing of the node runs yet.
func (n *Node) prepare(ctx context.Context) error {
	var err error
	if n.net, err = newSpace(); err != nil {
		return err
	}
	return n.boot(ctx)
}

// boot starts init in the node's network namespace and has it build the root.
func (n *Node) boot(ctx context.Context) error {
	spec, err := n.rootSpec()
	if err != nil {
		return err
	}
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	log, err := n.openLog("init")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "netlab-init " + n.spec.Name
	cmd.Env = []string{initMarker + "=1", "PATH=" + nodePath}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = log, log
	// No Pdeathsig: that is the death of the thread that starts it, and any thread
	// may end with a goroutine that was locked to it. Init ends when it loses its
	// connection to us.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	if err := n.net.do(cmd.Start); err != nil {
		ours.Close()
		return fmt.Errorf("start init: %w", err)
	}
	n.mu.Lock()
	n.control, n.init, n.state = newControl(ours), cmd, "running"
	n.mu.Unlock()
	_, err = n.control.ask(ctx, request{Op: "setup", Setup: spec})
	return err
}

func (n *Node) rootSpec() (*rootSpec, error) {
	mount := filepath.Join(n.lab.opt.Dir, n.spec.Name)
	if err := os.Mkdir(mount, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	r := &rootSpec{
		Hostname: n.spec.Name, Mount: mount, Self: n.lab.self, Programs: n.lab.opt.Bin,
		Tools: slices.Sorted(maps.Keys(knownTools)), Sysctls: n.spec.Sysctls, Squash: squashNeeded(),
	}
	if n.spec.Image != "" {
		img, err := n.image()
		if err != nil {
			return nil, err
		}
		r.Files = img.files
	}
	for _, b := range n.spec.Binds {
		f, err := parseBind(b, n.lab.topo.Dir)
		if err != nil {
			return nil, err
		}
		r.Files = append(r.Files, f)
	}
	return r, nil
}

// squashNeeded says whether more users than one exist here.
func squashNeeded() bool {
	raw, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(raw))
	return len(f) == 3 && f[2] == "1"
}

func (n *Node) image() (*image, error) {
	return readImage(n.lab.opt.Images, n.spec.Image, n.lab.opt.Bin)
}

// env is what every process of the node gets.
func (n *Node) env() []string {
	env := map[string]string{"PATH": nodePath, "HOME": "/root", "TERM": first(os.Getenv("TERM"), "dumb"),
		"HOSTNAME": n.spec.Name, "CLAB_LABEL_CLAB_NODE_NAME": n.spec.Name}
	links := 0
	for _, l := range n.lab.topo.Links {
		if l.A.Node == n.spec.Name {
			links++
		}
		if l.B.Node == n.spec.Name {
			links++
		}
	}
	env["CLAB_INTFS"] = fmt.Sprint(links)
	if img, err := n.image(); err == nil {
		maps.Copy(env, img.env)
	}
	maps.Copy(env, n.spec.Env)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// startMain starts entrypoint and cmd, as an image would; a node with
// neither just exists.
func (n *Node) startMain() error {
	var entry, cmd []string
	if n.spec.Image != "" {
		img, err := n.image()
		if err != nil {
			return err
		}
		entry, cmd = img.entrypoint, img.cmd
	}
	if n.spec.Entrypoint != "" {
		entry, cmd = strings.Fields(n.spec.Entrypoint), nil
	}
	if n.spec.Cmd != "" {
		cmd = strings.Fields(n.spec.Cmd)
	}
	args := slices.Concat(entry, cmd)
	if len(args) == 0 {
		return nil
	}
	log, err := n.openLog("")
	if err != nil {
		return err
	}
	defer log.Close()
	p, err := n.start(Command{Args: args, Stdout: log, Stderr: log})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.main = p
	n.mu.Unlock()
	return nil
}

// runExec runs the exec commands of the topology in order.
func (n *Node) runExec(ctx context.Context) error {
	for _, line := range n.spec.Exec {
		done, err := n.ipCommand(line)
		if err == nil && !done {
			var args []string
			if args, err = Words(line); err == nil {
				_, err = n.lab.Exec(ctx, n.spec.Name, args...)
			}
		}
		if err != nil {
			return fmt.Errorf("exec %q: %w", line, err)
		}
	}
	return nil
}

// openLog opens the node's log for appending: NODE.log, or NODE-WHAT.log.
func (n *Node) openLog(what string) (*os.File, error) {
	return os.OpenFile(n.logFile(what), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func (n *Node) logFile(what string) string {
	name := n.spec.Name
	if what != "" {
		name += "-" + strings.ReplaceAll(what, "/", "_")
	}
	return filepath.Join(n.lab.opt.Dir, name+".log")
}

// kill ends init and with it all processes of the node.
func (n *Node) kill() error {
	n.mu.Lock()
	c, cmd := n.control, n.init
	n.control, n.init, n.main, n.state = nil, nil, nil, "crashed"
	n.mu.Unlock()
	if c == nil {
		return nil
	}
	err := cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	cmd.Wait() // its status is the signal
	c.close()
	return err
}

// end is kill for good.
func (n *Node) end() error {
	err := n.kill()
	if n.net != nil {
		n.net.close()
	}
	return err
}

func (n *Node) info(ctx context.Context) (NodeInfo, error) {
	info := NodeInfo{Name: n.spec.Name, Kind: n.spec.Kind, Image: n.spec.Image}
	if n.spec.Kind == "bridge" {
		return info, nil
	}
	n.mu.Lock()
	c, cmd, main := n.control, n.init, n.main
	info.State = n.state
	n.mu.Unlock()
	if cmd != nil {
		info.Pid = cmd.Process.Pid
	}
	addrs, err := n.net.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return info, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.Scope == int(netlink.SCOPE_UNIVERSE) {
			info.Addresses = append(info.Addresses, a.IPNet.String())
		}
	}
	if main != nil {
		select {
		case <-main.Done():
			info.MainExited = main.status().String()
		default:
		}
	}
	if c == nil {
		return info, nil
	}
	rep, err := c.ask(ctx, request{Op: "list"})
	info.Processes = rep.Procs
	return info, err
}
