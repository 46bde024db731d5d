package ranges

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// date is a date some seconds from now.
func date(sec int) string {
	return now.Add(time.Duration(sec) * time.Second).Format(http.TimeFormat)
}

// head parses "Name: value | ..." ; "@N" is a date.
func head(s string) http.Header {
	h := http.Header{}
	for f := range strings.SplitSeq(s, " | ") {
		if name, v, ok := strings.Cut(f, ":"); ok {
			v = strings.TrimSpace(v)
			var sec int
			if n, _ := fmt.Sscanf(v, "@%d", &sec); n == 1 {
				v = date(sec)
			}
			h.Add(name, v)
		}
	}
	return h
}

func TestETag(t *testing.T) {
	for in, want := range map[ETag][2]bool{ // valid, strong
		`"a"`: {true, true}, `W/"a"`: {true, false}, `""`: {true, true}, `"ü!#"`: {true, true}, `"a,b"`: {true, true},
		``: {}, `a`: {}, `"a`: {}, `a"`: {}, `w/"a"`: {}, `W/a`: {}, `"a"b`: {}, `"a b"`: {}, "\"a\x7f\"": {}, `"a""`: {}, `W/`: {},
	} {
		if in.Valid() != want[0] || in.Strong() != want[1] {
			t.Errorf("%s: valid %v, strong %v, want %v", in, in.Valid(), in.Strong(), want)
		}
	}
	// RFC 9110 §8.8.3.2, table 3.
	for _, c := range []struct {
		a, b         ETag
		strong, weak bool
	}{
		{`W/"1"`, `W/"1"`, false, true}, {`W/"1"`, `W/"2"`, false, false}, {`W/"1"`, `"1"`, false, true}, {`"1"`, `"1"`, true, true},
		{``, ``, false, false}, {`a`, `a`, false, true}, {`a`, `"a"`, false, false},
	} {
		if c.a.StrongMatch(c.b) != c.strong || c.a.WeakMatch(c.b) != c.weak || c.b.StrongMatch(c.a) != c.strong || c.b.WeakMatch(c.a) != c.weak {
			t.Errorf("%s, %s: strong %v, weak %v", c.a, c.b, c.a.StrongMatch(c.b), c.a.WeakMatch(c.b))
		}
	}
}

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		stored, req string
		put         bool
		want        Outcome
	}{
		{`ETag: "a"`, ``, false, Proceed},
		{`ETag: "a"`, `If-None-Match: "a"`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: W/"a"`, false, NotModified},
		{`ETag: W/"a"`, `If-None-Match: "a"`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: "x", "y","a"`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: "x" | If-None-Match: "a"`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: , ,"a"`, false, NotModified},
		{`ETag: "a,b"`, `If-None-Match: "x,y", "a,b"`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: "x,"a"`, false, Proceed},
		{`ETag: "b"`, `If-None-Match: "a" "b"`, false, Proceed},
		{`ETag: "b"`, `If-None-Match: a, "b"`, false, Proceed},
		{`ETag: "a"`, `If-None-Match: "b"`, false, Proceed},
		{`ETag: "a"`, `If-None-Match: a`, false, Proceed},
		{`ETag: a`, `If-None-Match: a`, false, NotModified},
		{`ETag: "a"`, `If-None-Match: *`, false, NotModified},
		{``, `If-None-Match: *`, false, NotModified},
		{``, `If-None-Match: "a"`, false, Proceed},
		{``, `If-None-Match: `, false, Proceed},
		{`ETag: "a"`, `If-None-Match: "a"`, true, PreconditionFailed},
		{`ETag: "a" | Last-Modified: @-9`, `If-None-Match: "b" | If-Modified-Since: @0`, false, Proceed},
		{`ETag: "a" | Last-Modified: @-9`, `If-None-Match: "a" | If-Modified-Since: @-99`, false, NotModified},
		{`Last-Modified: @-9`, `If-Modified-Since: @-9`, false, NotModified},
		{`Last-Modified: @-9`, `If-Modified-Since: @-8`, false, NotModified},
		{`Last-Modified: @-9`, `If-Modified-Since: @-10`, false, Proceed},
		{`Last-Modified: @-9`, `If-Modified-Since: nonsense`, false, Proceed},
		{`Last-Modified: @-9`, `If-Modified-Since: @-9 | If-Modified-Since: @-9`, false, Proceed},
		{`Last-Modified: @-9`, `If-Modified-Since: @-9`, true, Proceed},
		{`Date: @-9`, `If-Modified-Since: @-9`, false, NotModified},
		{`Date: @-9`, `If-Modified-Since: @-10`, false, Proceed},
		{``, `If-Modified-Since: @0`, false, NotModified},
		{``, `If-Modified-Since: @-1`, false, Proceed},
		{`ETag: "a"`, `If-Match: "a"`, false, Proceed},
		{`ETag: "a"`, `If-Match: "b"`, false, PreconditionFailed},
		{`ETag: W/"a"`, `If-Match: W/"a"`, false, PreconditionFailed},
		{`ETag: "a"`, `If-Match: *`, false, Proceed},
		{`ETag: "a"`, `If-Match: "a" | If-None-Match: "a"`, false, NotModified},
		{`ETag: "a" | Last-Modified: @-9`, `If-Match: "a" | If-Unmodified-Since: @-99`, false, Proceed},
		{`Last-Modified: @-9`, `If-Unmodified-Since: @-10`, false, PreconditionFailed},
		{`Last-Modified: @-9`, `If-Unmodified-Since: @-9`, false, Proceed},
		{`Date: @-9`, `If-Unmodified-Since: @-10`, false, Proceed},
		{`Last-Modified: @-9`, `If-Unmodified-Since: x`, false, Proceed},
		{`ETag: "a" | Last-Modified: @-9`, `If-Unmodified-Since: @-9 | If-None-Match: "a"`, false, NotModified},
	} {
		v := ReadValidators(head(c.stored), now)
		req := head(c.req)
		if got := Evaluate(req, v, !c.put, now); got != c.want {
			t.Errorf("%s asked %s: %v, want %v", c.stored, c.req, got, c.want)
		}
		if Conditional(req) != (c.req != "") {
			t.Errorf("%s: conditional %v", c.req, Conditional(req))
		}
	}
}

func TestRangeApplies(t *testing.T) {
	for _, c := range []struct {
		stored, ifRange string
		want            bool
	}{
		{`ETag: "a"`, `"a"`, true},
		{`ETag: "a"`, `"b"`, false},
		{`ETag: "a"`, `W/"a"`, false},
		{`ETag: W/"a"`, `W/"a"`, false},
		{`ETag: "a"`, `"a", "b"`, false},
		{`ETag: "a"`, `*`, false},
		{`ETag: a`, `a`, false},
		{`Last-Modified: @-60 | Date: @0`, `@-60`, true},
		{`Last-Modified: @-60 | Date: @0`, `@-59`, false},
		{`Last-Modified: @-60 | Date: @0`, `@-61`, false},
		{`Last-Modified: @0 | Date: @0`, `@0`, false},
		{`Last-Modified: @-1 | Date: @0`, `@-1`, true},
		{`Last-Modified: @-60`, `@-60`, true},
		{`Date: @-60`, `@-60`, false},
		{`ETag: "a"`, ``, false},
	} {
		if got := RangeApplies(head("If-Range: "+c.ifRange), ReadValidators(head(c.stored), now), now); got != c.want {
			t.Errorf("%s, If-Range %s: %v, want %v", c.stored, c.ifRange, got, c.want)
		}
	}
	if !RangeApplies(http.Header{}, Validators{}, now) {
		t.Error("without If-Range the range does not apply")
	}
	if RangeApplies(http.Header{"If-Range": {`"a"`, `"a"`}}, Validators{ETag: `"a"`}, now) {
		t.Error("two If-Range lines were taken")
	}
}

// TestConditionsAgainstServeContent compares every mix of conditions with net/http, where that follows RFC 9110.
func TestConditionsAgainstServeContent(t *testing.T) {
	modified := now.Add(-time.Hour)
	stored := http.Header{"Etag": {`"a"`}, "Last-Modified": {modified.Format(http.TimeFormat)}, "Date": {now.Format(http.TimeFormat)}}
	v := ReadValidators(stored, now)
	tags := []string{"", `"a"`, `"b"`, `W/"a"`, `"b", "a"`, `*`}
	dates := []string{"", date(-3601), date(-3600), date(-3599), "x"}
	r := rand.New(rand.NewPCG(13, 1))
	seen := map[int]int{}
	for range 3000 {
		req := httptest.NewRequest("GET", "/", nil)
		for name, from := range map[string][]string{"If-Match": tags, "If-None-Match": tags, "If-Modified-Since": dates, "If-Unmodified-Since": dates} {
			if s := from[r.IntN(len(from))]; s != "" {
				req.Header.Set(name, s)
			}
		}
		w := httptest.NewRecorder()
		w.Header().Set("Etag", `"a"`)
		http.ServeContent(w, req, "", modified, bytes.NewReader([]byte("0123456789")))
		want := map[Outcome]int{Proceed: 200, NotModified: 304, PreconditionFailed: 412}[Evaluate(req.Header, v, true, now)]
		if seen[want]++; w.Code != want {
			t.Errorf("%v: we %d, ServeContent %d", req.Header, want, w.Code)
		}
	}
	if len(seen) != 3 {
		t.Errorf("outcomes seen: %v", seen)
	}
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a"`, `W/"b", "c"`)
	f.Add(`W/"`, `,,"`)
	f.Fuzz(func(t *testing.T, stored, list string) {
		v := Validators{ETag: ParseETag([]string{stored})}
		h := http.Header{"If-None-Match": {list}, "If-Range": {list}}
		got := Evaluate(h, v, true, now)
		if RangeApplies(h, v, now) && (got != NotModified || !v.ETag.Strong()) {
			t.Fatalf("%q, %q: If-Range matches, If-None-Match does not, or the tag is not strong", stored, list)
		}
		h["If-None-Match"] = []string{`"first", ` + string(v.ETag) + `, "last"`}
		if v.ETag.Valid() && Evaluate(h, v, true, now) != NotModified {
			t.Fatalf("%q is not found in a list", stored)
		}
	})
}

func TestParseDate(t *testing.T) {
	same := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"Sun, 06 Nov 1994 08:49:37 GMT":     same,
		"Sunday, 06-Nov-94 08:49:37 GMT":    same,
		"Sun Nov  6 08:49:37 1994":          same,
		"Sun Nov 16 08:49:37 1994":          same.AddDate(0, 0, 10),
		" Sun, 06 Nov 1994 08:49:37 GMT ":   same,
		"sUN, 06 nOV 1994 08:49:37 gmt":     same,
		"Mon, 06 Nov 1994 08:49:37 GMT":     same, // the day of the week is not compared
		"Thu, 29 Feb 2024 23:59:60 GMT":     time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		"Sun, 21 Nov 2286 04:46:39 GMT":     time.Date(2286, 11, 21, 4, 46, 39, 0, time.UTC),
		"Fri, 31 Dec 9999 23:59:59 GMT":     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"Wednesday, 21-Nov-76 12:00:00 GMT": time.Date(2076, 11, 21, 12, 0, 0, 0, time.UTC),
		"Wednesday, 21-Nov-76 12:00:01 GMT": time.Date(1976, 11, 21, 12, 0, 1, 0, time.UTC),
		"Friday, 21-Nov-99 12:00:00 GMT":    time.Date(1999, 11, 21, 12, 0, 0, 0, time.UTC),
	} {
		if got, ok := ParseDate(in, now); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "0", "-1", "x", ",", "Sun", "1994-11-06T08:49:37Z", "784111777",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 94 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT", "Sun, 06  Nov 1994 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
		"Sun, 06 Nov 1994 08:00:61 GMT", "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 29 Feb 2023 08:49:37 GMT",
		"Xyz, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Xyz 1994 08:49:37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov +994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 GMT x", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunny, 06-Nov-94 08:49:37 GMT", "Sunday, 06 Nov 94 08:49:37 GMT",
		"Someday, 06-Nov-94 08:49:37 GMT", "Sunday, 06.Nov-94 08:49:37 GMT", "Sunday, 06-Nov.94 08:49:37 GMT", "Sunday, 06-Nov-94T08:49:37 GMT",
		"Sunday,-06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-x4 08:49:37 GMT", "Sun,-06 Nov 1994 08:49:37 GMT", "Sun, 06-Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov-1994 08:49:37 GMT", "Sun, 06 Nov 1994-08:49:37 GMT", "Sun, x6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 x8:49:37 GMT",
		"Sun, 06 Nov 1994 08:x9:37 GMT", "Sun, 06 Nov 1994 08:49:x7 GMT", "Sun-Nov  6 08:49:37 1994", "Sun Nov- 6 08:49:37 1994",
		"Sun Nov  6-08:49:37 1994", "Sun Nov  6 08:49:37-1994", "Sun Nov  6 08:49:37 x994", ",Sun Nov  6 08:49:37 199",
		"Sun Nov 06 08:49:37 94", "Sun Nov  6 08:49:37 GMT 1994", "Sun Nov 6 08:49:37 1994", "Sun, 06 Nov 1994\t08:49:37 GMT",
	} {
		if got, ok := ParseDate(in, now); ok {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
	if got := string(AppendDate(nil, same.In(time.FixedZone("x", 3600)))); got != "Sun, 06 Nov 1994 08:49:37 GMT" {
		t.Error(got)
	}
}

// FuzzDate: what we take, net/http takes as the same time, apart from case, leap seconds, wrong days of the week and
// centuries; and what we write we read.
func FuzzDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", int64(0))
	f.Add("Sun Nov  6 08:49:37 1994", int64(1<<40))
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT", int64(-1))
	f.Fuzz(func(t *testing.T, in string, sec int64) {
		got, ok := ParseDate(in, now)
		if theirs, err := http.ParseTime(strings.Trim(in, " \t")); ok && err == nil && !got.Equal(theirs) && got.AddDate(100, 0, 0) != theirs && got.AddDate(-100, 0, 0) != theirs {
			t.Fatalf("%q: we %v, net/http %v", in, got, theirs)
		}
		when := time.Unix(sec&0x3ffffffffff%253402300800, 0).UTC()
		if back, ok := ParseDate(string(AppendDate(nil, when)), now); !ok || !back.Equal(when) {
			t.Fatalf("%v comes back as %v, %v", when, back, ok)
		}
	})
}
