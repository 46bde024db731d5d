package probe

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	http := Config{Type: HTTP, URL: "http://192.0.2.1/"}
	dns := Config{Type: DNS, Address: "192.0.2.1", Query: "example.com"}
	with := func(c Config, f func(*Config)) Config { f(&c); return c }
	for _, tc := range []struct {
		config Config
		want   string
	}{
		{http, ""},
		{dns, ""},
		{Config{Type: ICMP, Address: "2001:db8::1"}, ""},
		{Config{Type: TCP, Address: "[2001:db8::1]:80", Source: "2001:db8::2"}, ""},
		{Config{Type: File, Path: "/etc/drain"}, ""},
		{Config{Type: Exec, Command: []string{"true"}}, ""},
		{Config{}, `type: "" is none of http, tcp, tls, dns, udp, icmp, grpc, exec, file`},
		{Config{Type: HTTP}, "url: a check of type http needs it"},
		{Config{Type: TCP, Address: "192.0.2.1:80", URL: "http://x/"}, "url: not a key of a check of type tcp"},
		{Config{Type: ICMP, Address: "192.0.2.1", Refused: "counted"}, "refused: not a key of a check of type icmp"},
		{Config{Type: Exec, Command: []string{"true"}, Source: "192.0.2.1"}, "source: not a key of a check of type exec"},
		{Config{Type: Exec, Command: []string{""}}, "command: the program is empty"},
		{Config{Type: Exec, Command: []string{"true"}, Env: []string{"x"}}, `env[0]: it is not NAME=value`},
		{Config{Type: File}, "path: a check of type file needs it"},
		{Config{Type: HTTP, URL: "ftp://192.0.2.1/"}, `url: "ftp://192.0.2.1/" is not an http or https URL`},
		{Config{Type: TCP, Address: "192.0.2.1"}, `address: "192.0.2.1" is not host:port`},
		{Config{Type: TCP, Address: "192.0.2.1:0"}, `address: "192.0.2.1:0": port "0" is not from 1 to 65535`},
		{Config{Type: UDP, Address: "192.0.2.1:9"}, "send: a check of type udp needs it"},
		{Config{Type: DNS, Address: "192.0.2.1"}, "query: a check of type dns needs it"},
		{with(http, func(c *Config) { c.Source = "eth0" }), `source: "eth0" is not an address`},
		{with(http, func(c *Config) { c.Source = "2001:db8::1" }), "source: 2001:db8::1 is not of the family of 192.0.2.1"},
		{with(http, func(c *Config) { c.Device = "a-name-that-is-long" }), `device: "a-name-that-is-long" is longer than 15 bytes`},
		{with(http, func(c *Config) { c.MaxLatency = -1 }), "max-latency: -1ns is negative"},
		{with(http, func(c *Config) { c.Refused = "no" }), `refused: "no" is neither conclusive nor counted`},
		{with(http, func(c *Config) { c.Status = []string{"ok"} }), `status: "ok" is not a status, a class like 2xx or a range like 200-204`},
		{with(http, func(c *Config) { c.Status = []string{"300-200"} }), `status: "300-200" is not a status, a class like 2xx or a range like 200-204`},
		{with(http, func(c *Config) { c.Headers = []string{"x"} }), `headers[0]: it is not "Name: value"`},
		{with(http, func(c *Config) { c.RequestHeaders = []string{":x"} }), `request-headers[0]: it is not "Name: value"`},
		{with(http, func(c *Config) { c.BodyRegexp = "(" }), "body-regexp: error parsing regexp: missing closing ): `(`"},
		{with(http, func(c *Config) { c.Method = "G T" }), `method: net/http: invalid method "G T"`},
		{with(http, func(c *Config) { c.MinDays = 3 }), "min-days: only with TLS"},
		{Config{Type: GRPC, Address: "192.0.2.1:1", CAFile: "x"}, "ca-file: only with TLS"},
		{Config{Type: TLS, Address: "192.0.2.1:1", CAFile: "x", Insecure: true}, "ca-file: of no use with insecure"},
		{Config{Type: TLS, Address: "192.0.2.1:1", WarnDays: 3, MinDays: 7}, "warn-days: 3 is less than min-days, 7"},
		{Config{Type: TLS, Address: "192.0.2.1:1", WarnDays: -3}, "warn-days: -3 is negative"},
		{with(dns, func(c *Config) { c.QType = "X" }), `qtype: "X" is not known`},
		{with(dns, func(c *Config) { c.RCode = "X" }), `rcode: "X" is not known`},
		{with(dns, func(c *Config) { c.Flags = []string{"qr"} }), `flags: "qr" is none of aa, ad, ra`},
		{with(dns, func(c *Config) { c.Transport = "quic" }), `transport: "quic" is neither udp nor tcp`},
		{with(dns, func(c *Config) { c.Query = "a..b" }), `query: "a..b" is not a name`},
	} {
		got := ""
		if err := tc.config.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v:\n got %s\nwant %s", tc.config, got, tc.want)
		}
	}
}

// Every key that a type takes is a key, and every key belongs to some type.
func TestKeys(t *testing.T) {
	keys := map[string]bool{}
	v := reflect.TypeFor[Config]()
	for i := range v.NumField() {
		if k := v.Field(i).Tag.Get("mapstructure"); k != "-" && k != "type" {
			if k == "" || k != strings.ToLower(k) {
				t.Errorf("field %s: key %q", v.Field(i).Name, k)
			}
			keys[k] = false
		}
	}
	for typ, takes := range keysOf {
		for _, k := range takes {
			if _, ok := keys[k]; !ok {
				t.Errorf("type %s takes %q, which is no key", typ, k)
			}
			keys[k] = true
		}
	}
	for k, used := range keys {
		if !used {
			t.Errorf("no type takes %q", k)
		}
	}
}

func TestTarget(t *testing.T) {
	for want, c := range map[string]Config{
		"http://192.0.2.1/x":              {Type: HTTP, URL: "http://192.0.2.1/x"},
		"tcp://192.0.2.1:80":              {Type: TCP, Address: "192.0.2.1:80"},
		"icmp://2001:db8::1":              {Type: ICMP, Address: "2001:db8::1"},
		"dns://192.0.2.1/example.com A":   {Type: DNS, Address: "192.0.2.1", Query: "example.com"},
		"dns://192.0.2.1/example.com SOA": {Type: DNS, Address: "192.0.2.1", Query: "example.com", QType: "soa"},
		"check_x -H 192.0.2.1":            {Type: Exec, Command: []string{"check_x", "-H", "192.0.2.1"}},
		"/run/drain":                      {Type: File, Path: "/run/drain"},
	} {
		if got := c.Target(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	for _, tc := range []struct {
		config Config
		want   string
	}{
		{Config{Type: HTTP, URL: "http://192.0.2.1/x"}, "[192.0.2.1:80]"},
		{Config{Type: HTTP, URL: "https://[2001:db8::1]/"}, "[[2001:db8::1]:443]"},
		{Config{Type: HTTP, URL: "http://[2001:db8::1]:8080/"}, "[[2001:db8::1]:8080]"},
		{Config{Type: HTTP, URL: "http://www.example.com/"}, "[]"},
		{Config{Type: TCP, Address: "[2001:db8::1]:25"}, "[[2001:db8::1]:25]"},
		{Config{Type: DNS, Address: "2001:db8::1"}, "[[2001:db8::1]:53]"},
		{Config{Type: TCP, Address: "www.example.com:25"}, "[]"},
		{Config{Type: ICMP, Address: "192.0.2.1"}, "[]"},
		{Config{Type: Exec, Command: []string{"x"}}, "[]"},
	} {
		if got := fmt.Sprint(tc.config.Watch()); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.config.Target(), got, tc.want)
		}
	}
}

func TestKeyTellsApart(t *testing.T) {
	a := Config{Type: TCP, Address: "192.0.2.1:80"}
	b := a
	if a.Key() != b.Key() {
		t.Error("equal configurations differ")
	}
	b.Expect = "x"
	if a.Key() == b.Key() {
		t.Error("different configurations are equal")
	}
}
