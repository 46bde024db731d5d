package cachetest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Loopback serves an origin on a free port of 127.0.0.1 until end is called.
func Loopback(h http.Handler) (addr netip.AddrPort, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return addr, nil, err
	}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), func() { srv.Close(); <-served }, nil
}
