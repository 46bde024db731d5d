package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds what is read: a configuration of thousands of services is
// well below it.
const maxFile = 16 << 20

// Options are what Load and Parse need besides the text.
type Options struct {
	// Env is the environment as os.Environ gives it; nil: none. CATCHMENT_
	// and a key path in capitals, dots and dashes as _, overrides that key:
	// CATCHMENT_LOG_LEVEL=debug. Entries of lists cannot be overridden; of
	// the bgp section only global.config.as and global.config.router-id.
	Env []string
	// BGP judges the bgp section and returns the neighbors' addresses. Nil:
	// the section is taken as it is and neighbors[].config.neighbor-address
	// are the neighbors.
	BGP func(section map[string]any) (neighbors []netip.Addr, err error)
	// Group judges api.group where it is set, a name or a number. Nil: it is
	// taken as it is.
	Group func(group string) error
	// TLS judges the files of api.tls where they are set. Nil: they are taken
	// as they are.
	TLS func(TLS) error
	// Matrix judges matrix.file where it is set. Nil: it is taken as it is.
	Matrix func(file string) error
	// SitesFile reads cache.sites-file where it is set. Nil: it is not read, and
	// there are no sites.
	SitesFile func(file string) ([]byte, error)
	// Cache judges the cache section where there is a cache server: the files
	// that it names. Its errors begin with a key in the section and a colon.
	// Nil: it is taken as it is.
	Cache func(*Cache) error
	// DNS judges the dns section where there is a DNS server: zone files, keys,
	// nets and how the choices fit together.
	DNS func(*Config) error
	// Slowness judges the lists of the slowness section. An error begins with the
	// key's path.
	Slowness func(*Config) error
	// Partial takes a file with core.config: true for what it is, without the
	// rest that comes from the core. Otherwise the text has to be whole.
	Partial bool
}

// Load reads and validates the file at path. The ending tells the format:
// .yaml or .yml, or .toml. The error holds every mistake found, each an
// *Error, joined in the order of the file.
func Load(path string, o Options) (*Config, error) {
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	return parse(f, format, path, o)
}

// Parse is Load for text from anywhere; format is "yaml" or "toml".
func Parse(r io.Reader, format string, o Options) (*Config, error) {
	return parse(r, format, "", o)
}

func parse(r io.Reader, format, file string, o Options) (*Config, error) {
	p, v, err := open(r, format, file)
	if err != nil {
		return nil, err
	}
	p.environment(v, o.Env)
	settings, _ := plain(v.AllSettings()).(map[string]any)
	return p.build(settings, o)
}

// open reads a text, and leaves what it means to others.
func open(r io.Reader, format, file string) (*problems, *viper.Viper, error) {
	p := &problems{file: file, env: map[string]string{}}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("config: %w", err)
	}
	if len(text) > maxFile {
		return nil, nil, &Error{File: file, Msg: fmt.Sprintf("longer than %d MiB", maxFile>>20)}
	}
	v := viper.NewWithOptions(viper.KeyDelimiter(sep))
	switch format {
	case "yaml", "yml":
		v.SetConfigType("yaml")
		if err := oneDocument(text); err != nil {
			return nil, nil, &Error{File: file, Msg: oneLine(err)}
		}
	case "toml":
		v.SetConfigType("toml")
	default:
		return nil, nil, &Error{File: file, Msg: fmt.Sprintf("format %q: want a name that ends in .yaml, .yml or .toml", format)}
	}
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return nil, nil, &Error{File: file, Msg: syntax(err)}
	}
	if format == "toml" {
		_ = toml.Unmarshal(text, &p.written) // viper has parsed it already
	} else {
		_ = yaml.Unmarshal(text, &p.written)
		p.lines = lines(text)
	}
	return p, v, nil
}

// sep joins key paths inside viper; a dot would cut keys that hold one.
const sep = "\x1f"

func syntax(err error) string {
	var e viper.ConfigParseError
	if errors.As(err, &e) {
		err = errors.Unwrap(e)
	}
	return oneLine(err)
}

// oneLine puts a parser's list of errors on one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ")), " ")
}

// oneDocument refuses YAML of which a part would be silently left out.
func oneDocument(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var n yaml.Node
	if err := dec.Decode(&n); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(n.Content) > 0 && n.Content[0].Kind != yaml.MappingNode && n.Content[0].Tag != "!!null" {
		return errors.New("want keys and values at the top, such as pop: LON")
	}
	if err := dec.Decode(&n); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document: only the first would count")
	}
	return nil
}

// lines maps the key paths of a YAML text to line numbers.
func lines(text []byte) map[string]int {
	var doc yaml.Node
	at := map[string]int{}
	if yaml.Unmarshal(text, &doc) != nil {
		return at
	}
	budget := 1_000_000 // aliases of aliases could make it endless
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		if budget--; budget < 0 {
			return
		}
		switch n.Kind {
		case yaml.DocumentNode:
			for _, c := range n.Content {
				walk(c, path)
			}
		case yaml.AliasNode:
			walk(n.Alias, path)
		case yaml.SequenceNode:
			for i, c := range n.Content {
				q := path + "[" + strconv.Itoa(i) + "]"
				at[q] = c.Line
				walk(c, q)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				q := join(path, strings.ToLower(n.Content[i].Value))
				if at[q] == 0 {
					at[q] = n.Content[i].Line
				}
				walk(n.Content[i+1], q)
			}
		}
	}
	walk(&doc, "")
	return at
}

const envPrefix = "CATCHMENT_"

// clientEnv are the variables of the catchment command, which are no keys.
var clientEnv = []string{"CATCHMENT_SOCKET", "CATCHMENT_GOBGP_SOCKET", "CATCHMENT_ADDRESS"}

// environment puts the CATCHMENT_ variables over the file. One that names no
// key is a warning only: container platforms invent such names
// (CATCHMENT_PORT for a service called catchment).
func (p *problems) environment(v *viper.Viper, env []string) {
	paths := map[string]string{}
	var known []string
	for path := range leaves(reflect.TypeFor[rawConfig](), "") {
		name := envName(path)
		paths[name] = path
		known = append(known, name)
	}
	slices.Sort(known)
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(clientEnv, name) {
			continue
		}
		path := paths[name]
		if path == "" {
			msg := "unknown variable, ignored"
			if near := nearest(name, known); near != "" {
				msg += fmt.Sprintf(" (did you mean %q?)", near)
			}
			p.warnings = append(p.warnings, &Error{Path: name, Msg: msg})
			continue
		}
		p.env[path] = name
		v.Set(strings.ReplaceAll(path, ".", sep), typed(value, leaves(reflect.TypeFor[rawConfig](), "")[path]))
	}
}

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// leaves returns every key path outside of lists that holds one value.
func leaves(t reflect.Type, path string) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	eachKey(t, func(key string, kt reflect.Type) {
		switch {
		case isLeaf(kt):
			out[join(path, key)] = kt
		case kt.Kind() == reflect.Struct:
			for q, qt := range leaves(kt, join(path, key)) {
				out[q] = qt
			}
		}
	})
	if path == "" {
		out["bgp.global.config.as"] = reflect.TypeFor[int64]()
		out["bgp.global.config.router-id"] = reflect.TypeFor[string]()
	}
	return out
}

// typed gives the text of a variable the type that the file would have given
// it; text that does not fit stays text and is refused like in a file.
func typed(s string, t reflect.Type) any {
	switch {
	case parsers[t] != nil:
	case t.Kind() == reflect.Bool:
		if b, err := strconv.ParseBool(s); err == nil {
			return b
		}
	case t.Kind() != reflect.String && t.Kind() != reflect.Pointer:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	}
	return s
}

// plain makes YAML and TOML look the same: int64, float64, []any,
// map[string]any, and no nulls (null is as if the key were not there).
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if e != nil {
				m[k] = plain(e)
			}
		}
		return m
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if e != nil {
				m[strings.ToLower(fmt.Sprint(k))] = plain(e)
			}
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = plain(e)
		}
		return l
	case []map[string]any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = plain(e)
		}
		return l
	case int:
		return int64(v)
	}
	return v
}
