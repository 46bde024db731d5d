// Package routers_test has the routers' files parsed by the programs they are
// for: FRR, BIRD and OpenBGPD. That those of FRR and BIRD also do what they
// say is shown by the story lab/testdata/production.txt.
package routers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// parser is a program that reads a file and says what is wrong with it.
type parser struct {
	file     string
	programs []string // where it may be; the first that is there
	pkg      string   // of Debian
	args     func(dir, file string) []string
}

var parsers = []parser{
	{"frr.conf", []string{"/usr/bin/vtysh"}, "frr", func(dir, file string) []string {
		return []string{"--config_dir", dir, "-C", "-f", file}
	}},
	{"bird.conf", []string{"/usr/sbin/bird", "/usr/bin/bird"}, "bird2", func(_, file string) []string {
		return []string{"-p", "-c", file}
	}},
	// By full path: FRR has a bgpd too.
	{"openbgpd.conf", []string{"/usr/sbin/bgpd"}, "openbgpd", func(_, file string) []string {
		return []string{"-n", "-f", file}
	}},
}

// program finds the parser. In CI a missing one is a failure.
func (p parser) program(t *testing.T) string {
	t.Helper()
	for _, name := range p.programs {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	words := strings.Join(p.programs, " or ") + " is missing: apt-get install " + p.pkg + " (make deps does)"
	if os.Getenv("CI") == "true" {
		t.Fatal(words)
	}
	t.Skip(words)
	return ""
}

// parse returns what the program says of a text; it must say nothing of a good
// one. The text goes into a file of nobody else, as OpenBGPD wants it.
func (p parser) parse(t *testing.T, text string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, p.file)
	for name, content := range map[string]string{file: text, filepath.Join(dir, "vtysh.conf"): ""} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(p.program(t), p.args(dir, file)...).CombinedOutput()
	return string(out), err
}

func TestParsedByTheRealPrograms(t *testing.T) {
	for _, p := range parsers {
		t.Run(p.file, func(t *testing.T) {
			text, err := os.ReadFile(p.file)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := p.parse(t, string(text)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			lines := 0
			for i, line := range strings.Split(string(text), "\n") {
				if !spoilt(line) {
					continue
				}
				lines++
				all := strings.Split(string(text), "\n")
				all[i] = strings.Replace(line, "neighbor", "neighbour", 1)
				if out, err := p.parse(t, strings.Join(all, "\n")); err == nil {
					t.Errorf("line %d was spoilt and is accepted: %s\n%s", i+1, all[i], out)
				}
			}
			if lines == 0 {
				t.Error("no line was spoilt: this test cannot tell")
			}
		})
	}
}

// spoilt says whether a line is one that a wrong word makes no sense of.
func spoilt(line string) bool {
	return strings.HasPrefix(strings.TrimSpace(line), "neighbor ")
}

// TestSameSession: what the files say of the session is what minimal.yaml says.
func TestSameSession(t *testing.T) {
	files, err := filepath.Glob("*.c*")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files: %v %v", len(files), files, err)
	}
	minimal, err := os.ReadFile("../minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"64500", "64501", "10.0.0.1", "2001:db8:1::1", "192.0.2.0/24", "2001:db8:100::/48", "change-me"} {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s has no %s", name, word)
			}
		}
	}
	for _, word := range []string{"as: 64500", "router-id: 10.0.0.1", "neighbor-address: 10.0.0.2", `neighbor-address: "2001:db8:1::2"`,
		"peer-as: 64501", "auth-password: change-me", `prefixes: [192.0.2.0/24, "2001:db8:100::/48"]`} {
		if !strings.Contains(string(minimal), word) {
			t.Errorf("minimal.yaml has no %s", word)
		}
	}
}
