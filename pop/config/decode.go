package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/server/cache/site"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	parsers      = map[reflect.Type]func(string) (any, error){
		durationType:                      func(s string) (any, error) { return parseDuration(s) },
		reflect.TypeFor[size]():           func(s string) (any, error) { return parseSize(s) },
		reflect.TypeFor[bitRate]():        func(s string) (any, error) { return parseBitRate(s) },
		reflect.TypeFor[linkRate]():       func(s string) (any, error) { return parseLinkRate(s) },
		reflect.TypeFor[amount]():         func(s string) (any, error) { return parseAmount(s) },
		reflect.TypeFor[netip.Prefix]():   func(s string) (any, error) { return parsePrefix(s) },
		reflect.TypeFor[netip.Addr]():     func(s string) (any, error) { return parseAddr(s) },
		reflect.TypeFor[netip.AddrPort](): func(s string) (any, error) { return parseAddrPort(s) },
		reflect.TypeFor[site.Size]():      func(s string) (any, error) { return site.ParseSize(s) },
		reflect.TypeFor[nextHop]():        func(s string) (any, error) { return parseNextHop(s) },
		reflect.TypeFor[bgp.Community]():  func(s string) (any, error) { return bgp.ParseCommunity(s) },
		reflect.TypeFor[bgp.LargeCommunity](): func(s string) (any, error) {
			return bgp.ParseLargeCommunity(s)
		},
	}
	wants = map[reflect.Type]string{
		durationType:                          "a duration with its unit, such as 10s or 500ms",
		reflect.TypeFor[size]():               "a size such as 64MiB",
		reflect.TypeFor[bitRate]():            "a rate such as 10Gbit or 400Mbit",
		reflect.TypeFor[linkRate]():           "a rate such as 10Gbit, or auto",
		reflect.TypeFor[amount]():             "a number, or a rate such as 10Gbit",
		reflect.TypeFor[netip.Prefix]():       "a prefix such as 192.0.2.0/24",
		reflect.TypeFor[netip.Addr]():         "an address",
		reflect.TypeFor[netip.AddrPort]():     "ADDRESS:PORT",
		reflect.TypeFor[site.Size]():          "a size such as 64MiB",
		reflect.TypeFor[nextHop]():            `"self" or an address`,
		reflect.TypeFor[bgp.Community]():      `a community such as "64500:120"`,
		reflect.TypeFor[bgp.LargeCommunity](): `a large community such as "64500:1:120"`,
	}
)

// decode fills out (a pointer to a raw struct) from the settings, and reports
// what is not known and what does not fit.
func (p *problems) decode(settings map[string]any, out any) {
	root := reflect.TypeOf(out).Elem()
	p.unknown("", p.written, root)
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: out, DecodeHook: convert})
	if err == nil {
		err = dec.Decode(settings)
	}
	p.typeErrors(root, settings, err)
}

// unknown reports the keys that no raw struct has, with the nearest that one has.
func (p *problems) unknown(path string, v any, t reflect.Type) {
	switch {
	case isLeaf(t) || t.Kind() == reflect.Map:
	case t.Kind() == reflect.Pointer:
		p.unknown(path, v, t.Elem())
	case t.Kind() == reflect.Slice:
		list, _ := v.([]any)
		for i, e := range list {
			p.unknown(path+"["+strconv.Itoa(i)+"]", e, t.Elem())
		}
	default:
		section := sectionOf(v)
		seen := map[string]bool{}
		for _, written := range slices.Sorted(maps.Keys(section)) {
			key := strings.ToLower(written)
			if seen[key] {
				p.unreadable(join(path, key), "written twice, in capitals and small letters")
			}
			seen[key] = true
			if kt := keyType(t, key); kt != nil {
				p.unknown(join(path, key), section[written], kt)
				continue
			}
			msg := "unknown key"
			if near := nearest(key, keysOf(t)); near != "" {
				msg += fmt.Sprintf(" (did you mean %q?)", near)
			}
			p.unreadable(join(path, key), "%s", msg)
		}
	}
}

// sectionOf is v as keys and values; nil if it is none. YAML allows keys that
// are no text.
func sectionOf(v any) map[string]any {
	section, _ := v.(map[string]any)
	if odd, ok := v.(map[any]any); ok {
		section = make(map[string]any, len(odd))
		for k, e := range odd {
			section[fmt.Sprint(k)] = e
		}
	}
	return section
}

// typeErrors rewords the decoder's errors: what is wanted there, what is there.
func (p *problems) typeErrors(root reflect.Type, settings any, err error) {
	switch e := err.(type) {
	case nil:
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			p.typeErrors(root, settings, one)
		}
	case *mapstructure.DecodeError:
		p.typeError(root, settings, e)
	default:
		if inner := errors.Unwrap(err); inner != nil {
			p.typeErrors(root, settings, inner)
			return
		}
		p.unreadable("", "%v", err)
	}
}

func (p *problems) typeError(root reflect.Type, settings any, e *mapstructure.DecodeError) {
	switch inner := e.Unwrap().(type) {
	case interface{ Unwrap() []error }: // a list or section: its parts say more
		p.typeErrors(root, settings, inner.(error))
	case *valueError:
		p.unreadable(e.Name(), "%s", inner.msg)
	default:
		have := got(valueAt(settings, e.Name()))
		if isSecret(e.Name()) {
			have = "something else"
		}
		p.unreadable(e.Name(), "want %s, got %s", want(typeAt(root, e.Name())), have)
	}
}

// valueError is a value of the right kind that does not parse.
type valueError struct{ msg string }

func (e *valueError) Error() string { return e.msg }

// convert is the decode hook: text to our types, numbers only where they fit.
func convert(from, to reflect.Value) (any, error) {
	t := to.Type()
	if parse := parsers[t]; parse != nil && from.Kind() == reflect.String {
		v, err := parse(from.String())
		if err != nil {
			return nil, &valueError{err.Error()}
		}
		return v, nil
	}
	if t == durationType && from.Kind() != reflect.String {
		return nil, &valueError{fmt.Sprintf("want %s, got %s", wants[t], got(from.Interface()))}
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint32:
		return convertInt(from, to)
	case reflect.Float64:
		if from.Kind() == reflect.Float64 && (math.IsNaN(from.Float()) || math.IsInf(from.Float(), 0)) {
			return nil, &valueError{fmt.Sprintf("want a number, got %v", from.Float())}
		}
	}
	return from.Interface(), nil
}

// convertInt refuses what the decoder would cut off: fractions and overflow.
func convertInt(from, to reflect.Value) (any, error) {
	bad := &valueError{fmt.Sprintf("want %s, got %s", want(to.Type()), got(from.Interface()))}
	var n int64
	switch {
	case from.CanInt():
		n = from.Int()
	case from.CanUint() && from.Uint() <= math.MaxInt64:
		n = int64(from.Uint())
	case from.CanFloat() && from.Float() == math.Trunc(from.Float()) && math.Abs(from.Float()) < 1<<53:
		n = int64(from.Float())
	default:
		return nil, bad
	}
	if to.CanInt() && to.OverflowInt(n) || to.CanUint() && (n < 0 || to.OverflowUint(uint64(n))) {
		return nil, bad
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("want %s, got %q", wants[durationType], s)
	}
	if d < 0 {
		return 0, fmt.Errorf("a duration cannot be negative, got %q", s)
	}
	return d, nil
}

var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

func parseSize(s string) (size, error) {
	number := strings.TrimRight(s, "BKMGTikb ")
	unit := strings.TrimSpace(s[len(number):])
	n, err := strconv.ParseFloat(number, 64)
	for _, u := range units {
		if b := n * u.bytes; u.name == unit && err == nil && b >= 0 && b < math.MaxInt64 {
			return size(b), nil
		}
	}
	return 0, fmt.Errorf("want a size such as 64MiB, got %q", s)
}

func parsePrefix(s string) (netip.Prefix, error) {
	x, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return x, fmt.Errorf("want a prefix such as 192.0.2.0/24 or 2001:db8::/48, got %q", s)
	case x.Addr().Is4In6():
		return x, fmt.Errorf("%s is an IPv4 prefix in IPv6 clothes: write it as IPv4", s)
	case x != x.Masked():
		return x, fmt.Errorf("%s has host bits set: did you mean %s?", s, x.Masked())
	}
	return x, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("want an address, got %q", s)
	}
	return a.Unmap(), nil
}

func parseAddrPort(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return a, fmt.Errorf("want ADDRESS:PORT such as 192.0.2.1:80 or [2001:db8::1]:80, got %q", s)
	}
	return a, nil
}

func parseNextHop(s string) (nextHop, error) {
	if s == "self" || s == "" {
		return nextHop{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
		return nextHop{}, fmt.Errorf(`want "self" or an address, got %q`, s)
	}
	return nextHop{a.Unmap()}, nil
}
