package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// pipes are a listener in memory: what nobody reads blocks its writer at once.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestStopDoesNotWaitForReaders: who has stopped reading what it asked for
// does not keep the daemon from ending.
func TestStopDoesNotWaitForReaders(t *testing.T) {
	for path, begins := range map[string]string{"watch": "\n{", "journal?follow=1": "HTTP/1.1 "} {
		synctest.Test(t, func(t *testing.T) {
			s, err := api.New(api.Options{Socket: "unused", Backend: apitest.World(), Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			srv := &http.Server{Handler: s.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
			l := make(pipes)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			client, server := net.Pipe()
			defer client.Close()
			l <- server
			if _, err := io.WriteString(client, "GET /v1/"+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			for text := ""; !strings.HasSuffix(text, begins); {
				var b [1]byte
				if _, err := client.Read(b[:]); err != nil {
					t.Fatal(err)
				}
				text += string(b[:])
			}
			synctest.Wait()
			start := time.Now()
			cancel()
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: ended after %v", path, took)
			}
			<-served
		})
	}
}
