package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Kind is what went wrong.
type Kind uint8

const (
	// KindUnavailable: no server is left to ask.
	KindUnavailable Kind = iota
	// KindDNS: the name has no address now.
	KindDNS
	// KindConnect: refused, or no route.
	KindConnect
	// KindConnectTimeout: no answer to the connection attempt, or to the handshake.
	KindConnectTimeout
	// KindTLS: the handshake failed, or the certificate is not good.
	KindTLS
	// KindTimeout: no response header in time.
	KindTimeout
	// KindIdle: the body stopped, or came slower than the minimum rate.
	KindIdle
	// KindReset: the connection ended before the response's header was whole.
	KindReset
	// KindTruncated: the body ended before its end.
	KindTruncated
	// KindProtocol: what came is not HTTP, or breaks a limit.
	KindProtocol
	// KindLoop: the request has been here before (RFC 8586).
	KindLoop
	// KindCanceled: the caller gave up.
	KindCanceled
)

var kinds = [...]struct {
	name, proxyStatus string
	status            int
}{
	KindUnavailable:    {"unavailable", "destination_unavailable", http.StatusServiceUnavailable},
	KindDNS:            {"dns", "dns_error", http.StatusBadGateway},
	KindConnect:        {"connect", "connection_refused", http.StatusBadGateway},
	KindConnectTimeout: {"connect-timeout", "connection_timeout", http.StatusGatewayTimeout},
	KindTLS:            {"tls", "tls_protocol_error", http.StatusBadGateway},
	KindTimeout:        {"timeout", "http_response_timeout", http.StatusGatewayTimeout},
	KindIdle:           {"idle", "connection_read_timeout", http.StatusGatewayTimeout},
	KindReset:          {"reset", "connection_terminated", http.StatusBadGateway},
	KindTruncated:      {"truncated", "http_response_incomplete", http.StatusBadGateway},
	KindProtocol:       {"protocol", "http_protocol_error", http.StatusBadGateway},
	KindLoop:           {"loop", "proxy_loop_detected", http.StatusLoopDetected},
	KindCanceled:       {"canceled", "proxy_internal_error", 499},
}

// String is the short word for logs, metrics and the detail of Cache-Status.
func (k Kind) String() string { return kinds[k].name }

// ProxyStatus is the error type of RFC 9209 §2.3.
func (k Kind) ProxyStatus() string { return kinds[k].proxyStatus }

// Status is the code to answer the client with (RFC 9110 §15.6).
func (k Kind) Status() int { return kinds[k].status }

// failure reports whether it speaks against the server's health.
func (k Kind) failure() bool {
	return k != KindUnavailable && k != KindLoop && k != KindCanceled
}

// unsent reports whether no byte of the request can have reached a server.
func (k Kind) unsent() bool {
	return k == KindUnavailable || k == KindDNS || k == KindConnect || k == KindConnectTimeout || k == KindTLS
}

// Error is why an upstream did not answer, or not to the end.
type Error struct {
	Kind Kind
	// Upstream and From say who was asked last; From is zero if nobody was.
	Upstream string
	From     From
	Err      error
}

func (e *Error) Error() string {
	if e.From.Name == "" {
		return fmt.Sprintf("upstream %s: %s: %v", e.Upstream, e.Kind, e.Err)
	}
	return fmt.Sprintf("upstream %s: %s: %s: %v", e.Upstream, e.From, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout is for net.Error's users.
func (e *Error) Timeout() bool {
	return e.Kind == KindTimeout || e.Kind == KindConnectTimeout || e.Kind == KindIdle
}

// KindOf is the kind of err, KindCanceled for a context's error, KindProtocol
// for what is no *Error.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindCanceled
	}
	return KindProtocol
}

// causes given to contexts by our own timers.
var (
	errIdle  = errors.New("no byte of the body for too long")
	errSlow  = errors.New("body slower than the minimum rate")
	errDone  = errors.New("response closed")
	errShort = errors.New("body shorter than its length")
	errQueue = errors.New("no connection free in time")
)

// classify names the failure of a round trip; connected tells whether a
// connection had been got, gone whether the caller's context is over.
func classify(err error, connected, gone bool) Kind {
	var (
		dns     *net.DNSError
		dial    *dialError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		netErr  net.Error
	)
	timeout := errors.As(err, &netErr) && netErr.Timeout()
	switch {
	case errors.Is(err, errIdle), errors.Is(err, errSlow):
		return KindIdle
	case errors.Is(err, errQueue):
		return KindUnavailable
	case gone:
		return KindCanceled
	case errors.As(err, &dial):
		return dial.kind
	case errors.As(err, &dns):
		return KindDNS
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &host),
		errors.As(err, &invalid), errors.As(err, &record), errors.As(err, &alert):
		return KindTLS
	case !connected && timeout:
		return KindConnectTimeout
	case timeout:
		return KindTimeout
	case !connected && strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "remote error: tls: "):
		return KindTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		strings.Contains(err.Error(), "server closed idle connection"),
		strings.Contains(err.Error(), "GOAWAY"), strings.Contains(err.Error(), "stream error"):
		return KindReset
	case !connected:
		return KindConnect
	}
	return KindProtocol
}
