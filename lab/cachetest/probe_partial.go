package cachetest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/catchment/catchment/lab/await"
)

const largeSize = 20 << 20

// large puts an object of 20 MiB at the origin, not into the cache.
func (p *probe) large(more ...func(*resource)) []byte { return p.cold(largeSize, more...) }

func (p *probe) cold(size int, more ...func(*resource)) []byte {
	r := resource{body: content(p.path, size), etag: `"v1"`, modified: modified, header: http.Header{"Cache-Control": {"max-age=600"}}}
	for _, m := range more {
		m(&r)
	}
	p.origin.put(p.path, r)
	return r.body
}

func (p *probe) span(first, last int) reply {
	return p.get("Range", fmt.Sprintf("bytes=%d-%d", first, last))
}

// quiet waits until the origin has sent nothing for the path for a while, at
// most 5 s, so that fills in the background are over.
func (p *probe) quiet() {
	sent, calm := int64(-1), 0
	await.True(p.ctx, 5*time.Second, 50*time.Millisecond, func() bool {
		if now := p.origin.sent(p.path); now != sent {
			sent, calm = now, 0
			return false
		}
		calm++
		return calm == 6
	})
}

// partialChecks are about objects of which not all is there yet.
func partialChecks() []check { return append(coldChecks(), oddChecks()...) }

// coldChecks ask for parts of a large object of an origin that does all well.
func coldChecks() []check {
	return []check{
		{"partial", "a cold range is right", func(p *probe) error {
			body := p.large()
			return p.span(10_000_000, 10_000_999).part(body, 10_000_000, 10_000_999)
		}},
		{"partial", "a cold range costs at most two chunks", coldRange},
		{"partial", "a cold range is stored", func(p *probe) error {
			body := p.large()
			if err := p.span(5_000_000, 5_000_999).part(body, 5_000_000, 5_000_999); err != nil {
				return err
			}
			p.quiet()
			before := len(p.origin.asks(p.path))
			if err := p.span(5_000_000, 5_000_999).part(body, 5_000_000, 5_000_999); err != nil {
				return err
			}
			if n := len(p.origin.asks(p.path)); n > before {
				return errors.New("asked the origin again for the same range")
			}
			return nil
		}},
		{"partial", "two halves, then the whole: nothing more", halves},
		{"partial", "last bytes of a cold object", func(p *probe) error {
			body := p.large()
			return p.get("Range", "bytes=-1000").part(body, len(body)-1000, len(body)-1)
		}},
		{"partial", "a cold range behind the end", func(p *probe) error {
			body := p.large()
			return p.span(len(body)+10, len(body)+20).unsatisfiable(body)
		}},
		{"partial", "two ranges of a cold object", func(p *probe) error {
			body := p.large()
			return p.get("Range", "bytes=0-99,9000000-9000099").parts(body, [2]int{0, 99}, [2]int{9_000_000, 9_000_099})
		}},
		{"partial", "a range over stored and missing chunks", func(p *probe) error {
			body := p.large()
			if err := p.span(3<<20, 4<<20-1).part(body, 3<<20, 4<<20-1); err != nil {
				return err
			}
			return p.span(2<<20-5, 6<<20+5).part(body, 2<<20-5, 6<<20+5)
		}},
		{"partial", "the whole after a range is right", func(p *probe) error {
			body := p.large()
			if err := p.span(7_000_000, 8_000_000).part(body, 7_000_000, 8_000_000); err != nil {
				return err
			}
			return p.get().whole(body)
		}},
		{"partial", "HEAD after a range tells the whole length", func(p *probe) error {
			body := p.large()
			if err := p.span(0, 99).part(body, 0, 99); err != nil {
				return err
			}
			if re := p.ask(http.MethodHead, p.path); re.status != 200 || re.header.Get("Content-Length") != fmt.Sprint(len(body)) {
				return fmt.Errorf("want 200 with Content-Length %d: %s, Content-Length: %s", len(body), re, re.header.Get("Content-Length"))
			}
			return nil
		}},
	}
}

// oddChecks have an origin that changes, lacks something, or breaks off.
func oddChecks() []check {
	return []check{
		{"partial", "an object that changes between ranges is never mixed", func(p *probe) error { return mixed(p, `"v1"`, `"v2"`) }},
		{"partial", "the same by weak ETags", func(p *probe) error { return mixed(p, `W/"v1"`, `W/"v2"`) }},
		{"partial", "the same without validators", func(p *probe) error { return mixed(p, "", "") }},
		{"partial", "an origin without ranges", func(p *probe) error {
			body := p.cold(2<<20, func(r *resource) { r.noRange = true })
			if err := p.span(1000, 1999).part(body, 1000, 1999); err != nil {
				return err
			}
			return p.get().whole(body)
		}},
		{"partial", "an origin without lengths", func(p *probe) error {
			body := p.cold(2<<20, func(r *resource) { r.noRange, r.chunked = true, true })
			if err := p.get().whole(body); err != nil {
				return err
			}
			return p.span(1000, 1999).part(body, 1000, 1999)
		}},
		{"partial", "an empty object", func(p *probe) error {
			body := p.cold(0)
			if err := p.get().whole(body); err != nil {
				return err
			}
			return p.get().whole(body)
		}},
		{"partial", "a fill cut short is not stored as whole", func(p *probe) error { return cutShort(p, false) }},
		{"partial", "the same in chunked coding", func(p *probe) error { return cutShort(p, true) }},
		{"partial", "a wrong Content-Range is not served", wrongPart},
	}
}

func coldRange(p *probe) error {
	body := p.large()
	if err := p.span(10_000_000, 10_000_999).part(body, 10_000_000, 10_000_999); err != nil {
		return err
	}
	p.quiet()
	sent := p.origin.sent(p.path)
	p.figures[coldBytes] = float64(sent) / 1e6
	if sent > 2<<20 {
		return fmt.Errorf("%d bytes from the origin for 1000", sent)
	}
	return nil
}

func halves(p *probe) error {
	const size = 4 << 20
	body := p.cold(size)
	if err := errors.Join(p.span(0, size/2-1).part(body, 0, size/2-1), p.span(size/2, size-1).part(body, size/2, size-1)); err != nil {
		return err
	}
	p.quiet()
	before := p.origin.sent(p.path)
	if err := p.get().whole(body); err != nil {
		return err
	}
	more := p.origin.sent(p.path) - before
	p.figures[halvesBytes] = float64(more) / 1e6
	if more > 0 {
		return fmt.Errorf("%d bytes more from the origin", more)
	}
	return nil
}

// mixed asks for the beginning of one version and, when the origin has
// another of the same length, for the rest and the whole.
func mixed(p *probe, v1, v2 string) error {
	old := p.cold(4<<20, func(r *resource) { r.etag, r.modified = v1, time.Time{} })
	if err := p.span(0, 1<<20-1).part(old, 0, 1<<20-1); err != nil {
		return err
	}
	p.quiet()
	young := content(p.path+"v2", len(old))
	p.origin.change(p.path, func(r *resource) { r.etag, r.body = v2, young })
	for _, ask := range []func() reply{func() reply { return p.span(3<<20, 4<<20-1) }, func() reply { return p.get() }} {
		re := ask()
		if re.err != nil && len(re.body) == 0 && re.status == 0 || re.status >= 500 {
			continue // refused: a pity, but no mix
		}
		from := 0
		if re.status == 206 {
			from = 3 << 20
		}
		// A broken connection is how a change in the middle is told.
		if !bytes.HasPrefix(old[from:], re.body) && !bytes.HasPrefix(young[from:], re.body) {
			return fmt.Errorf("bytes of two versions in one answer: %s", re)
		}
	}
	return nil
}

func cutShort(p *probe, chunked bool) error {
	body := p.cold(1<<20, func(r *resource) { r.cut, r.chunked, r.noRange = 600_000, chunked, chunked })
	if re := p.get(); re.err == nil && re.status == 200 && len(re.body) != len(body) {
		return fmt.Errorf("a short answer was passed on as whole: %s", re)
	}
	p.quiet()
	p.origin.change(p.path, func(r *resource) { r.cut = 0 })
	return p.get().whole(body)
}

// wrongPart: the origin answers a range with another one.
func wrongPart(p *probe) error {
	body := p.large()
	p.origin.change(p.path, func(r *resource) {
		r.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-999/%d", len(body)))
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(body[:1000])
		}
	})
	if re := p.span(10_000_000, 10_000_999); re.err == nil && re.status == 206 && re.header.Get("Content-Range") == fmt.Sprintf("bytes 10000000-10000999/%d", len(body)) {
		return fmt.Errorf("bytes 0-999 were served as the range asked for: %s", re)
	} else if re.status == 200 && re.err == nil && !bytes.Equal(re.body, body) {
		return fmt.Errorf("1000 bytes were served as the whole: %s", re)
	}
	p.origin.change(p.path, func(r *resource) { r.answer = nil })
	return p.get().whole(body)
}
