package rule_test

import (
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/catchment/catchment/server/cache/rule"
)

// variant judges a response to a request with the given fields, "Name: value" separated by " | ".
func variant(t *testing.T, req, resp string, p *rule.Policy) rule.Vary {
	t.Helper()
	g := &stage{}
	v := rule.Judge(&rule.Exchange{Method: "GET", Status: 200, Request: g.fields(req), Response: g.fields("Cache-Control: max-age=60 | " + resp)}, p)
	if !v.Store {
		t.Fatalf("not stored: %v", v.Reason)
	}
	return v.Vary
}

// varyCases are stored variants and requests that they fit or do not.
var varyCases = []struct {
	choose     bool   // by the policy below, else the default one
	resp       string // of the stored response
	first, now string // requests
	want       bool
}{
	{false, "Vary: Foo", "Foo: 1", "Foo: 1", true},
	{false, "Vary: foo", "Foo: 1", "Foo: 1", true},
	{false, "Vary: Foo", "Foo: 1", "Foo: 2", false},
	{false, "Vary: Foo", "", "Foo: 1", false},
	{false, "Vary: Foo", "Foo: 1", "", false},
	{false, "Vary: Foo", "Foo:", "", false},
	{false, "Vary: Foo", "", "", true},
	{false, "Vary: Foo", "Foo: 1 | Other: 2", "Foo: 1 | Other: 3", true},
	{false, "Vary: Foo, Bar", "Foo: 1 | Bar: a", "Foo: 1 | Bar: a", true},
	{false, "Vary: Foo | Vary: Bar", "Foo: 1 | Bar: a", "Foo: 1 | Bar: b", false},
	{false, "Vary: Foo, Bar", "Foo: 1", "Bar: 1", false},
	{false, "Vary: Foo, Bar, Baz", "Foo: 1 | Baz: 2", "Foo: 1 | Baz: 2", true},
	{false, "Vary: Foo", "Foo: 1, 2", "Foo: 1 | Foo: 2", true},
	{false, "Vary: Foo", "Foo: 1,2", "Foo:  1 ,\t2 ", true},
	{false, "Vary: Foo", "Foo: 1,2", "Foo: 2,1", false},
	{false, "Vary: Foo", `Foo: "1,2"`, `Foo: "1, 2"`, false},
	{false, "Vary: Foo", "Foo: a", "Foo: A", false},
	{false, "Vary: Cookie", "Cookie: a=1; b=2", "Cookie: a=1; b=2", true},
	{false, "Vary: Cookie", "Cookie: a=1,b", "Cookie: a=1, b", false},
	{false, "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: de, en", true},
	{false, "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: eN;q=1.0, De", true},
	{false, "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: en ,   de,", true},
	{false, "Vary: Accept-Language", "Accept-Language: en, de;q=0.5", "Accept-Language: de ; Q=0.50, en", true},
	{false, "Vary: Accept-Language", "Accept-Language: en, de;q=0.5", "Accept-Language: de;q=0.6, en", false},
	{false, "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: en", false},
	{false, "Vary: Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br | Accept-Encoding: GZIP", true},
	{false, "Vary: Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0", false},
	{false, "Vary: Accept-Language | Content-Language: de", "Accept-Language: en, de", "Accept-Language: fr;q=0.5, de;q=1.0", true},
	{false, "Vary: Accept-Language | Content-Language: de", "Accept-Language: en, de", "Accept-Language: fr, de;q=0.9", false},
	{false, "Vary: Accept-Language | Content-Language: de", "Accept-Language: en, de", "Accept-Language: fr, de", false},
	{false, "Vary: Accept-Language | Content-Language: de", "Accept-Language: en, de", "Accept-Language: de, fr", false},
	{false, "Vary: Accept-Language | Content-Language: de", "Accept-Language: en, de", "Accept-Language: de-CH", false},
	{false, "Vary: Accept-Language | Content-Language: de, en", "Accept-Language: en, de", "Accept-Language: de", false},
	{false, "Vary: Accept-Language, Foo | Content-Language: de", "Accept-Language: en | Foo: 1", "Accept-Language: de | Foo: 1", true},
	{false, "Vary: Accept-Language, Foo | Content-Language: de", "Accept-Language: en | Foo: 1", "Accept-Language: de | Foo: 2", false},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Encoding: br, gzip;q=0.8", true},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: gzip, br;q=0", false},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: *", true},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: br;q=0, *", true},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: *, br;q=0", true},
	{false, "Vary: Accept", "Accept: a;q=0.5", "Accept: a;q=0x5", false},
	{false, "Vary: Accept", "Accept: a;q=0.5", "Accept: a;q=.5", false},
	{false, "Vary: Accept", "Accept: a;q=0.5", "Accept: a;q=0.5001", false},
	{false, "Vary: Accept", "Accept: a", "Accept: a;q=1.0", true},
	{false, "Vary: Accept", "Accept: a;x=5", "Accept: a;x=6", false},
	{false, "Vary: Accept", "Accept: a;q5", "Accept: a;q6", false},
	{false, "Vary: Accept", "Accept: a;q=0.9", "Accept: a;q=0.90", true},
	{false, "Vary: Accept", "Accept: a;q=0", "Accept: a;q=0.0", true},
	{true, "Vary: Accept-Encoding", "Accept-Encoding: identity", "Accept-Encoding: deflate", true},
	{true, "Vary: User-Agent", "User-Agent: a", "User-Agent: b", true},
	{true, "Vary: User-Agent", "User-Agent: a", "", true},
}

func TestVaryMatches(t *testing.T) {
	choose := rule.DefaultPolicy()
	choose.Vary = []rule.VaryRule{
		{Field: "Accept-Encoding", Mode: rule.VaryChoose, Allow: []string{"br", "gzip"}},
		{Field: "User-Agent", Mode: rule.VaryIgnore},
	}
	plain := rule.DefaultPolicy()
	for _, c := range varyCases {
		policy := &plain
		if c.choose {
			policy = &choose
		}
		v := variant(t, c.first, c.resp, policy)
		g := &stage{}
		if got := v.Matches(g.fields(c.now), policy); got != c.want {
			t.Errorf("%s, stored for %q: %q matches: %v, want %v (key %q)", c.resp, c.first, c.now, got, c.want, v.Key)
		}
	}
}

// TestLongAcceptLists: longer than what is sorted on the stack, they still match themselves and nothing else.
func TestLongAcceptLists(t *testing.T) {
	p := rule.DefaultPolicy()
	long := strings.Repeat("aa, bb, cc, ", 20) + "dd"
	v := variant(t, "Accept-Language: "+long, "Vary: Accept-Language", &p)
	if !v.Matches(http.Header{"Accept-Language": {long}}, &p) || v.Matches(http.Header{"Accept-Language": {long + "x"}}, &p) {
		t.Error("a long list does not match itself, or matches another")
	}
}

func TestSelectTakesTheLatestDate(t *testing.T) {
	p := rule.DefaultPolicy()
	type stored struct {
		vary rule.Vary
		life rule.Life
	}
	foo := func(s string) rule.Vary { return variant(t, "Foo: "+s, "Vary: Foo", &p) }
	list := []stored{
		{foo("1"), rule.Life{Date: 5, Received: 5}},
		{rule.Vary{}, rule.Life{Date: 7, Received: 7}},
		{foo("1"), rule.Life{Date: 7, Received: 9}},
		{foo("2"), rule.Life{Date: 8, Received: 9}},
		{foo("2"), rule.Life{Date: 8, Received: 8}},
	}
	get := func(s stored) (*rule.Vary, *rule.Life) { return &s.vary, &s.life }
	for in, want := range map[string]int{"1": 2, "2": 3, "3": 1} {
		if got := rule.Select(list, get, http.Header{"Foo": {in}}, &p); got != want {
			t.Errorf("Foo %s: variant %d, want %d", in, got, want)
		}
	}
	if got := rule.Select(list[:1], get, http.Header{}, &p); got != -1 {
		t.Errorf("nothing fits, but got %d", got)
	}
}

// FuzzAcceptOrder: shuffling members, changing case, adding blanks or splitting lines never changes what a list with
// weights selects; another member or weight does.
func FuzzAcceptOrder(f *testing.F) {
	f.Add("en, de;q=0.5, fr", uint64(1))
	f.Add("*;q=0, a;b=c;q=1.000,x", uint64(2))
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		if strings.ContainsAny(in, "\"\x00\r\n") {
			return
		}
		var parts []string
		for s := range strings.SplitSeq(in, ",") {
			if s = strings.Trim(s, " \t"); s != "" {
				parts = append(parts, s)
			}
		}
		if len(parts) == 0 || len(parts) > 20 {
			return
		}
		p := rule.DefaultPolicy()
		v := rule.Judge(&rule.Exchange{Method: "GET", Status: 200, Request: http.Header{"Accept": {strings.Join(parts, ",")}},
			Response: http.Header{"Cache-Control": {"max-age=9"}, "Vary": {"Accept"}}}, &p).Vary
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		lines := []string{""}
		for i, s := range parts {
			if r.IntN(2) == 0 && isASCII(s) {
				s = strings.ToUpper(s)
			}
			if r.IntN(4) == 0 && i > 0 {
				lines = append(lines, s)
			} else {
				lines[len(lines)-1] += " ,\t" + s
			}
		}
		if !v.Matches(http.Header{"Accept": lines}, &p) {
			t.Fatalf("%q does not match %q (key %q)", lines, in, v.Key)
		}
		if v.Matches(http.Header{"Accept": append(lines, "zz/extra;q=0.123")}, &p) {
			t.Fatalf("%q matches with a further member (key %q)", lines, v.Key)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func TestVaryBinary(t *testing.T) {
	p := rule.DefaultPolicy()
	for _, v := range []rule.Vary{{}, variant(t, "Accept-Language: de", "Vary: Foo, Accept-Language | Content-Language: DE", &p)} {
		b, _ := v.AppendBinary([]byte("x"))
		got, rest, err := rule.DecodeVary(append(b[1:], "tail"...))
		if err != nil || string(rest) != "tail" || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v came back as %+v, %q, %v", v, got, rest, err)
		}
		for i := range len(b) - 1 {
			if _, _, err := rule.DecodeVary(b[1 : 1+i]); err == nil {
				t.Errorf("%+v: cut to %d bytes it is accepted", v, i)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, rest, err := rule.DecodeVary(b); err == nil {
			again, _ := v.AppendBinary(nil)
			if w, _, err := rule.DecodeVary(again); err != nil || !reflect.DeepEqual(v, w) || len(rest) > len(b) {
				t.Fatalf("%+v does not come back", v)
			}
		}
		if l, _, err := rule.DecodeLife(b); err == nil {
			again, _ := l.AppendBinary(nil)
			if string(again) != string(b[:len(again)]) {
				t.Fatalf("%+v does not come back", l)
			}
		}
	})
}
