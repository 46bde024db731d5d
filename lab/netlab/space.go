package netlab

import (
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a network namespace held open by a descriptor, so that it lives
// until close whatever runs in it.
type space struct {
	file   *os.File
	handle *netlink.Handle
}

// newSpace makes a network namespace with its loopback up.
func newSpace() (*space, error) {
	var s space
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), "netns")
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.handle, err = netlink.NewHandleAt(netns.NsHandle(s.file.Fd()), unix.NETLINK_ROUTE); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("netlink in the namespace: %w", err)
	}
	lo, err := s.handle.LinkByName("lo")
	if err == nil {
		err = s.handle.LinkSetUp(lo)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("loopback: %w", err)
	}
	return &s, nil
}

// do runs f on a thread that is inside the namespace.
func (s *space) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

func (s *space) close() {
	s.handle.Close()
	s.file.Close()
}

// onThread runs f on a thread of its own that may change its network
// namespace; the thread is used again only when it is back in the first one.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(home)
		err = f()
		if back := unix.Setns(home, unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
		done <- err
	}()
	return <-done
}
