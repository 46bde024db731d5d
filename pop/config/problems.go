package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration.
type Error struct {
	File string // empty where it was not read from a file
	Line int    // 0 where not known (TOML, environment)
	Path string // the key, e.g. services[0].checks[1].interval; empty: the whole
	Msg  string
}

func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		fmt.Fprintf(&b, "%s: ", e.File)
	case e.Line > 0:
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// problems collects every mistake, so that the operator sees them all at once.
type problems struct {
	file     string
	written  map[string]any    // the file as it is: viper leaves out nulls and empty sections
	lines    map[string]int    // of keys, where the format tells
	env      map[string]string // key path -> variable that set it
	errs     []*Error
	warnings []*Error

	defaulted map[string]bool // key paths that were not set and have a default
	broken    []string        // key paths that could not be read: no second complaint about them
}

// unreadable says that a key is unknown or its value of the wrong kind.
func (p *problems) unreadable(path, format string, args ...any) {
	p.errorf(path, format, args...)
	p.broken = append(p.broken, path)
}

// refuse says that what was read is against a rule, unless the same key, one
// below it or the section around it could not be read, which then is the reason.
func (p *problems) refuse(path, format string, args ...any) {
	for _, b := range p.broken {
		if within(b, path) || within(path, b) {
			return
		}
	}
	p.errorf(path, format, args...)
}

// within reports whether path is around or a part of it.
func within(path, around string) bool {
	rest, ok := strings.CutPrefix(path, around)
	return ok && (rest == "" || around == "" || rest[0] == '.' || rest[0] == '[')
}

func (p *problems) errorf(path, format string, args ...any) {
	p.errs = append(p.errs, p.at(path, fmt.Sprintf(format, args...)))
}

func (p *problems) warnf(path, format string, args ...any) {
	p.warnings = append(p.warnings, p.at(path, fmt.Sprintf(format, args...)))
}

// at places a message: on the line of its key, or of the nearest key around it
// that is written in the file.
func (p *problems) at(path, msg string) *Error {
	e := &Error{File: p.file, Path: path, Msg: msg}
	for q := path; q != ""; q = parent(q) {
		if name := p.env[q]; name != "" {
			e.Msg += " (from the environment: " + name + ")"
			return e
		}
		if n := p.lines[q]; n > 0 {
			e.Line = n
			break
		}
	}
	return e
}

func (p *problems) err() error {
	byLine(p.errs)
	errs := make([]error, len(p.errs))
	for i, e := range p.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}

func (p *problems) warned() []string {
	byLine(p.warnings)
	var w []string
	for _, e := range p.warnings {
		w = append(w, e.Error())
	}
	return w
}

func byLine(list []*Error) {
	slices.SortStableFunc(list, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
}

// parent cuts the last step off a key path: a[1].b, a[1], a.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
