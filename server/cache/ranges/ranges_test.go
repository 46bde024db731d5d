package ranges

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// huge is a number that no int64 holds.
var huge = strings.Repeat("9", 40)

// parseCases are Range fields, nil for those that are to be ignored.
var parseCases = map[string][]Spec{
	"bytes=0-499":                   {{0, 499}},
	"bytes=500-":                    {{500, -1}},
	"bytes=-500":                    {{-1, 500}},
	"bytes=-0":                      {{-1, 0}},
	"Bytes=0-0":                     {{0, 0}},
	"  bytes=0-0 ":                  {{0, 0}},
	"bytes=0-0,-1":                  {{0, 0}, {-1, 1}},
	"bytes= 0-0 ,\t2-3 , ,":         {{0, 0}, {2, 3}},
	"bytes=,0-0":                    {{0, 0}},
	"bytes=0-" + huge:               {{0, math.MaxInt64}},
	"bytes=" + huge + "-":           {{math.MaxInt64, -1}},
	"bytes=" + huge + "-" + huge:    {{math.MaxInt64, math.MaxInt64}},
	"bytes=-" + huge:                {{-1, math.MaxInt64}},
	"bytes=007-0000000000000000008": {{7, 8}},

	"":                            nil,
	"bytes":                       nil,
	"bytes=":                      nil,
	"bytes=,":                     nil,
	"bytes=-":                     nil,
	"bytes=5":                     nil,
	"bytes=5-4":                   nil,
	"bytes=" + huge + "9-" + huge: nil,
	"bytes=a-b":                   nil,
	"bytes=1-b":                   nil,
	"bytes=+1-2":                  nil,
	"bytes=1--2":                  nil,
	"bytes=--2":                   nil,
	"bytes=0 - 1":                 nil,
	"bytes = 0-1":                 nil,
	"bytes =0-1":                  nil,
	"bytes:0-1":                   nil,
	"items=0-1":                   nil,
	"bytes=0-1;2-3":               nil,
	"bytes=0-1,x":                 nil,
	"bytes=0x0-0x1":               nil,
}

func TestParse(t *testing.T) {
	for in, want := range parseCases {
		got, ok := Parse([]string{in}, 0)
		if !slices.Equal(got, want) || ok != (want != nil) {
			t.Errorf("%q: %v, %v, want %v", in, got, ok, want)
		}
		one, ok := ParseOne(in)
		if single := len(want) == 1 && !strings.Contains(in, ","); ok != single || ok && one != want[0] {
			t.Errorf("%q alone: %v, %v", in, one, ok)
		}
	}
	if _, ok := Parse([]string{"bytes=0-1", "bytes=2-3"}, 0); ok {
		t.Error("two lines were taken")
	}
	if _, ok := Parse(nil, 0); ok {
		t.Error("no line was taken")
	}
	many := "bytes=" + strings.Repeat("0-0,", DefaultMaxRanges)
	if _, ok := Parse([]string{many}, 0); !ok {
		t.Error("the limit is too low")
	}
	if _, ok := Parse([]string{many + "1-1"}, 0); ok {
		t.Error("the limit does not hold")
	}
	if _, ok := Parse([]string{"bytes=0-0,1-1"}, 1); ok {
		t.Error("a limit of one does not hold")
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		in   string
		size int64
		want string
	}{
		{"bytes=0-499", 10000, "[{0 500}]"},
		{"bytes=9500-", 10000, "[{9500 10000}]"},
		{"bytes=-500", 10000, "[{9500 10000}]"},
		{"bytes=-50000", 10000, "[{0 10000}]"},
		{"bytes=0-99999", 10000, "[{0 10000}]"},
		{"bytes=0-0,-1", 10000, "[{0 1} {9999 10000}]"},
		{"bytes=-1,0-0", 10000, "[{9999 10000} {0 1}]"},
		{"bytes=500-600,601-999", 10000, "[{500 601} {601 1000}]"},
		{"bytes=500-700,601-999", 10000, "[{500 1000}]"},
		{"bytes=601-999,500-700,0-0", 10000, "[{0 1} {500 1000}]"},
		{"bytes=0-,0-,0-,-10", 10000, "[{0 10000}]"},
		{"bytes=10000-,5-5", 10000, "[{5 6}]"},
		{"bytes=-0,5-5", 10000, "[{5 6}]"},
		{"bytes=10000-", 10000, "416"},
		{"bytes=-0", 10000, "416"},
		{"bytes=99999999999999999999999-", 10000, "416"},
		{"bytes=0-", 0, "416"},
		{"bytes=0-0", 0, "416"},
		{"bytes=0-5", 0, "416"},
		{"bytes=-0", 0, "416"},
		{"bytes=-5", 0, "200"},
		{"bytes=9223372036854775806-", math.MaxInt64, "[{9223372036854775806 9223372036854775807}]"},
	} {
		specs, ok := Parse([]string{c.in}, 0)
		if !ok {
			t.Fatalf("%s is ignored", c.in)
		}
		spans, kind := Resolve(specs, c.size)
		if got := show(spans, kind); got != c.want {
			t.Errorf("%s of %d: %s, want %s", c.in, c.size, got, c.want)
		}
		if len(specs) == 1 {
			span, kind := ResolveOne(specs[0], c.size)
			if got := show([]Span{span}, kind); got != c.want {
				t.Errorf("%s of %d alone: %s, want %s", c.in, c.size, got, c.want)
			}
		}
	}
	if _, kind := Resolve(nil, 5); kind != Whole {
		t.Errorf("no ranges: %v", kind)
	}
}

func show(spans []Span, k Kind) string {
	return map[Kind]string{Whole: "200", Unsatisfiable: "416", Partial: fmt.Sprint(spans)}[k]
}

// wanted marks byte by byte what the ranges ask for: the slow model of Resolve.
func wanted(specs []Spec, size int64) []bool {
	mark := make([]bool, size)
	for i := range size {
		for _, s := range specs {
			switch {
			case s.First < 0:
				mark[i] = mark[i] || i >= size-s.Last
			case s.Last < 0:
				mark[i] = mark[i] || i >= s.First
			default:
				mark[i] = mark[i] || i >= s.First && i <= s.Last
			}
		}
	}
	return mark
}

// checkSpans compares spans with the model: each wanted byte in exactly one span, no other byte.
func checkSpans(t *testing.T, specs []Spec, size int64) {
	t.Helper()
	spans, kind := Resolve(specs, size)
	want := wanted(specs, size)
	got := make([]bool, size)
	for _, s := range spans {
		if s.Start < 0 || s.Start >= s.End || s.End > size {
			t.Fatalf("%v of %d: bad span %v", specs, size, s)
		}
		for i := s.Start; i < s.End; i++ {
			if got[i] {
				t.Fatalf("%v of %d: byte %d twice in %v", specs, size, i, spans)
			}
			got[i] = true
		}
	}
	if kind != Whole && !slices.Equal(got, want) {
		t.Fatalf("%v of %d: %v", specs, size, spans)
	}
	if (kind == Unsatisfiable) != (kind != Whole && !slices.Contains(want, true)) {
		t.Fatalf("%v of %d: kind %v", specs, size, kind)
	}
	if kind == Whole && size > 0 {
		t.Fatalf("%v of %d: whole", specs, size)
	}
}

func TestResolveAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 2))
	for range 20000 {
		size := int64(r.IntN(20))
		var specs []Spec
		for range 1 + r.IntN(5) {
			switch a, b := int64(r.IntN(24)), int64(r.IntN(24)); r.IntN(3) {
			case 0:
				specs = append(specs, Spec{-1, a})
			case 1:
				specs = append(specs, Spec{a, -1})
			default:
				specs = append(specs, Spec{min(a, b), max(a, b)})
			}
		}
		checkSpans(t, specs, size)
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-0,-1,5-", uint8(10))
	f.Add("bytes=3-2", uint8(0))
	f.Fuzz(func(t *testing.T, in string, size uint8) {
		specs, ok := Parse([]string{in}, 0)
		one, okOne := ParseOne(in)
		if okOne && (!ok || len(specs) != 1 || specs[0] != one) {
			t.Fatalf("%q: alone %v, in a list %v", in, one, specs)
		}
		if ok {
			checkSpans(t, specs, int64(size))
		}
	})
}

// TestAgainstServeContent compares with net/http for requests where that follows RFC 9110: GET, lower-case unit, one
// range or ranges without overlap, not a suffix of zero.
func TestAgainstServeContent(t *testing.T) {
	content := make([]byte, 1000)
	for i := range content {
		content[i] = byte(i % 251)
	}
	for _, in := range []string{
		"bytes=0-0", "bytes=0-499", "bytes=500-", "bytes=-1", "bytes=-5000", "bytes=999-", "bytes=1000-", "bytes=0-5000",
		"bytes=0-0,-1", "bytes=-1,0-0,5-6", "bytes=1000-,0-0", "bytes=1-2,4-5,7-8",
	} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/", nil)
		req.Header.Set("Range", in)
		http.ServeContent(w, req, "x.bin", time.Time{}, bytes.NewReader(content))
		specs, ok := Parse([]string{in}, 0)
		if !ok {
			t.Fatalf("%s ignored", in)
		}
		spans, kind := Resolve(specs, int64(len(content)))
		if want := map[Kind]int{Whole: 200, Partial: 206, Unsatisfiable: 416}[kind]; w.Code != want {
			t.Errorf("%s: ServeContent answers %d, we %d", in, w.Code, want)
		}
		compareBody(t, in, w, content, spans)
	}
}

func compareBody(t *testing.T, in string, w *httptest.ResponseRecorder, content []byte, spans []Span) {
	t.Helper()
	switch {
	case len(spans) == 1:
		if got := string(AppendContentRange(nil, spans[0], 1000)); got != w.Header().Get("Content-Range") {
			t.Errorf("%s: Content-Range %s, ServeContent %s", in, got, w.Header().Get("Content-Range"))
		}
		if !bytes.Equal(w.Body.Bytes(), content[spans[0].Start:spans[0].End]) {
			t.Errorf("%s: another body", in)
		}
	case len(spans) > 1:
		_, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
		theirs := readParts(t, w.Body, params["boundary"])
		m := NewMultipart(spans, 1000, "application/octet-stream", "XYZ")
		ours := readParts(t, strings.NewReader(writeParts(t, m, content)), "XYZ")
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s:\n%q, ServeContent\n%q", in, ours, theirs)
		}
	}
}

// writeParts makes the whole multipart answer and checks the promised length.
func writeParts(t *testing.T, m *Multipart, content []byte) string {
	t.Helper()
	var b []byte
	for i, s := range m.spans {
		b = append(m.Head(b, i), content[s.Start:s.End]...)
	}
	if b = m.Tail(b); int64(len(b)) != m.Length() {
		t.Errorf("%d bytes, promised %d", len(b), m.Length())
	}
	return string(b)
}

func readParts(t *testing.T, r io.Reader, boundary string) (parts []string) {
	t.Helper()
	for mr := multipart.NewReader(r, boundary); ; {
		p, err := mr.NextPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(p)
		parts = append(parts, p.Header.Get("Content-Type")+"|"+p.Header.Get("Content-Range")+"|"+string(body))
	}
}

func TestMultipartWithoutType(t *testing.T) {
	content := []byte("0123456789")
	m := NewMultipart([]Span{{0, 1}, {8, 10}}, 10, "", "B")
	want := "--B\r\nContent-Range: bytes 0-0/10\r\n\r\n0\r\n--B\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--B--\r\n"
	if got := writeParts(t, m, content); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := m.ContentType(); got != "multipart/byteranges; boundary=B" {
		t.Error(got)
	}
}

func TestContentRange(t *testing.T) {
	for in, want := range map[string]ContentRange{
		"bytes 0-4/10":    {Span{0, 5}, 10},
		"bytes 0-4/*":     {Span{0, 5}, -1},
		"Bytes 9-9/10":    {Span{9, 10}, 10},
		" bytes 0-4/10 ":  {Span{0, 5}, 10},
		"bytes */10":      {Span{}, 10},
		"bytes 5-4/10":    {},
		"bytes 0-10/10":   {},
		"bytes */*":       {},
		"bytes 0-0/0":     {},
		"bytes 0-4":       {},
		"bytes 0-4/":      {},
		"bytes -4/10":     {},
		"bytes 0-/10":     {},
		"bytes +0-4/10":   {},
		"bytes  0-4/10":   {},
		"bytes=0-4/10":    {},
		"items 0-4/10":    {},
		"bytes 0-4/10/10": {},
		"bytes 0-4/x":     {},
		"bytes x-4/10":    {},
		"bytes a/10":      {},
		"":                {},
		"bytes 0-9223372036854775807/9223372036854775807": {},
		"bytes 0-4/99999999999999999999":                  {},
	} {
		got, err := ParseContentRange(in)
		if (err == nil) != (want != ContentRange{}) || err == nil && got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestContentRangeOfNothing(t *testing.T) {
	if got, err := ParseContentRange("bytes */0"); err != nil || got != (ContentRange{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-4/10")
	f.Add("bytes */7")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := ParseContentRange(in)
		if err != nil {
			return
		}
		again := AppendUnsatisfied(nil, c.Size)
		if c.Span != (Span{}) {
			again = AppendContentRange(nil, c.Span, c.Size)
		}
		if d, err := ParseContentRange(string(again)); err != nil || d != c {
			t.Fatalf("%q is %+v, written %q is %+v, %v", in, c, again, d, err)
		}
	})
}

func TestChunks(t *testing.T) {
	const chunk = 100
	for _, c := range []struct {
		s           Span
		first, last int64
	}{{Span{0, 1}, 0, 0}, {Span{0, 100}, 0, 0}, {Span{0, 101}, 0, 1}, {Span{99, 100}, 0, 0}, {Span{100, 101}, 1, 1}, {Span{50, 350}, 0, 3}} {
		first, last := Chunks(c.s, chunk)
		if first != c.first || last != c.last {
			t.Errorf("%v: chunks %d to %d, want %d to %d", c.s, first, last, c.first, c.last)
		}
		if a, b := Chunk(first, 320, chunk), Chunk(last, -1, chunk); a.Start > c.s.Start || b.End < c.s.End {
			t.Errorf("%v is not within %v to %v", c.s, a, b)
		}
	}
	if got := Chunk(0, 0, chunk); got.Len() != 0 {
		t.Errorf("the first chunk of nothing is %v", got)
	}
	if got := Chunk(3, 320, chunk); got != (Span{300, 320}) {
		t.Errorf("the last chunk is %v", got)
	}
}

func TestOneRangeDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		s, _ := ParseOne("bytes=1000-2000")
		_, _ = ResolveOne(s, 5000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
