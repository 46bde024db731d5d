package cachetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// wares is the origin of the faults: any path that ends in a size has that
// many bytes, which follow from path and version and can be made at any
// offset, so that whoever gets some can tell whether they are right.
type wares struct {
	asked   atomic.Int64
	version atomic.Int64
	gone    atomic.Bool                 // no answers: connections are closed
	cut     atomic.Int64                // percent of answers that break off
	during  atomic.Int64                // nanoseconds that a body takes
	header  atomic.Pointer[http.Header] // more fields
}

func newWares() *wares { return &wares{} }

// ware is one version of one object.
type ware struct {
	seed     uint64
	at, size int64
}

func newWare(path string, version int64) (*ware, error) {
	path, _, _ = strings.Cut(path, "#")
	bare, _, _ := strings.Cut(path, "?")
	size, err := strconv.ParseInt(bare[strings.LastIndexByte(bare, '/')+1:], 10, 64)
	if err != nil {
		return nil, err
	}
	h := fnv.New64a()
	fmt.Fprint(h, path, " ", version)
	return &ware{seed: h.Sum64(), size: size}, nil
}

// Read makes the bytes at the present place: 8 at a time, each by its number.
func (w *ware) Read(b []byte) (int, error) {
	if w.at >= w.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), w.size-w.at))
	var word [8]byte
	for i := 0; i < n; {
		x := w.seed + uint64(w.at/8)*0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], x^x>>31)
		c := copy(b[i:n], word[w.at%8:])
		i += c
		w.at += int64(c)
	}
	return n, nil
}

// Seek as http.ServeContent wants it.
func (w *ware) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		w.at = off
	case io.SeekCurrent:
		w.at += off
	case io.SeekEnd:
		w.at = w.size + off
	}
	return w.at, nil
}

func (o *wares) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	o.asked.Add(1)
	version := o.version.Load()
	w, err := newWare(r.URL.RequestURI(), version)
	switch {
	case o.gone.Load():
		panic(http.ErrAbortHandler)
	case err != nil:
		http.NotFound(rw, r)
		return
	}
	h := rw.Header()
	h.Set("Cache-Control", "max-age=86400")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", fmt.Sprintf(`"%x"`, w.seed))
	h.Set("Version", strconv.FormatInt(version, 10))
	if more := o.header.Load(); more != nil {
		for k, v := range *more {
			h[k] = v
		}
	}
	out := &breaker{ResponseWriter: rw, ctx: r.Context(), left: -1, pause: time.Duration(o.during.Load()) / time.Duration(max(1, w.size/(32<<10)))}
	if rand.Int64N(100) < o.cut.Load() {
		out.left = rand.Int64N(max(1, w.size))
		if rand.IntN(3) == 0 { // as chunks
			_, _ = io.Copy(out, w)
			return
		}
	}
	http.ServeContent(out, r, "", time.Time{}, w)
}

// breaker passes so many bytes on and then breaks the connection; -1 all.
type breaker struct {
	http.ResponseWriter
	ctx   context.Context // of the request
	left  int64
	pause time.Duration // after each write
}

func (b *breaker) Write(p []byte) (int, error) {
	if b.pause > 0 {
		if err := await.Lapse(b.ctx, b.pause); err != nil {
			return 0, err
		}
	}
	if b.left >= 0 && int64(len(p)) > b.left {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	if b.left >= 0 {
		b.left -= int64(len(p))
	}
	return b.ResponseWriter.Write(p)
}

// got is what became of a request.
type got int

const (
	right   got = iota // all that was asked for, every byte as the origin has it
	refused            // an error status or a broken connection, and no wrong byte before
	wrong              // bytes that the origin never had there, or a short answer as if whole
)

// errWrong is about content.
var errWrong = errors.New("wrong")

// grab asks for a path, or a piece of it (last < 0: the whole), and compares
// every byte with the version that the answer says it is.
func grab(ctx context.Context, client *http.Client, addr, path string, first, last int64) (got, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return refused, err
	}
	if last >= 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	}
	resp, err := client.Do(req)
	if err != nil {
		return refused, err
	}
	defer resp.Body.Close()
	version, err := strconv.ParseInt(resp.Header.Get("Version"), 10, 64)
	if resp.StatusCode != 200 && resp.StatusCode != 206 || err != nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		return refused, fmt.Errorf("%s: %s", path, resp.Status)
	}
	w, err := newWare(path, version)
	if err != nil {
		return refused, err
	}
	if resp.StatusCode == 206 {
		want := fmt.Sprintf("bytes %d-%d/", first, min(last, w.size-1))
		if have := resp.Header.Get("Content-Range"); have != want+strconv.FormatInt(w.size, 10) && have != want+"*" { // the origin may not have told the length yet
			return wrong, fmt.Errorf("%w: %s: Content-Range %q, want %s%d", errWrong, path, have, want, w.size)
		}
		w.at, w.size = first, min(last+1, w.size)
	}
	err = same(resp.Body, w)
	switch {
	case err == nil:
		return right, nil
	case errors.Is(err, errWrong):
		return wrong, fmt.Errorf("%s (%s): %w", path, resp.Status, err)
	}
	return refused, err
}

// same compares a body with what it has to be.
func same(body io.Reader, w *ware) error {
	have, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := body.Read(have)
		m, _ := io.ReadFull(w, want[:n])
		if n != m || string(have[:n]) != string(want[:m]) {
			return fmt.Errorf("%w: other bytes before offset %d", errWrong, w.at)
		}
		switch {
		case errors.Is(err, io.EOF) && w.at < w.size:
			return fmt.Errorf("%w: ended at %d of %d as if whole", errWrong, w.at, w.size)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// newClient is one that keeps connections and does nothing by itself.
func newClient(limit time.Duration) *http.Client {
	return &http.Client{Timeout: limit, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
}
