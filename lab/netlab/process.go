package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is what Start runs. Nil writers mean the file NODE-NAME.log of the
// lab's folder, NAME being the program's; nil Stdin is /dev/null.
type Command struct {
	Args   []string
	Env    []string // added to the node's: NAME=value
	Stdin  *os.File
	Stdout io.Writer
	Stderr io.Writer
}

// Process runs inside a node.
type Process struct {
	Node string
	Args []string
	Pid  int // inside the node

	control *control
	done    chan struct{}
	copies  sync.WaitGroup
	pipes   []*os.File
	ws      syscall.WaitStatus // valid after done
	lost    bool               // the node died first
}

// ExitError is a command that did not end with status 0.
type ExitError struct {
	Node   string
	Args   []string
	Status string // "exit status 2", "signal: killed", "its node died"
	Code   int    // -1 when killed
	Output string // what it wrote to stderr, or to both when run by Exec
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: %s: %s", e.Node, strings.Join(e.Args, " "), e.Status)
	if out := strings.TrimSpace(e.Output); out != "" {
		msg += ": " + out
	}
	return msg
}

// control is our end of the connection to a node's init.
type control struct {
	conn *net.UnixConn

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	running map[int]*Process
	gone    bool
}

var errNodeDown = errors.New("the node is down")

func newControl(conn *net.UnixConn) *control {
	c := &control{conn: conn, waiting: map[int]chan reply{}, running: map[int]*Process{}}
	go c.listen()
	return c
}

// listen ends with the connection: when init dies or close is called.
func (c *control) listen() {
	for {
		var rep reply
		if _, err := receive(c.conn, &rep); err != nil {
			c.lose()
			return
		}
		c.mu.Lock()
		if p := c.running[rep.ID]; p != nil && rep.Exited {
			delete(c.running, rep.ID)
			p.ws = syscall.WaitStatus(rep.Status)
			close(p.done)
		} else if ch := c.waiting[rep.ID]; ch != nil {
			delete(c.waiting, rep.ID)
			ch <- rep
		}
		c.mu.Unlock()
	}
}

// lose tells everybody that the node is no more.
func (c *control) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, ch := range c.waiting {
		ch <- reply{Err: errNodeDown.Error()}
	}
	for _, p := range c.running {
		p.lost = true
		close(p.done)
	}
	clear(c.waiting)
	clear(c.running)
}

func (c *control) close() { c.conn.Close() }

// ask sends a request and waits for its reply. p, if given, is known before
// the request is sent, so that its end is never missed.
func (c *control) ask(ctx context.Context, req request, files ...*os.File) (reply, error) {
	return c.askFor(ctx, nil, req, files...)
}

func (c *control) askFor(ctx context.Context, p *Process, req request, files ...*os.File) (reply, error) {
	ch := make(chan reply, 1)
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return reply{}, errNodeDown
	}
	c.next++
	req.ID = c.next
	c.waiting[req.ID] = ch
	if p != nil {
		c.running[req.ID] = p
	}
	err := send(c.conn, req, files...)
	c.mu.Unlock()
	if err != nil {
		return reply{}, fmt.Errorf("ask init: %w", err)
	}
	select {
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case rep := <-ch:
		if rep.Err != "" {
			return rep, errors.New(rep.Err)
		}
		return rep, nil
	}
}

func (n *Node) live() (*control, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.control == nil {
		return nil, errNodeDown
	}
	return n.control, nil
}

// start runs a command; the descriptors it needs are closed on our side.
func (n *Node) start(cmd Command) (*Process, error) {
	c, err := n.live()
	if err != nil {
		return nil, err
	}
	p := &Process{Node: n.spec.Name, Args: cmd.Args, control: c, done: make(chan struct{})}
	files, opened, err := p.stdio(n, cmd)
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	rep, err := c.askFor(context.Background(), p, request{Op: "start", Argv: cmd.Args,
		Env: append(n.env(), cmd.Env...)}, files...)
	if err != nil {
		return nil, err
	}
	p.Pid = rep.Pid
	return p, nil
}

// stdio prepares stdin, stdout and stderr; opened is what to close after the
// start.
func (p *Process) stdio(n *Node, cmd Command) (files, opened []*os.File, err error) {
	in := cmd.Stdin
	if in == nil {
		if in, err = os.Open(os.DevNull); err != nil {
			return nil, nil, err
		}
		opened = append(opened, in)
	}
	files = []*os.File{in}
	var log *os.File
	for i, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		switch f, ok := w.(*os.File); {
		case ok && f != nil:
			files = append(files, f)
		case w == nil:
			if log == nil {
				if log, err = n.openLog(baseName(cmd.Args)); err != nil {
					return nil, opened, err
				}
				opened = append(opened, log)
			}
			files = append(files, log)
		case i == 1 && cmd.Stdout == cmd.Stderr:
			files = append(files, files[1])
		default:
			r, w2, err := os.Pipe()
			if err != nil {
				return nil, opened, err
			}
			opened, files = append(opened, w2), append(files, w2)
			p.pipes = append(p.pipes, r)
			p.copies.Go(func() { io.Copy(w, r) })
		}
	}
	return files, opened, nil
}

func baseName(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	return args[0][strings.LastIndex(args[0], "/")+1:]
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends sig to the process.
func (p *Process) Signal(sig syscall.Signal) error {
	_, err := p.control.ask(context.Background(), request{Op: "signal", Who: fmt.Sprintf("pid:%d", p.Pid), Sig: int(sig)})
	return err
}

// lingering is how long after the end of a process its output is still read:
// a daemon it left behind may hold the pipe for ever.
const lingering = 300 * time.Millisecond

// Wait waits for the end and for all output. The error is an *ExitError when
// the process failed, or ctx's.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, r := range p.pipes {
		r.SetReadDeadline(time.Now().Add(lingering))
	}
	p.copies.Wait()
	for _, r := range p.pipes {
		r.Close()
	}
	p.pipes = nil
	if st := p.status(); st.Code != 0 || p.lost {
		return st
	}
	return nil
}

// status is valid after Done.
func (p *Process) status() *ExitError {
	e := &ExitError{Node: p.Node, Args: p.Args, Code: -1}
	switch {
	case p.lost:
		e.Status = "its node died"
	case p.ws.Signaled():
		e.Status = "signal: " + p.ws.Signal().String()
	default:
		e.Code = p.ws.ExitStatus()
		e.Status = fmt.Sprintf("exit status %d", e.Code)
	}
	return e
}

func (e *ExitError) String() string { return e.Status }

// Exec runs a command in a node and returns what it wrote to stdout and
// stderr. When ctx ends it is killed.
func (l *Lab) Exec(ctx context.Context, node string, args ...string) (string, error) {
	n, err := l.node(node)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	p, err := n.start(Command{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		return "", fmt.Errorf("%s: %w", node, err)
	}
	if err := p.Wait(ctx); err != nil {
		var exit *ExitError
		if !errors.As(err, &exit) {
			p.Signal(syscall.SIGKILL)
			p.Wait(context.WithoutCancel(ctx))
			return out.String(), fmt.Errorf("%s: %s: %w", node, strings.Join(args, " "), err)
		}
		exit.Output = out.String()
		return out.String(), exit
	}
	return out.String(), nil
}

// Start runs a command in a node in the background.
func (l *Lab) Start(node string, cmd Command) (*Process, error) {
	n, err := l.node(node)
	if err != nil {
		return nil, err
	}
	p, err := n.start(cmd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node, err)
	}
	return p, nil
}
