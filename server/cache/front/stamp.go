package front

import "golang.org/x/sys/unix"

// Stamp is the time stamp that the next segment of the connection would carry
// (RFC 7323 §3.2), where it carries one (TCPInfo.Stamps). ok is false for
// HTTP/3 and closed connections.
func (c *Conn) Stamp() (stamp uint32, ok bool) {
	c.Control(func(fd uintptr) {
		v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
		stamp, ok = uint32(v), err == nil
	})
	return stamp, ok
}
