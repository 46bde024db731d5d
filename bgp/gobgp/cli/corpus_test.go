package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The corpus: command lines, in files that begin with the world they run in.
//
//	world NAME   the daemon and its neighbors, fresh for the file; "loses" after
//	             the name: what the stock client does there is not reliable
//	? ARG...     changes nothing: both clients ask the same daemon
//	! ARG...     changes something: one client does it to a daemon of its own
//	~ ARG... [-- ARG...]   a stream, and the change that is made meanwhile
//	wait [WHAT]  until sessions are up again
//
// Letters after the mark: e, ours may add to stderr; h, help, which is
// compared under the name gobgp only; s, a JSON list in random order; x, the
// stock client crashes; o, left out. {dir}, {socket} and {long} are replaced.
type line struct {
	file  string
	n     int
	mark  byte
	flags string
	args  []string
	then  []string // after --
}

func (l line) String() string {
	return fmt.Sprintf("%s:%d: %s", l.file, l.n, strings.Join(l.args, " "))
}

func (l line) is(flag string) bool { return strings.Contains(l.flags, flag) }

// command is what the line is counted under: its first two words.
func (l line) command() string {
	var words []string
	skip := false
	for _, a := range l.args {
		switch {
		case skip:
			skip = false
		case strings.HasPrefix(a, "-"):
			skip = !strings.Contains(a, "=") && strings.Contains(" -u -p -t --target --tls-ca-file --tls-client-cert-file --tls-client-key-file ", " "+a+" ")
		case len(words) < 1:
			words = append(words, full(a))
		case len(words) == 1 && words[0] == "neighbor" && strings.ContainsAny(a, ".:0123456789"):
			words = append(words, "ADDRESS")
		case len(words) == 1 && words[0] != "neighbor" && strings.ContainsAny(a, ".:0123456789="):
		case len(words) < 2 || len(words) == 2 && words[1] == "ADDRESS":
			words = append(words, a)
		}
	}
	known := " rib policy del add prefix neighbor as-path community ext-community large-community statement global adj-in inject" +
		" table server summary ADDRESS update accepted rejected adj-out local reset softreset softresetin softresetout enable disable shutdown "
	for len(words) > 1 && !strings.Contains(known, " "+words[len(words)-1]+" ") {
		words = words[:len(words)-1]
	}
	if len(words) == 0 {
		return "(no command)"
	}
	return strings.Join(words, " ")
}

// full undoes the abbreviations that the corpus has.
func full(word string) string {
	for _, w := range []string{"global", "neighbor", "policy"} {
		if strings.HasPrefix(w, word) {
			return w
		}
	}
	return word
}

func readCorpus(t testing.TB, path string, replace *strings.Replacer) (world string, loses bool, lines []line) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range strings.Split(string(text), "\n") {
		if s == "" || s[0] == '#' {
			continue
		}
		words, err := split(s)
		if err != nil {
			t.Fatalf("%s:%d: %v", path, i+1, err)
		}
		for j := range words {
			words[j] = replace.Replace(words[j])
		}
		if words[0] == "world" {
			world, loses = words[1], len(words) > 2
			continue
		}
		l := line{file: filepath.Base(path), n: i + 1, mark: words[0][0], flags: words[0][1:], args: words[1:]}
		for j, w := range l.args {
			if w == "--" && l.mark == '~' {
				l.args, l.then = l.args[:j], l.args[j+1:]
				break
			}
		}
		lines = append(lines, l)
	}
	return world, loses, lines
}

// TestCorpus: it is as large as promised, of both families, and begins in a
// world.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	total, v6 := 0, 0
	for _, f := range files {
		world, _, lines := readCorpus(t, f, strings.NewReplacer())
		if world == "" || len(lines) == 0 {
			t.Errorf("%s: world %q, %d lines", f, world, len(lines))
		}
		for _, l := range lines {
			if !strings.ContainsRune("?!~w", rune(l.mark)) || strings.Trim(l.flags, "ehxos") != "" && l.mark != 'w' {
				t.Errorf("%s: mark %c%s", l, l.mark, l.flags)
			}
			total++
			if s := l.String(); strings.Contains(s, "ipv6") || strings.Contains(s, "2001:db8") {
				v6++
			}
		}
	}
	if total < 150 || v6 < 50 {
		t.Errorf("%d lines, %d of IPv6", total, v6)
	}
}

// split splits at blanks; double quotes keep words together.
func split(s string) (words []string, err error) {
	var w strings.Builder
	quoted, begun := false, false
	for _, r := range s + " " {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				words = append(words, w.String())
			}
			w.Reset()
			begun = false
		default:
			w.WriteRune(r)
			begun = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("quote without end")
	}
	return words, nil
}
