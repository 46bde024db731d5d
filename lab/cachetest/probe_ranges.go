package cachetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"
)

const storedSize = 300_000

// modified lies long enough back to be a strong validator (RFC 9110 §8.8.2.2).
var modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// stored puts an object into the cache and returns its bytes.
func (p *probe) stored() ([]byte, error) {
	body := content(p.path, storedSize)
	p.origin.put(p.path, resource{body: body, etag: `"v1"`, modified: modified,
		header: http.Header{"Cache-Control": {"max-age=600"}, "Content-Type": {"text/plain"}}})
	for range 2 {
		if re := p.get(); re.err != nil || re.status != 200 || !bytes.Equal(re.body, body) {
			return nil, fmt.Errorf("could not be stored: %s", re)
		}
	}
	return body, nil
}

func (re reply) String() string {
	s := fmt.Sprintf("%d, %d bytes", re.status, len(re.body))
	if v := re.header.Get("Content-Range"); v != "" {
		s += ", Content-Range: " + v
	}
	if re.err != nil {
		s += ", " + re.err.Error()
	}
	return s
}

// whole says whether it is a right 200.
func (re reply) whole(body []byte) error {
	if re.err != nil || re.status != 200 || !bytes.Equal(re.body, body) {
		return fmt.Errorf("want the whole by 200: %s", re)
	}
	return nil
}

// part says whether it is a right 206 for the bytes first to last.
func (re reply) part(body []byte, first, last int) error {
	want := fmt.Sprintf("bytes %d-%d/%d", first, last, len(body))
	if re.err != nil || re.status != 206 || re.header.Get("Content-Range") != want || !bytes.Equal(re.body, body[first:last+1]) {
		return fmt.Errorf("want 206 with %s: %s", want, re)
	}
	return nil
}

// parts says whether it is a right multipart/byteranges with those spans, in
// that order.
func (re reply) parts(body []byte, spans ...[2]int) error {
	kind, params, err := mime.ParseMediaType(re.header.Get("Content-Type"))
	if re.err != nil || re.status != 206 || err != nil || kind != "multipart/byteranges" {
		return fmt.Errorf("want 206 with multipart/byteranges: %s, Content-Type: %s", re, re.header.Get("Content-Type"))
	}
	mr := multipart.NewReader(bytes.NewReader(re.body), params["boundary"])
	for _, sp := range spans {
		part, err := mr.NextPart()
		if err != nil {
			return fmt.Errorf("part %d-%d: %w", sp[0], sp[1], err)
		}
		got, err := io.ReadAll(part)
		want := fmt.Sprintf("bytes %d-%d/%d", sp[0], sp[1], len(body))
		if err != nil || part.Header.Get("Content-Range") != want || !bytes.Equal(got, body[sp[0]:sp[1]+1]) {
			return fmt.Errorf("part %s: %d bytes, Content-Range: %s, %v", want, len(got), part.Header.Get("Content-Range"), err)
		}
	}
	if _, err := mr.NextPart(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("more parts than asked for (%v)", err)
	}
	return nil
}

// unsatisfiable says whether it is a right 416.
func (re reply) unsatisfiable(body []byte) error {
	if want := fmt.Sprintf("bytes */%d", len(body)); re.err != nil || re.status != 416 || re.header.Get("Content-Range") != want {
		return fmt.Errorf("want 416 with %s: %s", want, re)
	}
	return nil
}

// onStored is a check of one request for a stored object.
func onStored(name string, judge func(re reply, body []byte) error, fields ...string) check {
	return check{"ranges", name, func(p *probe) error {
		body, err := p.stored()
		if err != nil {
			return err
		}
		before := len(p.origin.asks(p.path))
		re := p.get(fields...)
		if err := judge(re, body); err != nil {
			return err
		}
		if n := len(p.origin.asks(p.path)); n > before {
			return fmt.Errorf("asked the origin again (%d times)", n-before)
		}
		return nil
	}}
}

func part(first, last int) func(reply, []byte) error {
	return func(re reply, body []byte) error { return re.part(body, first, last) }
}

func whole(re reply, body []byte) error         { return re.whole(body) }
func unsatisfiable(re reply, body []byte) error { return re.unsatisfiable(body) }

func status(want int) func(reply, []byte) error {
	return func(re reply, _ []byte) error {
		if re.err != nil || re.status != want {
			return fmt.Errorf("want %d: %s", want, re)
		}
		return nil
	}
}

func either(a, b func(reply, []byte) error) func(reply, []byte) error {
	return func(re reply, body []byte) error {
		if a(re, body) == nil {
			return nil
		}
		return b(re, body)
	}
}

func parts(spans ...[2]int) func(reply, []byte) error {
	return func(re reply, body []byte) error { return re.parts(body, spans...) }
}

// rangeChecks are RFC 9110 §14 and §13.1.5 on an object that is stored whole.
// An invalid set of ranges may be ignored or refused (§14.2), a unit that is
// not known must be ignored.
func rangeChecks() []check {
	const n = storedSize
	date := modified.Format(http.TimeFormat)
	return append([]check{
		onStored("first byte", part(0, 0), "Range", "bytes=0-0"),
		onStored("in the middle", part(1000, 1999), "Range", "bytes=1000-1999"),
		onStored("to the end", part(n-10, n-1), "Range", fmt.Sprintf("bytes=%d-", n-10)),
		onStored("from 0 to the end", either(part(0, n-1), whole), "Range", "bytes=0-"),
		onStored("last bytes", part(n-100, n-1), "Range", "bytes=-100"),
		onStored("more last bytes than there are", either(part(0, n-1), whole), "Range", "bytes=-99999999"),
		onStored("past the end", part(n-10, n-1), "Range", fmt.Sprintf("bytes=%d-%d", n-10, n+10)),
		onStored("behind the end", unsatisfiable, "Range", fmt.Sprintf("bytes=%d-", n)),
		onStored("no last bytes (-0)", unsatisfiable, "Range", "bytes=-0"),
		onStored("numbers larger than 64 bits", either(unsatisfiable, whole), "Range", "bytes=99999999999999999999999-"),
		onStored("no range (abc)", either(unsatisfiable, whole), "Range", "bytes=abc"),
		onStored("last before first", either(unsatisfiable, whole), "Range", "bytes=9-2"),
		onStored("an unknown unit", whole, "Range", "lines=0-9"),
		onStored("capital Bytes=", part(0, 9), "Range", "Bytes=0-9"),
		onStored("two ranges", parts([2]int{0, 9}, [2]int{100, 199}), "Range", "bytes=0-9,100-199"),
		onStored("two ranges with blanks", parts([2]int{0, 9}, [2]int{100, 199}), "Range", "bytes= 0-9 , 100-199"),
		onStored("three, in no order, one a suffix", parts([2]int{5000, 5009}, [2]int{n - 5, n - 1}, [2]int{0, 0}), "Range", "bytes=5000-5009,-5,0-0"),
		onStored("two ranges, one behind the end", either(part(0, 9), parts([2]int{0, 9})), "Range", fmt.Sprintf("bytes=0-9,%d-", n+5)),
		onStored("500 overlapping ranges cost no more than the object", notMore, "Range", "bytes=0-"+strings.Repeat(",0-", 499)),
		onStored("If-Range with the ETag", part(0, 9), "Range", "bytes=0-9", "If-Range", `"v1"`),
		onStored("If-Range with another ETag", whole, "Range", "bytes=0-9", "If-Range", `"v0"`),
		onStored("If-Range with the ETag made weak", whole, "Range", "bytes=0-9", "If-Range", `W/"v1"`),
		onStored("If-Range with the date", part(0, 9), "Range", "bytes=0-9", "If-Range", date),
		onStored("If-Range with a later date", whole, "Range", "bytes=0-9", "If-Range", modified.Add(time.Hour).Format(http.TimeFormat)),
		onStored("If-Range, two ranges", parts([2]int{0, 9}, [2]int{100, 199}), "Range", "bytes=0-9,100-199", "If-Range", `"v1"`),
		onStored("If-None-Match goes before Range", status(304), "Range", "bytes=0-9", "If-None-Match", `"v1"`),
		onStored("If-None-Match of another, then Range", part(0, 9), "Range", "bytes=0-9", "If-None-Match", `"v0"`),
		onStored("a list in If-None-Match, weak", status(304), "If-None-Match", `"x", W/"v1"`),
		onStored("Accept-Ranges, Age and Content-Length", saysItself),
	}, headChecks()...)
}

func notMore(re reply, body []byte) error {
	if re.err != nil || re.status >= 500 || len(re.body) > len(body)+1000 {
		return fmt.Errorf("want at most %d bytes: %s", len(body)+1000, re)
	}
	return nil
}

func saysItself(re reply, body []byte) error {
	if err := re.whole(body); err != nil {
		return err
	}
	for name, want := range map[string]string{"Accept-Ranges": "bytes", "Content-Length": fmt.Sprint(len(body)), "Content-Type": "text/plain", "Etag": `"v1"`} {
		if got := re.header.Get(name); got != want {
			return fmt.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if re.header.Get("Age") == "" {
		return errors.New("no Age (RFC 9111 §5.1)")
	}
	return nil
}

func headChecks() []check {
	head := func(name string, fields ...string) check {
		return check{"ranges", name, func(p *probe) error {
			body, err := p.stored()
			if err != nil {
				return err
			}
			re := p.ask(http.MethodHead, p.path, fields...)
			if re.err != nil || re.status != 200 || re.header.Get("Content-Length") != fmt.Sprint(len(body)) {
				return fmt.Errorf("want 200 with Content-Length %d: %s, Content-Length: %s", len(body), re, re.header.Get("Content-Length"))
			}
			return nil
		}}
	}
	return []check{head("HEAD of a stored object"), head("HEAD ignores Range", "Range", "bytes=0-9")}
}
