package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// Client speaks to a daemon.
type Client struct {
	where string // as people say it: the path of the socket, or host:port
	base  string // URL
	http  *http.Client
}

// Unreachable is the error of a call that found no daemon.
type Unreachable struct {
	Where string // the path of the socket, or host:port
	Err   error
}

func (e *Unreachable) Error() string { return fmt.Sprintf("no daemon on %s: %v", e.Where, e.Err) }

func (e *Unreachable) Unwrap() error { return e.Err }

// dialTime bounds how long a connection may take.
const dialTime = 5 * time.Second

// NewClient makes a client of the socket at that path, on this host. It
// connects with the first call.
func NewClient(socket string) *Client {
	return newClient(socket, "http://catchmentd", "unix", socket, nil)
}

// NewRemoteClient makes a client of the daemon that listens at host:port
// (api.listen), by mutual TLS: t holds our certificate and whom we trust.
func NewRemoteClient(address string, t *tls.Config) *Client {
	return newClient(address, "https://"+address, "tcp", address, t)
}

func newClient(where, base, network, address string, t *tls.Config) *Client {
	return &Client{where: where, base: base, http: &http.Client{Transport: &http.Transport{
		// No proxy, whatever the environment says.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
			if err != nil {
				return nil, &Unreachable{Where: where, Err: err}
			}
			return c, nil
		},
		TLSClientConfig: t, TLSHandshakeTimeout: dialTime, ForceAttemptHTTP2: true,
		DisableCompression: true,
	}}}
}

// Close drops the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Rights asks what we may do.
func (c *Client) Rights(ctx context.Context) (Rights, error) {
	return get[Rights](ctx, c, "rights")
}

// Status asks how the POP is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "status")
}

// Services asks for the services alone.
func (c *Client) Services(ctx context.Context) ([]ServiceStatus, error) {
	return get[[]ServiceStatus](ctx, c, "services")
}

// Slices asks for the slices of all services.
func (c *Client) Slices(ctx context.Context) ([]SliceStatus, error) {
	return get[[]SliceStatus](ctx, c, "slices")
}

// Explain asks why a slice is as it is.
func (c *Client) Explain(ctx context.Context, s policy.SliceID) (Explanation, error) {
	return get[Explanation](ctx, c, "explain/"+s.String())
}

// Journal gives the entries that match to yield, as they come.
func (c *Client) Journal(ctx context.Context, f JournalFilter, yield func(JournalEntry) error) error {
	q := url.Values{}
	if f.Service != "" {
		q.Set("service", string(f.Service))
	}
	if f.Slice.Prefix().IsValid() {
		q.Set("slice", f.Slice.String())
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	q.Set("limit", strconv.Itoa(f.Limit))
	if f.Follow {
		q.Set("follow", "1")
	}
	return stream(ctx, c, "journal?"+q.Encode(), yield)
}

// stream gives the objects of an answer that goes on to yield.
func stream[T any](ctx context.Context, c *Client, path string, yield func(T) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for d := json.NewDecoder(res.Body); ; {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			call, _, _ := strings.Cut(path, "?")
			return fmt.Errorf("%s: %w", call, err)
		}
		if err := yield(v); err != nil {
			return err
		}
	}
}

// Watch gives the events to yield, as they come, until ctx ends or yield
// fails.
func (c *Client) Watch(ctx context.Context, yield func(Event) error) error {
	return stream(ctx, c, "watch", yield)
}

// Drain asks for a drain. It returns when the decision is made.
func (c *Client) Drain(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "drain", ch)
}

// Undrain ends a drain.
func (c *Client) Undrain(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "undrain", ch)
}

// Hold freezes the stance.
func (c *Client) Hold(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "hold", ch)
}

// Pin asks for a stance.
func (c *Client) Pin(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "pin", ch)
}

// Release ends holds and pins.
func (c *Client) Release(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "release", ch)
}

// Stop drains everything and ends the daemon.
func (c *Client) Stop(ctx context.Context, ch Change) (Result, error) {
	return post[Result](ctx, c, "stop", ch)
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) ([]string, error) {
	r, err := post[Reloaded](ctx, c, "reload", struct{}{})
	return r.Changes, err
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return exchange[T](ctx, c, http.MethodGet, path, nil)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	b, err := json.Marshal(body)
	if err != nil {
		var none T
		return none, err
	}
	return exchange[T](ctx, c, http.MethodPost, path, b)
}

func exchange[T any](ctx context.Context, c *Client, method, path string, body []byte) (T, error) {
	var v T
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := c.do(ctx, method, path, body)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		return v, fmt.Errorf("%s: answer of the daemon: %w", path, err)
	}
	return v, nil
}

// do sends a request; a failure that the daemon tells of is an *Error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		var gone *Unreachable
		if errors.As(err, &gone) {
			return nil, gone
		}
		return nil, fmt.Errorf("daemon on %s: %w", c.where, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxRequest))
	var e Error
	if json.Unmarshal(text, &e) != nil || e.Message == "" {
		return nil, fmt.Errorf("daemon on %s: %s: %q", c.where, res.Status, text)
	}
	return nil, &e
}
