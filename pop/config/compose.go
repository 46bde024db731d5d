package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// Layer is a part of a configuration that is put together from several: the
// fleet's, a POP's, and what the POP's own file says.
type Layer struct {
	Name   string
	Format string // yaml or toml
	Text   string
	Own    bool // the POP's own file: it alone says pop and core
}

// OwnLayer reads the POP's own file.
func OwnLayer(path string) (Layer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Layer{}, fmt.Errorf("config: %w", err)
	}
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	return Layer{Name: path, Format: format, Text: string(b), Own: true}, nil
}

// Compose lays each layer over those before it and returns the whole as YAML.
// Sections are merged key by key. Lists are replaced, but those whose entries
// all have a name (services, checks, rungs), or an address of a neighbor, are
// merged entry by entry. A key that is null is taken out.
func Compose(layers ...Layer) (string, error) {
	all := map[string]any{}
	for _, l := range layers {
		tree, err := l.tree()
		if err != nil {
			return "", fmt.Errorf("%s: %w", l.Name, err)
		}
		for _, key := range []string{"pop", "core", "state-dir"} {
			if _, said := tree[key]; said && !l.Own {
				return "", fmt.Errorf("%s: %s: only the POP's own file says that", l.Name, key)
			}
		}
		all, _ = merge(all, tree).(map[string]any)
	}
	b, err := yaml.Marshal(bare(all))
	return string(b), err
}

// tree is the layer's keys in small letters, nulls included.
func (l Layer) tree() (map[string]any, error) {
	if len(l.Text) > maxFile {
		return nil, fmt.Errorf("longer than %d MiB", maxFile>>20)
	}
	var tree map[string]any
	var err error
	switch l.Format {
	case "yaml", "yml":
		if err = oneDocument([]byte(l.Text)); err == nil {
			err = yaml.Unmarshal([]byte(l.Text), &tree)
		}
	case "toml":
		err = toml.Unmarshal([]byte(l.Text), &tree)
	default:
		err = fmt.Errorf("format %q: want yaml or toml", l.Format)
	}
	if err != nil {
		return nil, fmt.Errorf("%s", oneLine(err))
	}
	small, _ := lower(tree).(map[string]any)
	return small, nil
}

func lower(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[strings.ToLower(k)] = lower(e)
		}
		return m
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[strings.ToLower(fmt.Sprint(k))] = lower(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = lower(e)
		}
		return l
	case []map[string]any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = lower(e)
		}
		return l
	}
	return v
}

// merge lays over on under.
func merge(under, over any) any {
	switch o := over.(type) {
	case map[string]any:
		u, ok := under.(map[string]any)
		if !ok {
			return over
		}
		out := maps.Clone(u)
		for k, e := range o {
			if e == nil {
				delete(out, k)
				continue
			}
			out[k] = merge(out[k], e)
		}
		return out
	case []any:
		u, ok := under.([]any)
		if !ok || len(o) == 0 || len(u) == 0 {
			return over
		}
		return mergeLists(u, o)
	}
	return over
}

// mergeLists merges lists whose entries can be told apart by a name.
func mergeLists(under, over []any) any {
	at := map[string]int{}
	out := slices.Clone(under)
	for i, e := range under {
		name := entryName(e)
		if _, twice := at[name]; name == "" || twice {
			return over
		}
		at[name] = i
	}
	for _, e := range over {
		name := entryName(e)
		if name == "" {
			return over
		}
		if i, known := at[name]; known {
			out[i] = merge(out[i], e)
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

// entryName tells an entry of a list from others; empty: nothing does.
func entryName(e any) string {
	for _, key := range []string{"name", "pop", "neighbor", "config.neighbor-address"} {
		if s, ok := valueAt(e, key).(string); ok && s != "" {
			return key + " " + s
		}
	}
	return ""
}

// bare leaves out nulls.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e == nil {
				delete(v, k)
				continue
			}
			v[k] = bare(e)
		}
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}
