package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Client talks to the keeper of one lab.
type Client struct{ name string }

// Labs lists the labs in the background.
func Labs() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(StateDir(), "*.sock"))
	var names []string
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".sock")
		if _, err := Connect(name); err == nil {
			names = append(names, name)
		}
	}
	return names, err
}

// Connect finds the keeper of a lab; it removes the socket of a dead one.
func Connect(name string) (*Client, error) {
	c := &Client{name: name}
	conn, err := c.dial()
	if errors.Is(err, unix.ECONNREFUSED) {
		os.Remove(socketPath(name))
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s is not up", name)
	}
	conn.Close()
	return c, nil
}

func (c *Client) dial() (*net.UnixConn, error) {
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socketPath(c.name), Net: "unixpacket"})
}

func (c *Client) ask(q call, files ...*os.File) (answer, error) {
	conn, err := c.dial()
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := send(conn, q, files...); err != nil {
		return answer{}, err
	}
	return c.await(conn)
}

func (c *Client) await(conn *net.UnixConn) (answer, error) {
	var a answer
	if _, err := receive(conn, &a); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			err = errors.New("the lab ended")
		}
		return a, err
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// Inspect describes the nodes.
func (c *Client) Inspect() ([]NodeInfo, error) {
	a, err := c.ask(call{Op: "inspect"})
	return a.Nodes, err
}

// Do does one of: freeze, thaw, crash, kill, boot (no arguments), link (an
// interface, up or down), log (returns the tail of the node's log).
func (c *Client) Do(op, node string, args ...string) (string, error) {
	a, err := c.ask(call{Op: op, Node: node, Args: args})
	return a.Text, err
}

// Signal is Lab.Signal.
func (c *Client) Signal(node, who string, sig syscall.Signal) error {
	_, err := c.ask(call{Op: "signal", Node: node, Args: []string{who}, Sig: int(sig)})
	return err
}

// Down ends the lab and waits for it.
func (c *Client) Down() error {
	_, err := c.ask(call{Op: "down"})
	return err
}

// Exec runs a command in a node on this process's own stdin, stdout and
// stderr and returns its exit status; SIGINT and SIGTERM go to it. When ctx
// ends it is killed.
func (c *Client) Exec(ctx context.Context, node string, args ...string) (int, error) {
	conn, err := c.dial()
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	if err := send(conn, call{Op: "exec", Node: node, Args: args}, os.Stdin, os.Stdout, os.Stderr); err != nil {
		return -1, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				if sig, ok := s.(syscall.Signal); ok {
					send(conn, call{Op: "signal", Sig: int(sig)})
				}
			case <-done:
				return
			}
		}
	}()
	a, err := c.await(conn)
	return a.Code, err
}
