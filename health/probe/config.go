package probe

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/health"
)

// Type is the kind of a probe.
type Type string

// Types.
const (
	HTTP Type = "http" // https too, by the URL
	TCP  Type = "tcp"
	TLS  Type = "tls"
	DNS  Type = "dns"
	UDP  Type = "udp"
	ICMP Type = "icmp"
	GRPC Type = "grpc"
	Exec Type = "exec"
	File Type = "file" // maintenance
)

// Config is what a check asks and what answer it wants: one struct for all
// types. The tags are the keys of the configuration; Validate refuses those
// that do not belong to the type.
type Config struct {
	Type Type `mapstructure:"type"`

	// http
	URL            string   `mapstructure:"url"`
	Method         string   `mapstructure:"method"`          // default GET
	Host           string   `mapstructure:"host"`            // Host header, and the TLS name where server-name is empty
	RequestHeaders []string `mapstructure:"request-headers"` // "Name: value"
	Status         []string `mapstructure:"status"`          // "200", "2xx", "200-204"; default 2xx
	Headers        []string `mapstructure:"headers"`         // "Name: part of the value" in the response; "Name:" must be there
	Body           string   `mapstructure:"body"`            // contained in the first 64 KiB
	BodyRegexp     string   `mapstructure:"body-regexp"`     // matches there

	// any network probe
	Source     string        `mapstructure:"source"`      // address to ask from
	Device     string        `mapstructure:"device"`      // device to ask through
	MaxLatency time.Duration `mapstructure:"max-latency"` // a slower pass is a warning
	Refused    string        `mapstructure:"refused"`     // conclusive (default): a refusal by this host is a verdict at once; counted: it is one fail

	// tls, https, grpc
	TLS        bool   `mapstructure:"tls"`         // grpc: over TLS
	ServerName string `mapstructure:"server-name"` // SNI and the name to verify
	CAFile     string `mapstructure:"ca-file"`     // PEM; default the system's
	Insecure   bool   `mapstructure:"insecure"`    // do not verify
	WarnDays   int    `mapstructure:"warn-days"`   // fewer days until the certificate expires: warning
	MinDays    int    `mapstructure:"min-days"`    // fewer: fail

	// tcp, tls, dns, udp, icmp, grpc
	Address string `mapstructure:"address"` // host:port; icmp: host; dns: the port may be missing

	// tcp, tls, udp
	Send   string `mapstructure:"send"`
	Expect string `mapstructure:"expect"` // contained in the first 64 KiB of the answer

	// dns
	Query     string   `mapstructure:"query"`
	QType     string   `mapstructure:"qtype"`     // default A
	RCode     string   `mapstructure:"rcode"`     // default NOERROR
	Answer    string   `mapstructure:"answer"`    // contained in the text of an answer record
	Flags     []string `mapstructure:"flags"`     // aa, ad, ra that must be set
	Transport string   `mapstructure:"transport"` // udp (default) or tcp

	// grpc
	Service string `mapstructure:"service"` // name to ask grpc.health.v1 about; empty: the server

	// exec
	Command []string `mapstructure:"command"`
	Env     []string `mapstructure:"env"` // "NAME=value"

	// file
	Path   string `mapstructure:"path"`
	Invert bool   `mapstructure:"invert"` // the file must exist

	// Label is put into the environment of exec checks as CATCHMENT_SERVICE
	// and CATCHMENT_CHECK. The caller sets it; it is no key.
	Label Label `mapstructure:"-"`
}

// Label names the check for what it runs.
type Label struct{ Service, Check string }

var (
	network = []string{"source", "device", "max-latency", "refused"}
	crypto  = []string{"server-name", "ca-file", "insecure", "warn-days", "min-days"}

	// keysOf lists the keys that each type takes, besides type.
	keysOf = map[Type][]string{
		HTTP: slices.Concat(network, crypto, []string{"url", "method", "host", "request-headers", "status", "headers", "body", "body-regexp"}),
		TCP:  slices.Concat(network, []string{"address", "send", "expect"}),
		TLS:  slices.Concat(network, crypto, []string{"address", "send", "expect"}),
		DNS:  slices.Concat(network, []string{"address", "query", "qtype", "rcode", "answer", "flags", "transport"}),
		UDP:  slices.Concat(network, []string{"address", "send", "expect"}),
		ICMP: {"source", "device", "max-latency", "address"},
		GRPC: slices.Concat(network, crypto, []string{"address", "service", "tls"}),
		Exec: {"command", "env", "max-latency"},
		File: {"path", "invert"},
	}
	required = map[Type]string{
		HTTP: "url", TCP: "address", TLS: "address", DNS: "address", UDP: "address",
		ICMP: "address", GRPC: "address", Exec: "command", File: "path",
	}
)

// Validate reports the first thing that is wrong, naming its key.
func (c Config) Validate() error {
	takes, ok := keysOf[c.Type]
	if !ok {
		return fmt.Errorf("type: %q is none of http, tcp, tls, dns, udp, icmp, grpc, exec, file", c.Type)
	}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("mapstructure")
		switch {
		case key == "type" || key == "-":
		case v.Field(i).IsZero() && key == required[c.Type]:
			return fmt.Errorf("%s: a check of type %s needs it", key, c.Type)
		case !v.Field(i).IsZero() && !slices.Contains(takes, key):
			return fmt.Errorf("%s: not a key of a check of type %s", key, c.Type)
		}
	}
	for _, check := range []func(Config) error{
		Config.checkNetwork, Config.checkTarget, Config.checkHTTP, Config.checkTLS, Config.checkDNS, Config.checkExec,
	} {
		if err := check(c); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) checkNetwork() error {
	if c.Source != "" {
		if _, err := netip.ParseAddr(c.Source); err != nil {
			return fmt.Errorf("source: %q is not an address", c.Source)
		}
	}
	if len(c.Device) > 15 {
		return fmt.Errorf("device: %q is longer than 15 bytes", c.Device)
	}
	if c.MaxLatency < 0 {
		return fmt.Errorf("max-latency: %v is negative", c.MaxLatency)
	}
	if c.Refused != "" && c.Refused != "conclusive" && c.Refused != "counted" {
		return fmt.Errorf("refused: %q is neither conclusive nor counted", c.Refused)
	}
	return nil
}

func (c Config) checkTarget() error {
	host := c.Address
	switch c.Type {
	case HTTP:
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("url: %q is not an http or https URL", c.URL)
		}
		host = u.Hostname()
	case Exec, File:
		return nil
	case ICMP:
		host = strings.Trim(host, "[]")
	default:
		h, port, err := splitAddress(c.Address, c.Type)
		if err != nil || h == "" {
			return fmt.Errorf("address: %q is not host:port", c.Address)
		}
		if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
			return fmt.Errorf("address: %q: port %q is not from 1 to 65535", c.Address, port)
		}
		host = h
	}
	if c.Type == UDP && c.Send == "" {
		return errors.New("send: a check of type udp needs it")
	}
	to, err1 := netip.ParseAddr(host)
	from, err2 := netip.ParseAddr(c.Source)
	if err1 == nil && err2 == nil && to.Unmap().Is4() != from.Unmap().Is4() {
		return fmt.Errorf("source: %s is not of the family of %s", from, to)
	}
	return nil
}

func (c Config) checkHTTP() error {
	for _, s := range c.Status {
		if _, _, err := parseStatus(s); err != nil {
			return fmt.Errorf("status: %w", err)
		}
	}
	for key, headers := range map[string][]string{"headers": c.Headers, "request-headers": c.RequestHeaders} {
		for i, h := range headers { // what it says may be a secret
			if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
				return fmt.Errorf(`%s[%d]: it is not "Name: value"`, key, i)
			}
		}
	}
	if _, err := regexp.Compile(c.BodyRegexp); err != nil {
		return fmt.Errorf("body-regexp: %w", err)
	}
	if _, err := http.NewRequest(c.Method, "http://192.0.2.1/", nil); err != nil {
		return fmt.Errorf("method: %w", err)
	}
	return nil
}

func (c Config) checkTLS() error {
	switch {
	case c.WarnDays < 0:
		return fmt.Errorf("warn-days: %d is negative", c.WarnDays)
	case c.MinDays < 0:
		return fmt.Errorf("min-days: %d is negative", c.MinDays)
	case c.WarnDays > 0 && c.WarnDays < c.MinDays:
		return fmt.Errorf("warn-days: %d is less than min-days, %d", c.WarnDays, c.MinDays)
	case c.Insecure && c.CAFile != "":
		return errors.New("ca-file: of no use with insecure")
	}
	if c.Type == GRPC && !c.TLS || c.Type == HTTP && !strings.HasPrefix(c.URL, "https:") {
		v := reflect.ValueOf(c)
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("mapstructure"); slices.Contains(crypto, key) && !v.Field(i).IsZero() {
				return fmt.Errorf("%s: only with TLS", key)
			}
		}
	}
	return nil
}

func (c Config) checkDNS() error {
	if c.Type != DNS {
		return nil
	}
	if c.Query == "" {
		return errors.New("query: a check of type dns needs it")
	}
	if _, ok := dns.IsDomainName(c.Query); !ok {
		return fmt.Errorf("query: %q is not a name", c.Query)
	}
	if _, ok := dns.StringToType[strings.ToUpper(c.QType)]; c.QType != "" && !ok {
		return fmt.Errorf("qtype: %q is not known", c.QType)
	}
	if _, ok := dns.StringToRcode[strings.ToUpper(c.RCode)]; c.RCode != "" && !ok {
		return fmt.Errorf("rcode: %q is not known", c.RCode)
	}
	for _, f := range c.Flags {
		if !slices.Contains([]string{"aa", "ad", "ra"}, strings.ToLower(f)) {
			return fmt.Errorf("flags: %q is none of aa, ad, ra", f)
		}
	}
	if c.Transport != "" && c.Transport != "udp" && c.Transport != "tcp" {
		return fmt.Errorf("transport: %q is neither udp nor tcp", c.Transport)
	}
	return nil
}

func (c Config) checkExec() error {
	if c.Type == Exec && c.Command[0] == "" {
		return errors.New("command: the program is empty")
	}
	for i, e := range c.Env { // what it says may be a secret
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return fmt.Errorf("env[%d]: it is not NAME=value", i)
		}
	}
	return nil
}

// Target says in a few words what is asked, for status and logs.
func (c Config) Target() string {
	switch c.Type {
	case HTTP:
		return c.URL
	case Exec:
		return strings.Join(c.Command, " ")
	case File:
		return c.Path
	case DNS:
		qtype := strings.ToUpper(c.QType)
		if qtype == "" {
			qtype = "A"
		}
		return fmt.Sprintf("dns://%s/%s %s", c.Address, c.Query, qtype)
	}
	return string(c.Type) + "://" + c.Address
}

// Watch returns the socket that the probe talks to, where the configuration
// names it by address: what to give to health/socket if the user named none.
// The socket of another host is never closed here, so watching it costs nothing.
func (c Config) Watch() []netip.AddrPort {
	host, port := "", ""
	switch c.Type {
	case HTTP:
		u, err := url.Parse(c.URL)
		if err != nil {
			return nil
		}
		host, port = u.Hostname(), u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
	case TCP, TLS, UDP, GRPC, DNS:
		var err error
		if host, port, err = splitAddress(c.Address, c.Type); err != nil {
			return nil
		}
	}
	a, err1 := netip.ParseAddr(host)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err1 != nil || err2 != nil {
		return nil
	}
	return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(n))}
}

// Key tells configurations apart: health.Spec.Key.
func (c Config) Key() string { return fmt.Sprintf("%+v", c) }

// New returns the checker for a configuration. Files that the configuration
// names are read here.
func New(c Config) (health.Checker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	switch c.Type {
	case HTTP:
		return newHTTP(c)
	case TCP, TLS:
		return newTCP(c)
	case DNS:
		return newDNS(c), nil
	case UDP:
		return newUDP(c), nil
	case ICMP:
		return newICMP(c), nil
	case GRPC:
		return newGRPC(c)
	case Exec:
		return newExec(c), nil
	}
	return newFile(c), nil
}
