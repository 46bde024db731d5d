package story

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

// Script is a story, read and checked.
type Script struct {
	File     string
	Variants []Variant
	steps    []step
}

// Variant is a set of variables a story is run with.
type Variant map[string]string

// String is NAME=value,... or "plain".
func (v Variant) String() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(v)) {
		out = append(out, k+"="+v[k])
	}
	if len(out) == 0 {
		return "plain"
	}
	return strings.Join(out, ",")
}

// step is one line. words has variables still in it: they are known only
// when a variant runs.
type step struct {
	line int
	text string
	cond string
	neg  bool // "! exec"
	verb string
	rest string
}

// Load reads a script; every line must be a known command.
func Load(file string) (*Script, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Script{File: file}
	for i, line := range strings.Split(string(raw), "\n") {
		st, ok, err := parseLine(line)
		if err == nil && ok {
			st.line = i + 1
			err = s.add(st)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	if len(s.Variants) == 0 {
		s.Variants = []Variant{{}}
	}
	return s, nil
}

func (s *Script) add(st step) error {
	if st.verb == "variants" {
		for _, text := range strings.Split(st.rest, ";") {
			v := Variant{}
			for _, pair := range strings.Fields(text) {
				k, val, ok := strings.Cut(pair, "=")
				if !ok {
					return fmt.Errorf("variant %q: want NAME=value", pair)
				}
				v[k] = val
			}
			s.Variants = append(s.Variants, v)
		}
		return nil
	}
	if _, ok := verbs[st.verb]; !ok {
		return fmt.Errorf("unknown command %q", st.verb)
	}
	s.steps = append(s.steps, st)
	return nil
}

func parseLine(line string) (step, bool, error) {
	st := step{text: strings.TrimSpace(line)}
	text := st.text
	if text == "" || strings.HasPrefix(text, "#") {
		return st, false, nil
	}
	if strings.HasPrefix(text, "[") {
		cond, rest, ok := strings.Cut(text[1:], "]")
		if !ok || !strings.Contains(cond, "=") {
			return st, false, errors.New("want [NAME=value] or [NAME!=value]")
		}
		st.cond, text = cond, strings.TrimSpace(rest)
	}
	if rest, ok := strings.CutPrefix(text, "! "); ok {
		st.neg, text = true, strings.TrimSpace(rest)
	}
	st.verb, st.rest, _ = strings.Cut(text, " ")
	st.rest = strings.TrimSpace(st.rest)
	if st.neg && st.verb != "exec" {
		return st, false, errors.New("! goes with exec only")
	}
	return st, true, nil
}

// applies says whether the step counts in a variant.
func (st step) applies(v Variant) bool {
	if st.cond == "" {
		return true
	}
	name, value, _ := strings.Cut(st.cond, "=")
	name, not := strings.CutSuffix(name, "!")
	return (v[name] == value) != not
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

func (v Variant) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string { return v[m[2:len(m)-1]] })
}

// expectation is NODE CMD... => /RE/ within DURATION, in parts.
type expectation struct {
	node string
	args []string
	not  bool
	re   *regexp.Regexp
	time time.Duration
}

var expecting = regexp.MustCompile(`^(\S+)\s+(.*?)\s+(=>|!>)\s+/(.*)/\s+(?:within|for)\s+(\S+)$`)

func parseExpectation(rest string) (e expectation, err error) {
	m := expecting.FindStringSubmatch(rest)
	if m == nil {
		return e, errors.New("want NODE COMMAND => /REGEXP/ within DURATION")
	}
	e.node, e.not = m[1], m[3] == "!>"
	if e.args, err = netlab.Words(m[2]); err != nil {
		return e, err
	}
	if e.re, err = regexp.Compile("(?m)" + m[4]); err != nil {
		return e, err
	}
	e.time, err = time.ParseDuration(m[5])
	return e, err
}

// fields are words followed by pairs such as "within 5s".
type fields struct {
	words []string
	opts  map[string]string
}

func parseFields(rest string, names ...string) (fields, error) {
	words, err := netlab.Words(rest)
	f := fields{opts: map[string]string{}}
	for i := 0; i < len(words); i++ {
		if !slices.Contains(names, words[i]) {
			f.words = append(f.words, words[i])
			continue
		}
		if i+1 == len(words) {
			return f, fmt.Errorf("%s has no value", words[i])
		}
		f.opts[words[i]] = words[i+1]
		i++
	}
	return f, err
}

func (f fields) duration(name string, otherwise time.Duration) (time.Duration, error) {
	if f.opts[name] == "" {
		return otherwise, nil
	}
	return time.ParseDuration(f.opts[name])
}

func (f fields) want(n int, usage string) error {
	if len(f.words) != n {
		return fmt.Errorf("want %s", usage)
	}
	return nil
}

func (s *Script) relative(file string) string {
	return filepath.Join(filepath.Dir(s.File), file)
}
