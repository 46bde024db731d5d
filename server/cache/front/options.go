package front

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Listen names one place where clients are served.
type Listen struct {
	Address  string           // host:port to bind, e.g. "[::]:80"; not used when Listener is given
	TLS      bool             // TLS with ALPN h2 and http/1.1
	H3       bool             // HTTP/3 on the same UDP address too; needs TLS and Options.H3
	Listener *net.TCPListener // an inherited listener; front closes it
	Packet   net.PacketConn   // an inherited UDP socket for HTTP/3; front closes it
}

// Options are all settings of a [Front]. The zero value of every field means the default named beside it.
type Options struct {
	Listen []Listen // at least one
	Server string   // name for "Server:" of own error answers; default "catchment"

	ReusePort   bool          // SO_REUSEPORT on all sockets that front opens
	DeferAccept time.Duration // TCP_DEFER_ACCEPT; 0: off
	UserTimeout time.Duration // TCP_USER_TIMEOUT: unacknowledged data for so long ends the connection; 0: kernel's default
	NotSentLow  int           // TCP_NOTSENT_LOWAT in bytes; 0: kernel's default

	HTTP2 bool // HTTP/2 over TLS by ALPN
	H2C   bool // HTTP/2 in cleartext by prior knowledge (RFC 9113 §3.3)
	H3    bool // HTTP/3, announced with Alt-Svc
	// ResetSecret is one that all POPs share: a QUIC packet of a connection that another of them has is answered by a stateless
	// reset (RFC 9000 §10.3), so that its client does not wait for a POP that its route does not lead to any more. nil: it is dropped.
	ResetSecret []byte

	SlowNames []string // further request header names (any case) that the fast path must hand over
	NoFast    bool     // every request goes to the http.Handler; for measurements and doubts

	Limits Limits
}

// Limits bound what a client can take. Each zero means the default named beside it; negative means no limit where
// that makes sense (numbers of requests, connections, rates, times).
type Limits struct {
	HeadBytes   int // bytes of a request head; default 16 KiB, at most 64 KiB
	HeadFields  int // fields of a request head; default 100
	URLBytes    int // bytes of the request target; default 8 KiB
	ConnRequest int // requests a connection; default 10000
	Conns       int // connections in all; default 50000
	ConnsClient int // connections of one client (IPv4 address, IPv6 /64); default 1000
	Streams     int // concurrent HTTP/2 and 3 streams a connection; default 128
	Resets      int // streams that a client may reset before they are answered, a connection; default 200
	ChunkExt    int // bytes of chunk extensions a chunk; default 256

	MaxBody int64 // bytes of a request body; default no limit

	HandshakeTime time.Duration // for the TLS handshake; default 10 s
	HeadTime      time.Duration // from the first byte of a head to its last; default 10 s
	IdleTime      time.Duration // between requests; default 75 s
	BodyTime      time.Duration // for a whole request body; default 10 min
	Grace         time.Duration // the window in which the least rates below are judged; default 30 s
	SendRate      int           // bytes a second a client must take in each window; default 1024
	BodyRate      int           // bytes a second a request body must bring in each window; default 1024
}

func def[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// filled is o with defaults instead of zeros.
func (o Options) filled() Options {
	if o.Server == "" {
		o.Server = "catchment"
	}
	l := &o.Limits
	def(&l.HeadBytes, 16<<10)
	def(&l.HeadFields, 100)
	def(&l.URLBytes, 8<<10)
	def(&l.ConnRequest, 10000)
	def(&l.Conns, 50000)
	def(&l.ConnsClient, 1000)
	def(&l.Streams, 128)
	def(&l.Resets, 200)
	def(&l.ChunkExt, 256)
	def(&l.HandshakeTime, 10*time.Second)
	def(&l.HeadTime, 10*time.Second)
	def(&l.IdleTime, 75*time.Second)
	def(&l.BodyTime, 10*time.Minute)
	def(&l.Grace, 30*time.Second)
	def(&l.SendRate, 1024)
	def(&l.BodyRate, 1024)
	return o
}

// check says what is wrong with o after filled.
func (o *Options) check() error {
	if len(o.Listen) == 0 {
		return errors.New("front: no listen address")
	}
	for i, l := range o.Listen {
		if l.Address == "" && l.Listener == nil {
			return fmt.Errorf("front: listen %d has neither address nor listener", i)
		}
		if l.H3 && (!l.TLS || !o.H3) {
			return fmt.Errorf("front: listen %d: HTTP/3 needs TLS and the switch H3", i)
		}
	}
	l := &o.Limits
	switch {
	case l.HeadBytes < 256 || l.HeadBytes > maxHead:
		return fmt.Errorf("front: head bytes %d not in 256..%d", l.HeadBytes, maxHead)
	case l.URLBytes < 1 || l.URLBytes > l.HeadBytes:
		return fmt.Errorf("front: URL bytes %d not in 1..%d", l.URLBytes, l.HeadBytes)
	case l.HeadFields < 1 || l.HeadFields > maxFields:
		return fmt.Errorf("front: head fields %d not in 1..%d", l.HeadFields, maxFields)
	}
	return nil
}

const (
	maxHead   = 64 << 10 // the largest head that can be asked for
	maxFields = 256      // the most fields that can be asked for
)
