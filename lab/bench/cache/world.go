package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/lab/cachetest"
)

// world is the caches at work and the origin behind them.
type world struct {
	options
	dir    string
	caches []*cachetest.Running
	asked  atomic.Int64 // requests at the origin
	end    func()
}

func newWorld(ctx context.Context, o options, dir string) (_ *world, err error) {
	w := &world{options: o, dir: dir}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	subjects, missing, err := cachetest.Named(strings.Split(o.caches, ",")...)
	if err != nil {
		return nil, err
	}
	for _, m := range missing {
		fmt.Println(m, "is not installed: left out")
	}
	script := fmt.Sprintf(spans, time.Now().UnixNano()%1e6, sizes[large]-1<<20)
	if err := os.WriteFile(filepath.Join(dir, "spans.lua"), []byte(script), 0o644); err != nil {
		return nil, err
	}
	at, end, err := cachetest.Loopback(http.HandlerFunc(w.serve))
	if err != nil {
		return nil, err
	}
	w.end = end
	pair, err := cachetest.NewKeyPair(dir)
	if err != nil {
		return nil, err
	}
	for _, s := range subjects {
		r, err := s.Start(ctx, cachetest.Setup{Origin: at, Dir: filepath.Join(dir, s.Name), CPU: o.server, TLS: pair, Bin: o.bin})
		if err != nil {
			return nil, err
		}
		w.caches = append(w.caches, r)
		if err := warm(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return w, nil
}

func (w *world) close() {
	for _, c := range w.caches {
		c.Stop()
	}
	if w.end != nil {
		w.end()
	}
}

// label joins nginx's two listeners into one column.
func (w *world) label(c *cachetest.Running) string { return strings.TrimSuffix(c.Name, "-h2c") }

// serve is the origin: bytes of a size, good for a day.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.asked.Add(1)
	size, ok := sizes[r.URL.Path]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("Cache-Control", "max-age=86400")
	rw.Header().Set("Content-Type", "application/octet-stream")
	rw.Header().Set("ETag", fmt.Sprintf(`"%d"`, size))
	http.ServeContent(rw, r, "", time.Unix(1_700_000_000, 0), &pattern{size: int64(size)})
}

// pattern is a file of digits that takes no memory.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range n {
		b[i] = '0' + byte((p.at+int64(i))%10)
	}
	p.at += int64(n)
	return n, nil
}

func (p *pattern) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		p.at = off
	case io.SeekCurrent:
		p.at += off
	case io.SeekEnd:
		p.at = p.size + off
	}
	return p.at, nil
}

// warm puts all objects into a cache by both listeners, twice, and looks at
// the length of what comes.
func warm(ctx context.Context, c *cachetest.Running) error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, Protocols: new(http.Protocols)}} //nolint:gosec // a certificate of our own
	t := client.Transport.(*http.Transport)
	t.Protocols.SetHTTP1(!c.H2C || c.Ours || c.Name == "varnish")
	t.Protocols.SetUnencryptedHTTP2(c.H2C && !t.Protocols.HTTP1())
	t.Protocols.SetHTTP2(true)
	defer client.CloseIdleConnections()
	for _, base := range []string{"http://" + c.HTTP, "https://" + c.HTTPS} {
		for path, size := range sizes {
			for range 2 {
				if strings.HasSuffix(base, "/") {
					continue
				}
				if err := fetch(ctx, client, base+path, size); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func fetch(ctx context.Context, client *http.Client, url string, size int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(size)) {
		err = errors.New("a wrong answer")
	}
	if err != nil {
		return fmt.Errorf("GET %s: %d, %d bytes: %w", url, resp.StatusCode, n, err)
	}
	return nil
}
