package cachetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suite is a checkout of http-tests/cache-tests, with undici below its
// node_modules.
type Suite struct {
	dir   string
	tests map[string]suiteTest
	order []string
}

// suiteTest is what judging needs of a test.
type suiteTest struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Kind    Kind     `json:"kind"`
	Depends []string `json:"depends_on"`
	Browser bool     `json:"browser_only"`
	Group   string   `json:"-"`
}

// Kind says what it means to fail a test.
type Kind string

// Kinds: required by the RFC; optimal, where the answer could have come from
// the store; and check, which only asks what a cache does.
const (
	Required Kind = "required"
	Optimal  Kind = "optimal"
	Check    Kind = "check"
)

// LoadSuite reads the list of tests out of a checkout, by node.
func LoadSuite(ctx context.Context, dir string) (*Suite, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "test-engine", "cli.mjs")); err != nil {
		return nil, fmt.Errorf("%s is no checkout of http-tests/cache-tests: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "undici")); err != nil {
		return nil, fmt.Errorf("undici is missing: cd %s && npm install --no-save --omit=dev --ignore-scripts undici@7", dir)
	}
	cmd := exec.CommandContext(ctx, "node", "--input-type=module", "-e",
		`import tests from `+string(must(json.Marshal("file://"+dir+"/tests/index.mjs")))+`; process.stdout.write(JSON.stringify(tests))`)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the tests of %s: %w", dir, err)
	}
	s := &Suite{dir: dir}
	return s, s.parse(raw)
}

// must is for values that json always takes.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func (s *Suite) parse(raw []byte) error {
	var groups []struct {
		ID    string      `json:"id"`
		Tests []suiteTest `json:"tests"`
	}
	if err := json.Unmarshal(raw, &groups); err != nil {
		return fmt.Errorf("the list of tests: %w", err)
	}
	s.tests, s.order = map[string]suiteTest{}, nil
	for _, g := range groups {
		for _, t := range g.Tests {
			t.Group = g.ID
			if t.Kind == "" {
				t.Kind = Required
			}
			s.tests[t.ID] = t
			if !t.Browser {
				s.order = append(s.order, t.ID)
			}
		}
	}
	return nil
}

// Origin starts the suite's own origin server and returns its address.
func (s *Suite) Origin(ctx context.Context, dir string) (netip.AddrPort, func(), error) {
	port, err := freePort()
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	p, err := start(-1, s.dir, []string{"npm_config_protocol=http", fmt.Sprintf("npm_config_port=%d", port),
		"npm_config_pidfile=" + filepath.Join(dir, "origin.pid")}, "node", filepath.Join(s.dir, "test-engine", "server", "server.mjs"))
	if err != nil {
		return at, nil, err
	}
	if err := p.await(ctx, at.String(), startup); err != nil {
		p.kill()
		return at, nil, err
	}
	return at, p.kill, nil
}

// results of a run, by test: true, or what was wrong.
type results map[string]result

type result struct {
	passed bool
	kind   string // of the failure: Assertion, Setup, TypeError...
	why    string
}

func (r *result) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &r.passed); err == nil {
		return nil
	}
	var parts []any
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for i, p := range parts {
		switch i {
		case 0:
			r.kind = fmt.Sprint(p)
		case 1:
			r.why = strings.TrimSpace(fmt.Sprint(p))
		}
	}
	return nil
}

// Run lets the suite's client ask all its tests of a cache; about a minute.
func (s *Suite) run(ctx context.Context, cache string, id string) (results, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--no-warnings", filepath.Join(s.dir, "test-engine", "cli.mjs"))
	cmd.Env = append(os.Environ(), "npm_config_base=http://"+cache, "npm_config_id="+id, "npm_package_config_id=")
	cmd.Dir = s.dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the suite's client: %w\n%s", err, errs.String())
	}
	if id != "" {
		os.Stdout.Write(out)
		return nil, nil
	}
	// What the client has to say of single tests stands before the results.
	at := bytes.Index(out, []byte("\n{\n"))
	if !bytes.HasPrefix(out, []byte("{")) && at < 0 {
		return nil, errors.New("the suite's client printed no results")
	}
	var r results
	if err := json.Unmarshal(out[at+1:], &r); err != nil {
		return nil, fmt.Errorf("the suite's results: %w", err)
	}
	return r, nil
}

// Verdict on one test.
type Verdict string

// Verdicts. A test counts only if those it depends on pass too.
const (
	Pass       Verdict = "pass"
	Fail       Verdict = "fail"
	Dependency Verdict = "dependency"
	Untested   Verdict = "untested"
)

// judge is the suite's own rule.
func (s *Suite) judge(id string, r results) Verdict {
	have, ok := r[id]
	if !ok {
		return Untested
	}
	for _, d := range s.tests[id].Depends {
		if s.judge(d, r) != Pass {
			return Dependency
		}
	}
	if have.passed {
		return Pass
	}
	return Fail
}

// Score counts the passed of a kind.
func (s *Suite) score(kind Kind, r results) (passed, all int) {
	for _, id := range s.order {
		if s.tests[id].Kind == kind {
			all++
			if s.judge(id, r) == Pass {
				passed++
			}
		}
	}
	return passed, all
}

// failures are the required and optimal tests that did not pass, those that
// failed themselves first in the suite's order.
func (s *Suite) failures(r results) (out []string) {
	for _, want := range []Verdict{Fail, Untested, Dependency} {
		for _, id := range s.order {
			if s.tests[id].Kind != Check && s.judge(id, r) == want {
				out = append(out, id)
			}
		}
	}
	return out
}

// differ names the tests whose verdict is not the same in all runs.
func (s *Suite) differ(runs []results) (out []string) {
	for _, id := range s.order {
		if slices.ContainsFunc(runs, func(r results) bool { return s.judge(id, r) != s.judge(id, runs[0]) }) {
			out = append(out, id)
		}
	}
	return out
}
