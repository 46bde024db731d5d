package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Diff says what a reload from old to new would change, a line a key, sorted
// by key path; entries of lists go by their name, not their place. Secrets
// are not shown.
func Diff(old, new *Config) []string {
	var out []string
	was, is := old.flat(), new.flat()
	for path, v := range is {
		switch w, ok := was[path]; {
		case !ok:
			out = append(out, fmt.Sprintf("%s: %s (was not set)", path, show(path, v)))
		case !reflect.DeepEqual(v, w):
			out = append(out, fmt.Sprintf("%s: %s -> %s", path, show(path, w), show(path, v)))
		}
	}
	for path, w := range was {
		if _, ok := is[path]; !ok {
			out = append(out, fmt.Sprintf("%s: %s -> not set", path, show(path, w)))
		}
	}
	out = append(out, siteChanges(&old.Cache, &new.Cache)...)
	slices.Sort(out)
	return out
}

// fixed are the keys that a running process cannot change, and why.
var fixed = []struct{ key, why string }{
	{"pop", "other POPs know this one by it"},
	{"state-dir", "the journal and the intents are open there"},
	{"bgp.global", "sessions would have to be closed"},
	{"bgp.dynamic-neighbors", "who came by them is connected"},
	{"bgp.rpki-servers", "they are connected"},
	{"bgp.bmp-servers", "they are connected"},
	{"bgp.mrt-dump", "the files are open"},
	{"api", "the operator's sockets are open"},
	{"web", "the listener is open"},
	{"metrics", "the listener is open"},
	{"fleet", "what is known of the other POPs would be lost"},
	{"core", "the engine runs, and others know this POP by it"},
	{"relay", "other POPs follow this one by it"},
	{"fib", "routes are in the kernel"},
	{"cache.name", "other caches know this one by it"},
	{"cache.listen", "the listeners are open"},
	{"cache.tls.listen", "the listeners are open"},
	{"cache.http2", "the listeners are open"},
	{"cache.h2c", "the listeners are open"},
	{"cache.http3", "the listeners are open"},
	{"cache.store", "it is open"},
	{"cache.access-log", "it is open"},
	{"cache.trusted", "connections were judged by it"},
	{"resync", "other POPs are told by it, and sockets are open"},
	{"dns.listen", "the listeners are open"},
	{"dns.tls.listen", "the listeners are open"},
	{"dns.identity", "the server answers with it"},
	{"dns.unicast", "answers are made by it"},
	{"dns.cookies", "clients have cookies made by it"},
	{"dns.rate", "clients are counted by it"},
	{"dns.keys", "secondaries know them"},
	{"slowness.every", "the kernel's flows are looked at by it"},
	{"slowness.networks", "what is known was made by it"},
	{"slowness.half-life", "what is known was counted by it"},
	{"journal", "it is open"},
	{"log", "it is open"},
}

// CheckReload says whether a running daemon can go from old to new. The error
// names every change that needs a restart; then nothing of new may be used.
func CheckReload(old, new *Config) error {
	var errs []error
	if old.Ingress.On() != new.Ingress.On() {
		errs = append(errs, errors.New("ingress.routers: to begin or end the assignment of ingress routers needs a restart; the reload is refused, nothing changed"))
	}
	if old, new := len(old.Cache.Peers), len(new.Cache.Peers); (old == 0) != (new == 0) {
		errs = append(errs, errors.New("cache.peers: to begin or end the sharing of work with other caches needs a restart; the reload is refused, nothing changed"))
	}
	if old, new := &old.Slowness, &new.Slowness; old.On() != new.On() || (old.Rate > 0) != (new.Rate > 0) {
		errs = append(errs, errors.New("slowness.rate: to begin or end the measuring of client networks needs a restart; the reload is refused, nothing changed"))
	}
	for _, line := range Diff(old, new) {
		path, change, _ := strings.Cut(line, ": ")
		if why := reason(path, old, new); why != "" {
			errs = append(errs, fmt.Errorf("%s: %s: needs a restart (%s); the reload is refused, nothing changed", path, change, why))
		}
	}
	return errors.Join(errs...)
}

// limitsOfNumber are the limits of the cache server on how many there are, not on
// what one may take.
var limitsOfNumber = []string{"requests", "fills", "site-fills", "connections", "client-connections"}

// reason returns why a key cannot change, or nothing if it can. A peer group
// is fixed where dynamic neighbors come by it.
func reason(path string, of ...*Config) string {
	for _, f := range fixed {
		if under(path, f.key) && !under(path, "resync.jump.services") {
			return f.why
		}
	}
	if limit, ok := strings.CutPrefix(path, "cache.limits."); ok && !slices.Contains(limitsOfNumber, limit) {
		return "connections were begun by it"
	}
	for _, c := range of {
		list, _ := c.BGP["dynamic-neighbors"].([]any)
		for _, d := range list {
			if g, ok := valueAt(d, "config.peer-group").(string); ok && under(path, "bgp.peer-groups["+g+"]") {
				return "dynamic neighbors are connected by it"
			}
		}
	}
	return ""
}

func under(path, key string) bool {
	rest, ok := strings.CutPrefix(path, key)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// flat returns the settings as key path -> value, services[web].hold-down.
func (c *Config) flat() map[string]any {
	out := map[string]any{}
	flatten(out, "", c.settings)
	return out
}

func flatten(out map[string]any, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			flatten(out, join(path, k), e)
		}
	case []any:
		if len(v) == 0 {
			return
		}
		if _, ok := v[0].(map[string]any); !ok {
			out[path] = v
			return
		}
		for i, e := range v {
			flatten(out, path+"["+label(v, i)+"]", e)
		}
	case string:
		if v != "" { // as if not set
			out[path] = v
		}
	default:
		out[path] = v
	}
}

// label names an entry of a list by what identifies it, else by its place.
func label(list []any, i int) string {
	for _, key := range []string{"name", "neighbor", "pop", "config.neighbor-address", "config.peer-group-name", "config.prefix"} {
		s, ok := valueAt(list[i], key).(string)
		if !ok || s == "" {
			continue
		}
		unique := true
		for j := range list {
			unique = unique && (j == i || valueAt(list[j], key) != any(s))
		}
		if unique {
			return s
		}
	}
	return strconv.Itoa(i)
}

// secrets are keys whose values are not shown: what is shown is journaled, and
// answered to whoever may ask for a plan.
var secrets = []string{"request-headers", "send", "env", "secret", "token"}

func isSecret(path string) bool {
	for step := range strings.SplitSeq(path, ".") {
		key, _, _ := strings.Cut(step, "[")
		if slices.Contains(secrets, key) {
			return true
		}
	}
	return strings.Contains(path, "password")
}

func show(path string, v any) string {
	s, ok := v.(string)
	switch {
	case isSecret(path):
		return "(hidden)"
	case !ok:
		return fmt.Sprint(v)
	}
	if u, err := url.Parse(s); err == nil && strings.HasSuffix(path, ".url") {
		return u.Redacted()
	}
	return s
}
