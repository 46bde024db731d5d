package load

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// step is one step of a path into JSON.
type step struct {
	key   string
	index int  // where key is empty and all is false
	all   bool // every element of a list, every value of an object
}

var stepForm = regexp.MustCompile(`^(?:\.([A-Za-z0-9_-]+)|\.?\[([0-9]*)\]|\.?\["((?:[^"\\]|\\.)*)"\])`)

// parsePath reads .traffic.bps, .hosts[0].bps, .hosts[].bps or .["a b"].
func parsePath(s string) ([]step, error) {
	var out []step
	for rest := s; rest != ""; {
		f := stepForm.FindStringSubmatch(rest)
		if f == nil {
			return nil, fmt.Errorf("path: %q: want the way to a number, such as .traffic.bps or .hosts[].requests", s)
		}
		rest = rest[len(f[0]):]
		switch {
		case f[1] != "":
			out = append(out, step{key: f[1]})
		case strings.HasSuffix(f[0], "[]"):
			out = append(out, step{all: true})
		case f[2] != "":
			i, err := strconv.ParseUint(f[2], 10, 31)
			if err != nil {
				return nil, fmt.Errorf("path: %q: %w", s, err)
			}
			out = append(out, step{index: int(i)})
		default:
			key, err := strconv.Unquote(`"` + f[3] + `"`)
			if err != nil || key == "" {
				return nil, fmt.Errorf("path: %q: %q is no key", s, f[3])
			}
			out = append(out, step{key: key})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("path: not set: the way to a number, such as .traffic.bps")
	}
	return out, nil
}

// json makes the reader of a number in JSON.
func (c PageConfig) json() (func(io.Reader) (Reading, error), error) {
	path, err := parsePath(c.Path)
	if err != nil {
		return nil, err
	}
	scale, err := c.scale()
	if err != nil {
		return nil, err
	}
	kind := Gauge
	switch c.Kind {
	case "", "gauge":
	case "counter":
		kind = Counter
	default:
		return nil, fmt.Errorf("kind: %q: want gauge or counter", c.Kind)
	}
	return func(r io.Reader) (Reading, error) {
		dec := json.NewDecoder(r)
		dec.UseNumber()
		var doc any
		if err := dec.Decode(&doc); err != nil {
			return nil, err
		}
		var out Reading
		err := walk(doc, path, "", func(at string, x float64) error {
			if out = append(out, Point{Name: at, Unit: c.Unit, Kind: kind, Value: x * scale}); len(out) > maxPoints {
				return fmt.Errorf("%s: more than %d numbers", c.Path, maxPoints)
			}
			return nil
		})
		if err == nil && len(out) == 0 {
			err = fmt.Errorf("%s: nothing is there", c.Path)
		}
		if err != nil {
			return nil, err
		}
		return out, nil
	}, nil
}

// walk follows a path and calls f with each number at its end. Every way that
// the path names must lead to one.
func walk(v any, path []step, at string, f func(string, float64) error) error {
	if len(path) == 0 {
		x, err := number(v)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return f(at, x)
	}
	s := path[0]
	list, _ := v.([]any)
	object, _ := v.(map[string]any)
	switch {
	case s.all && list != nil:
		for i, e := range list {
			if err := walk(e, path[1:], fmt.Sprintf("%s[%d]", at, i), f); err != nil {
				return err
			}
		}
		return nil
	case s.all && object != nil:
		for _, k := range slices.Sorted(maps.Keys(object)) {
			if err := walk(object[k], path[1:], at+"."+k, f); err != nil {
				return err
			}
		}
		return nil
	case s.key != "" && object != nil:
		if e, ok := object[s.key]; ok {
			return walk(e, path[1:], at+"."+s.key, f)
		}
		return fmt.Errorf("%s.%s is not there", at, s.key)
	case s.key == "" && !s.all && s.index < len(list):
		return walk(list[s.index], path[1:], fmt.Sprintf("%s[%d]", at, s.index), f)
	}
	return fmt.Errorf("%s: no such part", cmp.Or(at, "."))
}

// number is a JSON number, or a text that is one, as some servers write them.
func number(v any) (float64, error) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	default:
		return 0, errors.New("no number is there")
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	return x, nil
}
