package addr

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch tells that a device or an address of this network namespace changed,
// not which: whoever listens looks for itself. Changes that come faster than
// they are taken are told once. The channel is closed when netlink fails, or
// by stop, which must be called and joins the reader.
func Watch() (notify <-chan struct{}, stop func(), err error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, nil, fmt.Errorf("watch devices and addresses: %w", err)
	}
	out, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		for {
			_, _, err := s.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) { // ENOBUFS: some were lost
				return
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() { s.Close(); <-done }, nil
}
