package config

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wanted reads the messages that a test file says it must give: comment lines
// "# error: ..." and "# warning: ..." at its top, and "# env: K=V".
func wanted(t *testing.T, text []byte) (errs, warnings, env []string) {
	t.Helper()
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line, ok := strings.CutPrefix(s.Text(), "# ")
		if !ok {
			break
		}
		kind, msg, _ := strings.Cut(line, ": ")
		switch kind {
		case "error":
			errs = append(errs, msg)
		case "warning":
			warnings = append(warnings, msg)
		case "env":
			env = append(env, msg)
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return errs, warnings, env
}

func messages(err error) (out []string) {
	if err == nil {
		return nil
	}
	for _, e := range flat(err) {
		out = append(out, e.Error())
	}
	return out
}

// TestRules reads every file of testdata and wants exactly the errors and
// warnings that it names, in that order. One file a rule, or a few that go
// together.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*ml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			errs, warnings, env := wanted(t, text)
			format := strings.TrimPrefix(filepath.Ext(file), ".")
			c, err := Parse(bytes.NewReader(text), format, Options{Env: env})
			compare(t, "error", messages(err), errs)
			if c == nil != (err != nil) {
				t.Errorf("config %v with error %v", c, err)
			}
			if c != nil {
				compare(t, "warning", c.Warnings, warnings)
			} else if len(warnings) > 0 {
				t.Error("warnings wanted beside errors: they are not given then")
			}
		})
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s %d:\n got %s\nwant %s", what, i, g, w)
		}
	}
}

func TestErrorsAreTyped(t *testing.T) {
	_, err := Parse(strings.NewReader("pop: [LON]\n"), "yaml", Options{})
	found := false
	for _, one := range flat(err) {
		var e *Error
		found = found || errors.As(one, &e) && e.Path == "pop" && e.Line == 1
	}
	if !found {
		t.Fatalf("got %v", err)
	}
}
