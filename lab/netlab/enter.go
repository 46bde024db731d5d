package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// enterMarker is set inside the user namespace, to what StateDir is outside:
// inside, everybody is user 0.
const enterMarker = "CATCHMENT_NETLAB_WORLD"

// Tool is a command that exists in every node of the lab and runs this
// binary: its process ends with the error's status when Main returns. ctx
// ends with SIGTERM and SIGINT.
type Tool struct {
	Name string
	Main func(ctx context.Context, args []string) error
}

// Init must be the first call of main or TestMain. In the caller itself it
// returns; in a process that is a node's PID 1, a keeper or a tool it does
// that work and exits.
func Init(tools ...Tool) {
	if os.Getenv(initMarker) != "" {
		runInit()
	}
	name := filepath.Base(os.Args[0])
	for _, t := range tools {
		knownTools[t.Name] = true
		if t.Name == name {
			runTool(t)
		}
	}
	if file := os.Getenv(keeperMarker); file != "" {
		runKeeper(file)
	}
}

// knownTools is set by Init before anything else runs: the names a node
// needs links for. The binary's tools are a fact of the binary, not of a lab.
var knownTools = map[string]bool{}

func runTool(t Tool) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := t.Main(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", t.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ErrForbidden says that this machine lets an ordinary user make no
// namespaces, and what to do.
var ErrForbidden = errors.New("this machine lets an ordinary user make no namespaces; run as root, " +
	"or allow it: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 " +
	"(on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0); in a container, start it with " +
	"--security-opt seccomp=unconfined --security-opt systempaths=unconfined")

// Privileged says whether Up would work in this process as it is.
func Privileged() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
	return data[0].Effective&need == need
}

// Enter makes sure that the process may run labs. Where it is not root, it
// re-executes itself inside a user namespace, passes signals on, and exits
// with the status of that: only the re-executed process returns from here.
// The error is ErrForbidden, with the reason, where namespaces are forbidden.
func Enter() error {
	if Privileged() {
		return nil
	}
	if os.Getenv(enterMarker) != "" {
		return fmt.Errorf("%w: a user namespace was made but gives no rights", ErrForbidden)
	}
	runtime.LockOSThread() // Pdeathsig means the death of the starting thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), enterMarker+"="+StateDir())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (%v)", ErrForbidden, err)
	}
	go func() {
		for s := range signals {
			if s != unix.SIGINT { // the terminal sent it to the child too
				cmd.Process.Signal(s)
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err == nil {
		os.Exit(0)
	} else if errors.As(err, &exit) && exit.Exited() {
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "netlab:", err)
	os.Exit(1)
	return nil
}

// Main is TestMain for packages whose tests run labs: Init, Enter, Run.
func Main(m interface{ Run() int }, tools ...Tool) {
	Init(tools...)
	if err := Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
