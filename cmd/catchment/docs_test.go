package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands calls f for each command that help shows, but cobra's own.
func commands(root *cobra.Command, f func(*cobra.Command)) {
	for _, c := range root.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			f(c)
			commands(c, f)
		}
	}
}

// TestEveryCommandIsExplained: a short text, and an example that is of this
// command. What is gobgp's is explained in gobgp's way.
func TestEveryCommandIsExplained(t *testing.T) {
	n := 0
	commands(newApp(io.Discard, io.Discard).root("unused"), func(c *cobra.Command) {
		for top := c; top.HasParent(); top = top.Parent() {
			if top.GroupID == "gobgp" || top.IsAdditionalHelpTopicCommand() {
				return
			}
		}
		n++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: no example of it in %q", c.CommandPath(), c.Example)
		}
	})
	if n < 20 {
		t.Errorf("only %d commands", n)
	}
}

// TestDocs: a page for each command, pages that groff takes without a
// warning, completions that the shells take; the same each time.
func TestDocs(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1800000000")
	dir, again := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, again} {
		if status, out, errs := catchment(t.Context(), "unused", "docs", d, "--reference", "../../configs/reference.yaml"); status != 0 {
			t.Fatalf("%d %s%s", status, out, errs)
		}
	}
	if out, err := exec.Command("diff", "-r", dir, again).CombinedOutput(); err != nil {
		t.Errorf("the second run is another: %s", out)
	}
	man := filepath.Join(dir, "man")
	commands(newApp(io.Discard, io.Discard).root("unused"), func(c *cobra.Command) {
		page := filepath.Join(man, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		if _, err := os.Stat(page); (err == nil) != c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			t.Errorf("%s: %v", page, err)
		}
	})
	pages, err := filepath.Glob(man + "/*")
	if err != nil || len(pages) < 20 {
		t.Fatal(pages, err)
	}
	for _, p := range pages {
		text, err := os.ReadFile(p)
		if err != nil || !regexp.MustCompile(`\n\.SH NAME\n.* (-|\\-) \S`).Match(text) {
			t.Errorf("%s: no description under NAME (%v)", p, err)
		}
	}
	for _, name := range []string{"catchment", "catchment-plan-drain", "catchment-slice", "catchment-lab-up"} {
		if text, err := os.ReadFile(filepath.Join(man, name+".1")); err != nil || !strings.Contains(string(text), "\n.SH EXIT STATUS\n.TP\n\\fB0\\fP\n") {
			t.Errorf("%s.1 does not say what the exit statuses are: %v", name, err)
		}
	}
	if _, err := exec.LookPath("groff"); err == nil {
		for _, p := range pages {
			out, err := exec.Command("groff", "-man", "-Tutf8", "-ww", "-z", p).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", p, err, out)
			}
		}
	}
	for shell, args := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		file := filepath.Join(dir, "completions", "catchment."+shell)
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("__complete")) {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		if out, err := exec.Command(shell, append(args, file)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
}

// TestDaemonPage: the page of catchmentd names its flags and signals; that of
// the configuration is the reference.
func TestDaemonPage(t *testing.T) {
	page, err := pages.ReadFile("docs/catchmentd.8.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../catchmentd/main.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`fs\.(?:String|Bool)\("([a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(flags) < 4 {
		t.Fatal("flags of catchmentd:", len(flags))
	}
	for _, f := range flags {
		if !bytes.Contains(page, append([]byte("\n**--"), f[1]...)) {
			t.Errorf("catchmentd(8) does not explain --%s", f[1])
		}
	}
	dir := t.TempDir()
	if status, _, errs := catchment(t.Context(), "unused", "docs", dir, "--reference", "../../configs/reference.yaml"); status != 0 {
		t.Fatal(errs)
	}
	text, err := os.ReadFile(filepath.Join(dir, "man", "catchment.yaml.5"))
	if err != nil || !bytes.Contains(text, []byte("withdraw")) || !bytes.Contains(text, []byte("min-pops: 1")) {
		t.Errorf("catchment.yaml(5): %v", err)
	}
}

// TestVersionFlag: like the version command, without asking a daemon.
func TestVersionFlag(t *testing.T) {
	status, out, errs := catchment(t.Context(), "unused", "--version")
	if status != 0 || errs != "" || !regexp.MustCompile(`^catchment \S+`).MatchString(out) {
		t.Errorf("%d %q %q", status, out, errs)
	}
}
