package nets

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/catchment/catchment/policy/steer"
)

type reader func(string, io.Reader) (*steer.Nets, error)

func at(t *testing.T, n *steer.Nets, addr, want string) {
	t.Helper()
	if got, _ := n.Find(netip.MustParseAddr(addr)); got != want {
		t.Errorf("%s: %q, want %q", addr, got, want)
	}
}

func TestCSV(t *testing.T) {
	n, err := CSV("x", strings.NewReader("\ufeff# networks\nNetwork,asn,Location\r\n192.0.2.0/24,1,eu\n\n192.0.2.64/26, 1 ,\n"+
		"\"2001:db8::/32\",1, \"a \"\"b\"\", c\" \n198.51.100.7,1,host\n"))
	if err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "eu")
	at(t, n, "192.0.2.65", "")
	at(t, n, "2001:db8::1", `a "b", c`)
	at(t, n, "198.51.100.7", "host")
	at(t, n, "198.51.100.8", "")
	if n, err = CSV("x", strings.NewReader("192.0.2.0/24,eu")); err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "eu")
	if n, err = CSV("x", strings.NewReader("reason,network\nby hand,192.0.2.0/24\n")); err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "by hand")
}

func TestGdnsd(t *testing.T) {
	for _, text := range []string{
		"# nets\n192.0.2.0/24 => [ dc1, dc2 ],\n2001:db8::/32=>dc3 192.0.2.128/25 => [ ]\n\"198.51.100.0/24\" => [\"a b\" dc2]",
		"{ 192.0.2.0/24 => [ dc1\n dc2 ] # so\n, 2001:db8::/32 => dc3 ; 192.0.2.128/25=>[]; 198.51.100.0/24 => [ a\\ b, dc2 ] }",
	} {
		n, err := Gdnsd("x", strings.NewReader(strings.ReplaceAll(text, `a\ b`, `"a\ b"`)))
		if err != nil {
			t.Fatal(err)
		}
		at(t, n, "192.0.2.1", "dc1,dc2")
		at(t, n, "192.0.2.129", "")
		at(t, n, "2001:db8::1", "dc3")
		at(t, n, "198.51.100.1", "a b,dc2")
	}
}

func TestDatabase(t *testing.T) {
	city := filepath.Join("testdata", "city.mmdb")
	n, err := Load(city, nil)
	if err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "FR")
	at(t, n, "203.0.113.1", "")
	at(t, n, "2001:db8:1::1", "DE")
	at(t, n, "2001:db8:3:4:8000::1", "BR")
	at(t, n, "2001:db8:3:4:7000::1", "")
	known := func(s string) bool { return s == "EU" || s == "FR-IDF" || s == "AS" }
	if n, err = Load(city, known); err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "FR-IDF")
	at(t, n, "192.0.2.129", "EU")
	at(t, n, "198.51.100.1", "")
	at(t, n, "203.0.113.1", "AS")
	at(t, n, "2001:db8:1::1", "EU")
	if n, err = Load(filepath.Join("testdata", "asn.mmdb"), nil); err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "AS64500")
	if n, err = Load(filepath.Join("testdata", "own.mmdb"), nil); err != nil {
		t.Fatal(err)
	}
	at(t, n, "192.0.2.1", "lab")
}

func TestErrorsNameFileAndLine(t *testing.T) {
	csv, gdnsd := reader(CSV), reader(Gdnsd)
	for _, c := range []struct {
		r          reader
		text, want string
	}{
		{csv, "192.0.2.0/24,a\n192.0.2.0/33,b\n", `f:2: "192.0.2.0/33" is no network`},
		{csv, "192.0.2.1/24,a\n", `f:1: network 192.0.2.1/24: bits are set after its length: 192.0.2.0/24 is meant?`},
		{csv, "\n#\n192.0.2.0/24\n", `f:3: 1 fields: want a network and a location`},
		{csv, "x,\"a\n", `f:1: a quote is not closed`},
		{csv, "\"x\"y,a\n", `f:1: text after a quoted field`},
		{csv, "x%,a\n", `f:1: "x%" is no network`},
		{csv, "fe80::1%eth0,a\n", `f:1: "fe80::1%eth0" is no network`},
		{csv, "192.0.2.0/24,a\x01\n", `f:1: location "a\x01": want printable characters`},
		{csv, "192.0.2.0/24," + strings.Repeat("a", 257) + "\n", `f:1: location of 257 bytes: more than 256`},
		{csv, "#\n" + strings.Repeat("a", 5000) + "\n", `f:2: line longer than 4096 bytes`},
		{csv, "192.0.2.0/24,a\n10.0.0.0/8,a\n192.0.2.0/24,b\n", `f:3: network 192.0.2.0/24: location "b", and "a" before (line 1)`},
		{csv, "a,\nb,\n", "f:1: \"a\" is no network\nf:2: \"b\" is no network"},
		{gdnsd, "192.0.2.0/24 = dc1", `f:1: "=" after 192.0.2.0/24: want =>`},
		{gdnsd, "\n192.0.2.0/24 => { a => b }", `f:2: { after =>: want a datacenter or a list`},
		{gdnsd, "192.0.2.0/24 => [ a\n", `f:2: the end of the file in the list of 192.0.2.0/24`},
		{gdnsd, "{ 192.0.2.0/24 => a", `f:1: the end of the file where a network is wanted`},
		{gdnsd, "192.0.2.0/24 => a }", `f:1: } where a network is wanted`},
		{gdnsd, "{ } x", `f:1: "x" after the last brace`},
		{gdnsd, "$include{nets}", `f:1: $include: files in files are not read`},
		{gdnsd, "# a\nx => b", `f:2: "x" is no network`},
		{gdnsd, `"192`, `f:1: a quote is not closed`},
		{gdnsd, strings.Repeat("a", 5000), `f:1: line longer than 4096 bytes`},
		{gdnsd, `"` + strings.Repeat("a", 5000), `f:1: line longer than 4096 bytes`},
		{gdnsd, "192.0.2.0/24 => [" + strings.Repeat("abcdefg ", 50) + "]", `f:1: list of 192.0.2.0/24: more than 256 bytes`},
		{gdnsd, "192.0.2.0/24 => a\n192.0.2.0/24 => b\n", `f:2: network 192.0.2.0/24: location "b", and "a" before (line 1)`},
	} {
		if _, err := c.r("f", strings.NewReader(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%.60q:\n%v\nwant\n%s", c.text, err, c.want)
		}
	}
	for name, r := range map[string]reader{"csv": csv, "gdnsd": gdnsd} {
		if _, err := r("f", strings.NewReader(strings.Repeat("x => [],\n", 50))); err == nil || strings.Count(err.Error(), "\n") != maxErrors-1 {
			t.Errorf("%s: %v, want %d errors", name, err, maxErrors)
		}
		if _, err := r("f", iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil || err.Error() != "f: the file is cut off" {
			t.Errorf("%s: %v of a reader that fails", name, err)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.csv": "x", "a.nets": "x", "a.mmdb": "x", "b.MMDB": ""} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Load(path+"none", nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rows gives the networks of a small map; which of them is told by b.
func rows(b []byte) (out []Row) {
	words := []string{"eu", `a"b`, "x,y", "", "#", "a b", "[", `\`, "=>", "naïve"}
	seen := map[string]bool{}
	for i := 0; i+1 < len(b); i += 2 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b[i], b[i+1]}), 24).String()
		if b[i]%2 == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, b[i], b[i+1]}), 32).String()
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, Row{Network: p, Location: words[int(b[i+1])%len(words)], More: []string{"m,n"}})
		}
	}
	return out
}

func each(l []Row) func(func(Row) bool) {
	return func(yield func(Row) bool) {
		for _, r := range l {
			if !yield(r) {
				return
			}
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	var seed []byte
	for i := range 40 {
		seed = append(seed, byte(i), byte(i*7))
	}
	list := rows(seed)
	var c, g bytes.Buffer
	if err := WriteCSV(&c, []string{"more"}, each(list)); err != nil {
		t.Fatal(err)
	}
	if err := WriteGdnsd(&g, each(list)); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]func() (*steer.Nets, error){
		"csv":   func() (*steer.Nets, error) { return CSV(name0, &c) },
		"gdnsd": func() (*steer.Nets, error) { return Gdnsd(name0, &g) },
	} {
		n, err := r()
		if err != nil {
			t.Fatal(name, err)
		}
		for _, row := range list {
			at(t, n, netip.MustParsePrefix(row.Network).Addr().String(), row.Location)
		}
	}
}

const name0 = "f"

// same asks two maps for the same addresses.
func same(t *testing.T, a, b *steer.Nets) {
	t.Helper()
	if fmt.Sprint(a.Locations()) != fmt.Sprint(b.Locations()) || a.Ranges() != b.Ranges() {
		t.Fatalf("%v in %d ranges, and %v in %d", a.Locations(), a.Ranges(), b.Locations(), b.Ranges())
	}
}

func fuzz(f *testing.F, r reader) {
	f.Fuzz(func(t *testing.T, text string) {
		a, err := r("f", strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("%v does not name the file", err)
			}
			return
		}
		b, err := r("f", iotest.OneByteReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, a, b)
	})
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"network,location\n192.0.2.0/24,eu\n", "\"a\",\"b\"\"\"\n#\n", "2001:db8::/64,x\n2001:db8::/80,y\n", "0.0.0.0/0,a\n::/0,b\n"} {
		f.Add(s)
	}
	fuzz(f, CSV)
}

func FuzzGdnsd(f *testing.F) {
	for _, s := range []string{"{ 192.0.2.0/24 => [ dc1, dc2 ], }", "2001:db8::/32=>dc3#\n", "\"a\\\"\" => [", "=>=>", "$include{x}"} {
		f.Add(s)
	}
	fuzz(f, Gdnsd)
}

func FuzzDatabase(f *testing.F) {
	for _, name := range []string{"city", "asn", "own"} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".mmdb"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := DatabaseBytes("f", b, nil); err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Fatalf("%v does not name the file", err)
		}
	})
}
