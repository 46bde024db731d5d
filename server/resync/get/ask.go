package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

func (d *download) request(ctx context.Context, first, last int64) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.job.URL, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range d.job.Header {
		req.Header[k] = v
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Want-Repr-Digest", "sha-256=10")
	switch {
	case last >= 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	case first > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", first))
	}
	if d.state.Validator != "" && (first > 0 || last >= 0) {
		req.Header.Set("If-Range", d.state.Validator)
	}
	return req, nil
}

// ask asks for bytes first to last (-1: all that follow first). What has been
// begun is asked for again and again where what is wrong may pass.
func (d *download) ask(ctx context.Context, by *http.Client, first, last int64) (*http.Response, error) {
	began := time.Now()
	for try := 0; ; try++ {
		req, err := d.request(ctx, first, last)
		if err != nil {
			return nil, err
		}
		resp, err := by.Do(req)
		if err = plain(err); err == nil && passing(resp.StatusCode) && d.state.Validator != "" {
			resp.Body.Close()
			err = said(resp)
		} else if err == nil || d.state.Validator == "" || !mayPass(err) {
			return resp, err
		}
		wait := min(50*time.Millisecond<<min(try, 10), 5*time.Second)
		if left := d.t.opt.Patience - time.Since(began); left < wait {
			return nil, errors.Join(fmt.Errorf("nothing came for %v: %w", d.t.opt.Patience, context.DeadlineExceeded), err)
		}
		d.t.opt.OnEvent(Event{Kind: Failed, Offset: first, Err: err})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// said is what a server says instead.
func said(resp *http.Response) error { return fmt.Errorf("the server says %s", resp.Status) }

// passing reports whether a status is one of now and not of the object.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// mayPass reports whether it is a connection that failed, and not a name or a
// certificate that is wrong.
func mayPass(err error) bool {
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.Temporary()
	}
	var op *net.OpError
	var timeout net.Error
	return errors.As(err, &op) || errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// plain is an error of http.Client without the method and the URL that everybody
// knows.
func plain(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
