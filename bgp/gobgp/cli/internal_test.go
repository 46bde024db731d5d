package cli

import (
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for ago, want := range map[time.Duration]string{
			0:                                 "00:00:00",
			59 * time.Second:                  "00:00:59",
			3*time.Hour + 2*time.Minute + 1e9: "03:02:01",
			24 * time.Hour:                    "1d 00:00:00",
			100*24*time.Hour + 25*time.Second: "100d 00:00:25",
			-5 * time.Second:                  "00:00:05", // a clock that went back
			56 * 365 * 24 * time.Hour:         "20440d 00:00:00",
		} {
			if got := sinceText(now.Add(-ago)); got != want {
				t.Errorf("%s: %q, want %q", ago, got, want)
			}
		}
	})
}

func TestPrefixOf(t *testing.T) {
	for _, c := range []struct {
		name string
		vrf  bool
		want string
	}{
		{"10.1.0.0/24", false, "10.1.0.0/24"},
		{"10.1.0.9/24", false, "10.1.0.0/24"},
		{"2001:db8::/32", false, "2001:db8::/32"},
		{"64500:1:10.1.0.0/24", true, "10.1.0.0/24"},
		{"100:1:2001:db8::/48", true, "2001:db8::/48"}, // a valid prefix as a whole, too
		{"10.0.0.1:2:10.1.0.0/24", true, "10.1.0.0/24"},
	} {
		if got := prefixOf(c.name, c.vrf); got != netip.MustParsePrefix(c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	if got := prefixOf("nonsense", false); got.IsValid() {
		t.Errorf("nonsense: %s", got)
	}
}

func TestKeywords(t *testing.T) {
	takes := map[string]arity{"one": one, "none": none, "some": some}
	type m = map[string][]string
	for _, c := range []struct {
		args []string
		want m
		err  string
	}{
		{nil, m{}, ""},
		{[]string{"a", "b"}, m{"": {"a", "b"}}, ""},
		{[]string{"a", "one", "1", "none"}, m{"": {"a"}, "one": {"1"}, "none": {}}, ""},
		{[]string{"one", "1", "one", "2"}, m{"one": {"2"}}, ""},
		{[]string{"some", "1", "2", "3"}, m{"some": {"1", "2", "3"}}, ""},
		{[]string{"one"}, nil, "one should have one argument"},
		{[]string{"one", "1", "2"}, nil, "one should have one argument"},
		{[]string{"none", "1"}, nil, "none should not have arguments"},
		{[]string{"some", "one", "1", "none", "x"}, nil, "some should have one or more arguments"},
	} {
		got, err := keywords(c.args, takes)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%q: %v, want %s", c.args, err, c.err)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %v, %v", c.args, got, err)
		}
	}
}

// TestTakeLeavesItsInput: words are taken off a copy.
func TestTakeLeavesItsInput(t *testing.T) {
	args := []string{"10.0.0.0/8", "med", "5", "nexthop", "10.0.0.1"}
	rest, v, err := take(args, "med", 1, nil)
	if err != nil || !reflect.DeepEqual(v, []string{"5"}) || !reflect.DeepEqual(rest, []string{"10.0.0.0/8", "nexthop", "10.0.0.1"}) {
		t.Errorf("%q %q %v", rest, v, err)
	}
	if args[1] != "med" || args[4] != "10.0.0.1" {
		t.Errorf("changed: %q", args)
	}
	if rest, v, err := take(args, "nexthop", 2, nil); v != nil || err != nil || len(rest) != 5 {
		t.Errorf("too few values: %q %q %v", rest, v, err)
	}
	if _, _, err := take(args, "nexthop", 2, errFormat); err != errFormat {
		t.Errorf("too few values: %v", err)
	}
}
