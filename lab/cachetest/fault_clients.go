package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/catchment/catchment/lab/await"
)

// slowClients: each reads a byte a second of a large answer. Others are
// served as ever, and memory stays small.
func slowClients(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	n, hold := h.pick(1000, 100), time.Duration(h.pick(10, 1))*time.Second
	paths := []string{"/slow/8000000", "/cold/a/8000000", "/cold/b/8000000"}
	others := shelf(16)
	each(h.ctx, r.HTTP, append(others, paths[0]))
	before := r.Usage()
	ctx, cancel := context.WithTimeout(h.ctx, hold)
	defer cancel()
	var wg sync.WaitGroup
	var reading, open atomic.Int64
	for i := range n {
		wg.Go(func() {
			if err := trickle(ctx, i, r.HTTP, paths[i%len(paths)], func() { reading.Add(1) }); err == nil {
				open.Add(1)
			}
		})
	}
	await.True(ctx, hold/2, 10*time.Millisecond, func() bool { return int(reading.Load()) == n })
	var worst time.Duration
	for range 5 {
		began := time.Now()
		each(h.ctx, r.HTTP, others).into(h)
		worst = max(worst, time.Since(began))
	}
	var peak int64
	await.True(ctx, hold, 100*time.Millisecond, func() bool {
		peak = max(peak, r.Usage().Anon)
		return false // to the end
	})
	wg.Wait()
	grown := peak - before.Anon
	h.note("%d slow clients, %d held to the end: %d MiB more anonymous memory (%d KiB each); 16 objects for another take at most %v",
		n, open.Load(), grown>>20, grown>>10/int64(n), worst.Round(time.Millisecond))
	if grown > int64(n)*64<<10+48<<20 { // 16 MB of it are the two cold objects
		h.bad("%d MiB more memory for %d slow clients", grown>>20, n)
	}
	if worst > 10*time.Second {
		h.bad("another client waited %v", worst)
	}
	return r.Alive()
}

// trickle reads a byte a second until the context ends, and says when it has
// the first; nil if the server held on until then. Few clients have the same address, so that limits for
// one client are not what is tested.
func trickle(ctx context.Context, i int, addr, path string, first func()) error {
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/16%250), 1)}
	c, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr); err != nil {
		return err
	}
	var b [1]byte
	for tell := first; ; tell = func() {} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(b[:]); err != nil {
			return err
		}
		tell()
		if await.Lapse(ctx, time.Second) != nil {
			return nil
		}
	}
}

// bomb is raw bytes that no server should swallow whole.
type bomb struct {
	name string
	send func(io.Writer) error
}

func bombs() []bomb {
	head := "GET /ware/1/1000 HTTP/1.1\r\nHost: x\r\n"
	const mib = 1 << 20
	return []bomb{
		{"a line of 8 MiB", func(w io.Writer) error {
			return errors.Join(put(w, "GET /"), spam(w, strings.Repeat("a", 8192), 8*mib))
		}},
		{"a field of 8 MiB", func(w io.Writer) error {
			return errors.Join(put(w, head+"X: "), spam(w, strings.Repeat("a", 8192), 8*mib))
		}},
		{"300,000 fields", func(w io.Writer) error {
			return errors.Join(put(w, head), spam(w, strings.Repeat("X: y\r\n", 1000), 2*mib))
		}},
		{"a field folded without end", func(w io.Writer) error {
			return errors.Join(put(w, head+"X: y\r\n"), spam(w, strings.Repeat(" y\r\n", 1000), 8*mib))
		}},
		{"chunk extensions without end", func(w io.Writer) error {
			return errors.Join(put(w, "POST /ware/1/1000 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;"), spam(w, strings.Repeat("a=b;", 2000), 8*mib))
		}},
		{"trailers without end", func(w io.Writer) error {
			return errors.Join(put(w, "POST /ware/1/1000 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), spam(w, strings.Repeat("X: y\r\n", 1000), 8*mib))
		}},
		{"empty lines without end", func(w io.Writer) error { return spam(w, strings.Repeat("\r\n", 4000), 8*mib) }},
		{"10,000 ranges", func(w io.Writer) error {
			return put(w, head+"Range: bytes=0-1"+strings.Repeat(",2-3", 10_000)+"\r\n\r\n")
		}},
	}
}

func put(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

func spam(w io.Writer, s string, n int) error {
	for range n / len(s) {
		if err := put(w, s); err != nil {
			return err
		}
	}
	return nil
}

// h2bombs are the same for HTTP/2: fields without end in CONTINUATION frames,
// streams that are reset as soon as opened, pings, settings, and an index of
// HPACK that makes little bytes much.
func h2bombs() []bomb {
	block := func(fields int) []byte {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/ware/1/1000"}} {
			_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		for range fields {
			_ = e.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 3000)})
		}
		return b.Bytes()
	}
	open := func(w io.Writer) (*http2.Framer, error) {
		f := http2.NewFramer(w, nil)
		return f, errors.Join(put(w, http2.ClientPreface), f.WriteSettings())
	}
	frames := func(name string, do func(*http2.Framer) error) bomb {
		return bomb{name, func(w io.Writer) error {
			f, err := open(w)
			if err != nil {
				return err
			}
			return do(f)
		}}
	}
	return []bomb{
		frames("CONTINUATION without end", func(f *http2.Framer) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(0)})
			piece := bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 3000)
			for i := 0; i < 1000 && err == nil; i++ {
				err = f.WriteContinuation(1, false, piece)
			}
			return err
		}),
		frames("a bomb of HPACK", func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(10_000), EndHeaders: true, EndStream: true})
		}),
		frames("streams reset at once", func(f *http2.Framer) (err error) {
			for i := uint32(1); i < 40_000 && err == nil; i += 2 {
				err = errors.Join(f.WriteHeaders(http2.HeadersFrameParam{StreamID: i, BlockFragment: block(0), EndHeaders: true, EndStream: true}),
					f.WriteRSTStream(i, http2.ErrCodeCancel))
			}
			return err
		}),
		frames("pings, and nobody reads", func(f *http2.Framer) (err error) {
			for i := 0; i < 200_000 && err == nil; i++ {
				err = f.WritePing(false, [8]byte{})
			}
			return err
		}),
		frames("settings, and nobody reads", func(f *http2.Framer) (err error) {
			for i := 0; i < 100_000 && err == nil; i++ {
				err = f.WriteSettings()
			}
			return err
		}),
	}
}

// headerBombs: the server answers with an error or closes, soon, and neither
// grows nor stops to serve others.
func headerBombs(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	each(h.ctx, r.HTTP, shelf(8))
	before := r.Usage()
	list := bombs()
	if r.H2C {
		list = append(list, h2bombs()...)
	}
	var peak int64
	for _, b := range list {
		var wg sync.WaitGroup
		for range h.pick(20, 4) {
			wg.Go(func() { throw(h.ctx, r.HTTP, b, time.Duration(h.pick(3000, 400))*time.Millisecond) })
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for over := false; !over; {
			select {
			case <-done:
				over = true
			case <-time.After(50 * time.Millisecond):
			}
			if grown := r.Usage().Anon - before.Anon; grown > peak {
				if peak = grown; grown > 96<<20 {
					h.bad("%s: %d MiB more memory", b.name, grown>>20)
				}
			}
		}
		if t := each(h.ctx, r.HTTP, shelf(8)); t.count(right) < 8 {
			h.bad("after %s others are not served: %s", b.name, t)
		}
		if err := r.Alive(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	h.note("%d kinds: at most %d MiB more memory", len(list), peak>>20)
	return r.Alive()
}

// throw sends a bomb and hangs up after that time at most.
func throw(ctx context.Context, addr string, b bomb, limit time.Duration) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if b.send(c) == nil {
		_, _ = io.CopyN(io.Discard, c, 1<<20)
	}
}

// cacheBusting: a store of 64 MiB on disk and 32 in memory is asked for many
// times that, each request under another name.
func cacheBusting(h *harm) error {
	memory, disk := int64(h.pick(32, 16))<<20, int64(h.pick(64, 16))<<20
	r, err := h.start(func(s *Setup) { s.Memory, s.Disk = memory, disk })
	if err != nil {
		return err
	}
	defer r.Stop()
	hot := shelf(4)
	each(h.ctx, r.HTTP, hot)
	before := r.Usage()
	n := h.pick(20_000, 600)
	var next atomic.Int64
	var t tally
	var peakRSS, peakDisk atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	wg.Go(func() {
		client := newClient(20 * time.Second)
		defer client.CloseIdleConnections()
		for ctx.Err() == nil {
			peakRSS.Store(max(peakRSS.Load(), r.Usage().Anon))
			peakDisk.Store(max(peakDisk.Load(), diskUse(filepath.Join(h.dir, "store"))))
			for _, p := range hot { // some are asked for all the time
				t.add(grab(h.ctx, client, r.HTTP, p, 0, -1))
			}
			_ = await.Lapse(ctx, 100*time.Millisecond)
		}
	})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			client := newClient(20 * time.Second)
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(n) && h.ctx.Err() == nil; i = next.Add(1) {
				size := []int{2000, 20_000, 100_000}[i%3]
				t.add(grab(h.ctx, client, r.HTTP, fmt.Sprintf("/bust/%d?x=%d", size, i), 0, -1))
			}
		})
	}
	load.Wait()
	settle(h.ctx, filepath.Join(h.dir, "store"))
	cancel()
	wg.Wait()
	grown, use := peakRSS.Load()-before.Anon, diskUse(filepath.Join(h.dir, "store"))
	h.note("%d requests, %d MB: %s; at most %d MiB more memory (%d for objects) and %d MiB on disk (%d), %d at the end", n, n*40_667/1e6, &t,
		grown>>20, memory>>20, peakDisk.Load()>>20, disk>>20, use>>20)
	t.into(h)
	if c := t.count(refused); c > 0 {
		h.bad("%d requests refused", c)
	}
	if grown > 2*memory+32<<20 {
		h.bad("%d MiB more memory", grown>>20)
	}
	if use > disk+disk/4 {
		h.bad("%d MiB on disk at the end", use>>20)
	}
	return r.Alive()
}

// purgeStorm changes objects and purges them by URL, again and again, while
// others ask for them and others purge as fast as they can: after a purge
// nobody may get an older version.
func purgeStorm(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	paths := shelf(16)
	ctx, cancel := context.WithCancel(h.ctx)
	var t tally
	wait := customers(ctx, 4, func() string { return r.HTTP }, paths, &t)
	client := newClient(20 * time.Second)
	defer client.CloseIdleConnections()
	var more atomic.Int64
	var storm sync.WaitGroup
	for range 2 {
		storm.Go(func() {
			client := newClient(20 * time.Second)
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				if purge(ctx, client, r.HTTP, fmt.Sprintf("/storm/%d/1000", i%1000)) == nil {
					more.Add(1)
				}
			}
		})
	}
	n := 0
	for limit := time.Now().Add(time.Duration(h.pick(15, 1)) * time.Second); time.Now().Before(limit); n++ {
		path := paths[n%len(paths)]
		at := h.origin.version.Add(1)
		if err = purge(h.ctx, client, r.HTTP, path); err != nil {
			break
		}
		if v, err := versionOf(h.ctx, client, r.HTTP, path); err != nil || v < at {
			h.bad("%s: version %d after the purge for %d (%v)", path, v, at, err)
		}
	}
	cancel()
	wait()
	storm.Wait()
	h.note("%d purges that were looked at, %d others; %s", n, more.Load(), &t)
	t.into(h)
	return errors.Join(err, r.Alive())
}

func purge(ctx context.Context, client *http.Client, addr, path string) error {
	req, err := http.NewRequestWithContext(ctx, "PURGE", "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("PURGE %s: %s %s", path, resp.Status, said)
	}
	return nil
}

func versionOf(ctx context.Context, client *http.Client, addr, path string) (v int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if _, scan := fmt.Sscan(resp.Header.Get("Version"), &v); scan != nil {
		err = errors.Join(err, scan)
	}
	return v, err
}
