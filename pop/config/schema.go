package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// want says for people what a value of type t looks like in the file.
func want(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	if w := wants[t]; w != "" {
		return w
	}
	switch t.Kind() {
	case reflect.Pointer:
		return want(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint8:
		return "a whole number from 0 to 255"
	case reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint32(math.MaxUint32))
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	return "a section of keys"
}

// got says for people what stands in the file.
func got(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a section of keys"
	}
	return fmt.Sprint(v)
}

// isLeaf reports whether t is written as one value.
func isLeaf(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		return isLeaf(t.Elem())
	}
	return wants[t] != "" || t.Kind() != reflect.Struct && t.Kind() != reflect.Slice && t.Kind() != reflect.Map
}

// eachKey calls f for the known keys of a raw struct, squashed ones included.
func eachKey(t reflect.Type, f func(key string, t reflect.Type)) {
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		field := t.Field(i)
		tag, opt, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		switch {
		case opt == "squash":
			eachKey(field.Type, f)
		case tag != "" && tag != "-":
			f(tag, field.Type)
		}
	}
}

func keysOf(t reflect.Type) (keys []string) {
	eachKey(t, func(key string, _ reflect.Type) { keys = append(keys, key) })
	return keys
}

// keyType returns the type of one key of a raw struct, nil if it has none such.
func keyType(t reflect.Type, key string) (found reflect.Type) {
	eachKey(t, func(k string, kt reflect.Type) {
		if k == key {
			found = kt
		}
	})
	return found
}

// typeAt follows a key path such as a[0].b; nil where it leads nowhere known.
func typeAt(t reflect.Type, path string) reflect.Type {
	for _, step := range steps(path) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if step[0] == '[' {
			if t.Kind() != reflect.Slice {
				return nil
			}
			t = t.Elem()
			continue
		}
		if t = keyType(t, step); t == nil {
			return nil
		}
	}
	return t
}

func valueAt(v any, path string) any {
	for _, step := range steps(path) {
		if list, ok := v.([]any); ok && step[0] == '[' {
			i, err := strconv.Atoi(strings.Trim(step, "[]"))
			if err != nil || i >= len(list) {
				return nil
			}
			v = list[i]
			continue
		}
		m, _ := v.(map[string]any)
		v = m[step]
	}
	return v
}

// steps cuts a[0].b into a, [0], b.
func steps(path string) (s []string) {
	for part := range strings.SplitSeq(path, ".") {
		for part != "" {
			end := strings.IndexByte(part, '[')
			if end == 0 {
				end = strings.IndexByte(part, ']') + 1
			}
			if end <= 0 {
				end = len(part)
			}
			s, part = append(s, part[:end]), part[end:]
		}
	}
	return s
}

func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}

// nearest returns the known key that a person probably meant, or "".
func nearest(key string, known []string) string {
	best, at := "", max(2, len(key)/3)+1
	for _, k := range known {
		if d := levenshtein.Distance(key, k, nil); d < at {
			best, at = k, d
		}
	}
	return best
}
