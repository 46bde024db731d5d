package gobgp

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// normalize walks a config section beside the Go type that it is to fill and
// returns a copy with lower-case keys and properly typed values (a number
// written as a string becomes a number). Every key that the type does not
// know, and every value of the wrong kind, is an error that names the key's
// whole path. "state" sections are output of gobgpd and are unknown here.
func normalize(path string, t reflect.Type, v any) (any, error) {
	switch t.Kind() {
	case reflect.Struct:
		return normalizeStruct(path, t, v)
	case reflect.Slice:
		return normalizeSlice(path, t, v)
	case reflect.Bool:
		return toBool(path, v)
	case reflect.String:
		return toString(path, t, v)
	case reflect.Float64, reflect.Float32:
		return toNumber(path, v, 0, math.MaxUint32)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		half := math.Exp2(float64(min(t.Bits(), 53) - 1))
		return toNumber(path, v, -half, half-1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return toNumber(path, v, 0, math.Exp2(float64(min(t.Bits(), 53)))-1)
	}
	return nil, fmt.Errorf("%s: cannot be set", path)
}

func normalizeStruct(path string, t reflect.Type, v any) (any, error) {
	m, ok := toMap(v)
	if !ok {
		return nil, fmt.Errorf("%s: want a section with keys, have %s", path, show(v))
	}
	fields := fieldsOf(t)
	out := make(map[string]any, len(m))
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(m)) {
		name := strings.ToLower(k)
		f, ok := fields[name]
		if !ok {
			errs = append(errs, unknownKey(path+"."+name, name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		if m[k] == nil {
			continue // "key:" with nothing behind it
		}
		val, err := normalize(path+"."+name, f, m[k])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[name] = val
	}
	return out, errors.Join(errs...)
}

func normalizeSlice(path string, t reflect.Type, v any) (any, error) {
	var in []any
	switch l := v.(type) {
	case []any:
		in = l
	case []map[string]any: // TOML
		for _, e := range l {
			in = append(in, e)
		}
	case []string:
		for _, e := range l {
			in = append(in, e)
		}
	case string:
		if t.Elem().Kind() != reflect.String {
			return nil, fmt.Errorf("%s: want a list, have %s", path, show(v))
		}
		for e := range strings.SplitSeq(l, ",") {
			in = append(in, strings.TrimSpace(e))
		}
	default:
		return nil, fmt.Errorf("%s: want a list, have %s", path, show(v))
	}
	out := make([]any, 0, len(in))
	var errs []error
	for i, e := range in {
		val, err := normalize(fmt.Sprintf("%s[%d]", path, i), t.Elem(), e)
		errs = append(errs, err)
		out = append(out, val)
	}
	return out, errors.Join(errs...)
}

// fieldsOf gives the config keys of a struct: its mapstructure tags.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("mapstructure"); tag != "" && tag != "state" {
			out[tag] = t.Field(i).Type
		}
	}
	return out
}

func toMap(v any) (map[string]any, bool) {
	switch m := v.(type) {
	case map[string]any:
		return m, true
	case map[any]any:
		out := make(map[string]any, len(m))
		for k, e := range m {
			out[fmt.Sprint(k)] = e
		}
		return out, true
	}
	return nil, false
}

func toBool(path string, v any) (any, error) {
	switch b := v.(type) {
	case bool:
		return b, nil
	case string:
		if p, err := strconv.ParseBool(b); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: %s is neither true nor false", path, show(v))
}

func toString(path string, t reflect.Type, v any) (any, error) {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Map, reflect.Slice:
		return nil, fmt.Errorf("%s: want a text, have %s", path, show(v))
	}
	s := fmt.Sprint(v)
	// The enumerations of gobgpd validate themselves; the rest is free text.
	e := reflect.New(t).Elem()
	e.SetString(s)
	if c, ok := e.Interface().(interface{ Validate() error }); ok && s != "" {
		if c.Validate() != nil {
			return nil, fmt.Errorf("%s: %q is not one of gobgpd's words for this key", path, s)
		}
	}
	return s, nil
}

func toNumber(path string, v any, lo, hi float64) (any, error) {
	var f float64
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		f = float64(r.Int())
	case r.CanUint():
		f = float64(r.Uint())
	case r.CanFloat():
		f = r.Float()
	case r.Kind() == reflect.String:
		p, err := strconv.ParseFloat(strings.TrimSpace(r.String()), 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %s is not a number from %.0f to %.0f", path, show(v), lo, hi)
		}
		f = p
	default:
		return nil, fmt.Errorf("%s: %s is not a number from %.0f to %.0f", path, show(v), lo, hi)
	}
	if f < lo || f > hi || f != math.Trunc(f) {
		return nil, fmt.Errorf("%s: %s is not a number from %.0f to %.0f", path, show(v), lo, hi)
	}
	return f, nil
}

func show(v any) string {
	switch x := v.(type) {
	case string:
		return strconv.Quote(x)
	case []any, []map[string]any, []string:
		return "a list"
	case map[string]any, map[any]any:
		return "a section"
	}
	return fmt.Sprint(v)
}

// unknownKey names the nearest known key where one is near.
func unknownKey(path, key string, known []string) error {
	best, cost := "", len(key)/2+2
	for _, k := range known {
		if d := levenshtein.Distance(key, k, nil); d < cost {
			best, cost = k, d
		}
	}
	if best == "" {
		return fmt.Errorf("%s: unknown key (known here: %s)", path, strings.Join(known, ", "))
	}
	return fmt.Errorf("%s: unknown key (did you mean %q?)", path, best)
}
