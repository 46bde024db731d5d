package netlab

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/agext/levenshtein"
)

var unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type netlab\.(\w+)$`)

// explain turns the decoder's words about Go types into words about the file:
// the line, the unknown key and the nearest known one.
func explain(err error) error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return err
	}
	types := map[string]reflect.Type{}
	for _, v := range []any{file{}, topology{}, node{}, link{}} {
		types[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	var out []error
	for _, line := range te.Errors {
		m := unknownField.FindStringSubmatch(line)
		if m == nil {
			out = append(out, errors.New(line))
			continue
		}
		keys := keysOf(types[m[3]])
		out = append(out, fmt.Errorf("line %s: unknown key %q (nearest known: %q)", m[1], m[2], nearest(m[2], keys)))
	}
	return errors.Join(out...)
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for f := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(f).Tag.Get("yaml"), ",")
		keys = append(keys, key)
	}
	return keys
}

// nearest is the key with the smallest edit distance.
func nearest(word string, keys []string) string {
	best, least := "", -1
	for _, k := range keys {
		if d := levenshtein.Distance(word, k, nil); least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}
