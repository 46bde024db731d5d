package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

// Containerlab says which programs make a world of containers.
type Containerlab struct {
	Program string // containerlab; v0.78 or later, for the topologies' privileged and cap-add
	Docker  string // default: docker
	Dir     string // containerlab's own files go here; default: a new folder below os.TempDir, removed with the lab
}

// InContainerlab makes worlds with containerlab on Docker: root, a running
// daemon and the images of the topology are needed. A node that crashes does
// not come back: its cables go with its container.
func InContainerlab(o Containerlab) Maker {
	if o.Docker == "" {
		o.Docker = "docker"
	}
	return func(ctx context.Context, file string, vars map[string]string) (World, error) {
		t, err := netlab.Load(file, vars)
		if err != nil {
			return nil, err
		}
		w := &containers{Containerlab: o, file: file, lab: t.Name, names: map[string]string{}}
		for k, v := range vars {
			w.env = append(w.env, k+"="+v)
		}
		if err := w.up(ctx); err != nil {
			return nil, errors.Join(err, w.Down(context.WithoutCancel(ctx)))
		}
		return w, nil
	}
}

// containers is a topology that containerlab has deployed.
type containers struct {
	Containerlab
	file, lab string
	env       []string
	tempDir   string
	names     map[string]string // node: container
	started   int
}

func (w *containers) up(ctx context.Context) error {
	if w.Dir == "" {
		var err error
		if w.tempDir, err = os.MkdirTemp("", "containerlab-"+w.lab+"-"); err != nil {
			return err
		}
		w.Dir = w.tempDir
	}
	if err := w.containerlab(ctx, "deploy", "--topo", w.file); err != nil {
		return err
	}
	out, err := w.run(ctx, w.Docker, "ps", "--all", "--filter", "label=containerlab="+w.lab,
		"--format", `{{.Label "clab-node-name"}} {{.Names}}`)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if node, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			w.names[node] = name
		}
	}
	return nil
}

// upLimit is how long containerlab may take to deploy or destroy a topology.
const upLimit = 2 * time.Minute

func (w *containers) containerlab(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	_, err := w.run(ctx, w.Program, args...)
	return err
}

// run runs a program of this machine and returns its output, of both kinds.
func (w *containers) run(ctx context.Context, program string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := w.command(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), errors.Join(err, ctx.Err()), clip(out.String()))
	}
	return out.String(), nil
}

func (w *containers) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "CLAB_LABDIR_BASE="+w.Dir, "CLAB_VERSION_CHECK=disable")
	cmd.Env = append(cmd.Env, w.env...)
	cmd.WaitDelay = time.Second
	return cmd
}

func (w *containers) container(node string) (string, error) {
	name, ok := w.names[node]
	if !ok {
		return "", fmt.Errorf("lab %s has no node %q", w.lab, node)
	}
	return name, nil
}

func (w *containers) Nodes() []string { return slices.Sorted(maps.Keys(w.names)) }

func (w *containers) Exec(ctx context.Context, node string, args ...string) (string, error) {
	name, err := w.container(node)
	if err != nil {
		return "", err
	}
	return w.run(ctx, w.Docker, append([]string{"exec", name}, args...)...)
}

// noted writes down the PID of what it runs, because the end of `docker exec` is
// not the end of its command.
const noted = `echo $$ >"$1" && shift && exec "$@"`

func (w *containers) Start(ctx context.Context, node string, args []string, out io.Writer) (func(), error) {
	name, err := w.container(node)
	if err != nil {
		return nil, err
	}
	w.started++
	pidfile := fmt.Sprintf("/tmp/story-%d.pid", w.started)
	words := append([]string{"sh", "-c", noted, "sh", pidfile}, args...)
	kill := func(ctx context.Context) {
		w.run(ctx, w.Docker, "exec", name, "sh", "-c", `kill -KILL "$(cat "$1")"`, "sh", pidfile)
	}
	ctx = context.WithoutCancel(ctx)
	if out == nil {
		_, err := w.run(ctx, w.Docker, append([]string{"exec", "--detach", name}, words...)...)
		return func() { kill(ctx) }, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := w.command(ctx, w.Docker, append([]string{"exec", name}, words...)...)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait()
	}()
	return func() {
		limited, ok := context.WithTimeout(context.WithoutCancel(ctx), stepLimit)
		kill(limited)
		ok()
		cancel()
		<-done
	}, nil
}

// signalling sends signal $2 to all processes named $1 (the first 15
// characters count, as the kernel keeps no more), but not to PID 1 and not to
// the dead. It needs nothing but a shell.
const signalling = `
short=$(printf %.15s "$1")
found=
for dir in /proc/[0-9]*; do
	pid=${dir#/proc/}
	[ "$pid" != 1 ] || continue
	comm=
	{ read -r comm <"$dir/comm"; } 2>/dev/null || continue
	[ "$comm" = "$short" ] || continue
	{ read -r rest <"$dir/stat"; } 2>/dev/null || continue
	case ${rest##*) } in Z*) continue ;; esac
	kill "-$2" "$pid" && found=yes
done
[ -n "$found" ] || { echo "no process $1"; exit 1; }`

func (w *containers) Signal(ctx context.Context, node, who string, sig syscall.Signal) error {
	number := fmt.Sprint(int(sig))
	args := []string{"sh", "-c", signalling, "sh", who, number}
	if pid, ok := strings.CutPrefix(who, "pid:"); ok {
		args = []string{"sh", "-c", `kill "-$2" "$1"`, "sh", pid, number}
	} else if file, ok := strings.CutPrefix(who, "pidfile:"); ok {
		args = []string{"sh", "-c", `kill "-$2" "$(cat "$1")"`, "sh", file, number}
	}
	_, err := w.Exec(ctx, node, args...)
	return err
}

func (w *containers) Do(ctx context.Context, op, node string, args ...string) error {
	name, err := w.container(node)
	if err != nil {
		return err
	}
	switch op {
	case "freeze":
		_, err = w.run(ctx, w.Docker, "pause", name)
	case "thaw":
		_, err = w.run(ctx, w.Docker, "unpause", name)
	case "crash":
		_, err = w.run(ctx, w.Docker, "kill", name)
	case "link":
		if len(args) != 2 || args[1] != "up" && args[1] != "down" {
			return errors.New("link wants up or down")
		}
		_, err = w.Exec(ctx, node, "ip", "link", "set", args[0], args[1])
	default:
		err = fmt.Errorf("containerlab cannot %s", op)
	}
	return err
}

func (w *containers) Log(ctx context.Context, node string) string {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	out, err := w.run(ctx, w.Docker, "logs", w.names[node])
	if err != nil {
		return err.Error()
	}
	return out
}

// Down is done after a failed deployment too: it leaves a network behind.
func (w *containers) Down(ctx context.Context) error {
	err := w.containerlab(ctx, "destroy", "--cleanup", "--topo", w.file)
	if w.tempDir != "" {
		err = errors.Join(err, os.RemoveAll(w.tempDir))
	}
	return err
}
