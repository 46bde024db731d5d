package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// result is what a client has done.
type result struct {
	out, errs string
	status    int // exit status; -1: stopped by us
}

// tally counts lines and differences by command, and lines by flag.
type tally struct{ lines, differ, flags map[string]int }

// TestLikeTheStockClient runs the corpus through the stock client and ours.
// Each file has its world twice: in the first, the stock client changes it, in
// the second, ours; both clients look at the second, and what the stock client
// sees must be the same in both.
func TestLikeTheStockClient(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of processes")
	}
	p := build(t)
	addresses(t)
	dir := t.TempDir()
	writeFixtures(t, dir)
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("corpus: %v, %v", files, err)
	}
	count := tally{make(map[string]int), make(map[string]int), make(map[string]int)}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			replace := strings.NewReplacer("{dir}", dir, "{socket}", filepath.Join(dir, "gobgp.sock"), "{long}", strings.Repeat("x", 300))
			world, loses, lines := readCorpus(t, f, replace)
			compareWorlds(t, p, world, dir, lines, loses, &count)
		})
	}
	report(count)
}

// report prints the table and the goal.
func report(c tally) {
	fmt.Printf("%-34s %5s %7s\n", "command", "lines", "differ")
	for _, k := range slices.Sorted(maps.Keys(c.lines)) {
		fmt.Printf("%-34s %5d %7d\n", k, c.lines[k], c.differ[k])
	}
	n, met := sum(c.differ), "met"
	fmt.Printf("%-34s %5d %7d\n", "all", sum(c.lines), n)
	fmt.Printf("of these %d with more on stderr, %d help texts (under the name gobgp only), %d JSON lists in random order; "+
		"%d left out, %d crash the stock client\n", c.flags["e"], c.flags["h"], c.flags["s"], c.flags["o"], c.flags["x"])
	if n > 0 {
		met = "missed"
	}
	fmt.Printf("goal gobgp-cli-differences %d 0 %s\n", n, met)
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func compareWorlds(t *testing.T, p programs, world, dir string, lines []line, loses bool, count *tally) {
	first := make(map[int]result) // of the stock client, by line
	for _, l := range lines {
		if l.mark != 'w' {
			count.add(l)
		}
	}
	if slices.ContainsFunc(lines, func(l line) bool { return l.mark == '!' }) {
		t.Run("stock", func(t *testing.T) {
			startWorld(t, p, world, dir)
			for _, l := range lines {
				switch {
				case waitFor(t, p, l):
				case l.is("o"): // would change the world
				case l.mark != '~':
					first[l.n] = run(t, p.stock, l.args)
				default:
					alter(t, p, l.then)
				}
			}
		})
	}
	t.Run("ours", func(t *testing.T) {
		startWorld(t, p, world, dir)
		for _, l := range lines {
			if waitFor(t, p, l) {
				continue
			}
			if why := l.compare(t, p, first, loses); why != "" {
				t.Errorf("%s\n%s", l, why)
			} else {
				count.differ[l.command()]--
			}
		}
	})
}

// add counts a line, as one that differs until it has been seen not to.
func (c tally) add(l line) {
	c.lines[l.command()]++
	c.differ[l.command()]++
	for _, f := range l.flags {
		c.flags[string(f)]++
	}
}

// waitFor carries out "wait"; false: the line is another.
func waitFor(t *testing.T, p programs, l line) bool {
	if l.mark != 'w' {
		return false
	}
	switch {
	case len(l.args) == 0:
		awaitSessions(t, p)
	case l.args[0] == "rpki":
		awaitOutput(t, p, func(s string) bool { return strings.Contains(s, "2/1") }, "rpki", "server")
	case l.args[0] == "bmp":
		awaitOutput(t, p, func(s string) bool { return strings.Count(s, " Up ") == 2 }, "bmp")
	}
	return true
}

// attempts is how often two clients may see different things: the daemon
// lists sets, policies and neighbors in random order, and counters count.
const attempts = 60

// compare says what differs; empty: nothing.
func (l line) compare(t *testing.T, p programs, first map[int]result, loses bool) (why string) {
	switch {
	case l.mark == '~':
		return l.compareStreams(t, p)
	case l.mark == '!':
		return l.differs(t, first[l.n], run(t, p.ours, l.args), true)
	case l.is("o"):
		if got := run(t, p.ours, l.args); got.status != 1 || !strings.Contains(got.out, "left out") {
			return fmt.Sprintf("ours: %s", got)
		}
		return ""
	}
	bins := []string{p.alias, p.ours}
	if l.is("h") {
		bins = bins[:1]
	}
	var before, stock result
	for range attempts {
		results := []result{{}, {}}
		var wg sync.WaitGroup
		wg.Go(func() { stock = run(t, p.stock, l.args) })
		for i, bin := range bins {
			wg.Go(func() { results[i] = run(t, bin, l.args) })
		}
		wg.Wait()
		var left []string // to try again
		for i, bin := range bins {
			if d := l.differs(t, stock, results[i], bin != p.alias); d != "" {
				left, why = append(left, bin), filepath.Base(bin)+"\n"+d
			}
		}
		if bins = left; len(bins) == 0 {
			why = ""
			break
		}
	}
	before, ok := first[l.n]
	if !ok || loses || l.is("x") || why != "" {
		return why
	}
	before.out, stock.out = lasting(before.out), lasting(stock.out)
	if d := l.differs(t, before, stock, true); d != "" {
		return "after our changes the stock client sees another world\n" + d
	}
	return ""
}

func (r result) String() string {
	return fmt.Sprintf("status %d\nstdout %s\nstderr %s", r.status, clip(r.out), clip(r.errs))
}

func clip(s string) string {
	if len(s) > 3000 {
		return s[:1500] + "\n...\n" + s[len(s)-1500:]
	}
	return s
}

// differs compares; loose: of another program name, or at another time.
func (l line) differs(t *testing.T, stock, ours result, loose bool) string {
	if l.is("x") { // a crash
		if stock.status == 2 && strings.Contains(stock.errs, "panic:") && ours.status == 1 && ours.out != "" && ours.errs == "" {
			return ""
		}
		return fmt.Sprintf("stock: %s\nours: %s", stock, ours)
	}
	if l.is("s") {
		stock.out, ours.out = sortedList(t, stock.out), sortedList(t, ours.out)
	}
	out := normal(stock.out, loose) == normal(ours.out, loose)
	errs := normal(stock.errs, loose) == normal(ours.errs, loose)
	if l.is("e") && loose { // not under the name gobgp
		errs = strings.HasPrefix(ours.errs, stock.errs)
	}
	if out && errs && stock.status == ours.status {
		return ""
	}
	return fmt.Sprintf("stock: %s\nours: %s\nfirst at: %s", stock, ours,
		firstDifference(normal(stock.out+stock.errs, loose), normal(ours.out+ours.errs, loose)))
}

// firstDifference shows where a and b part.
func firstDifference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	return fmt.Sprintf("%q, %q", cut(a), cut(b))
}

var (
	stamp     = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	elapsed   = regexp.MustCompile(`(\d+d )?\d\d:\d\d:\d\d\b`)
	jsonTimes = regexp.MustCompile(`"(age|seconds|nanos)":\d+`)
	program   = regexp.MustCompile(`\b(gobgp|catchment)\b`)
	down      = regexp.MustCompile(`\b(Idle|Active|Connect|Sent|Confirm) +\|`)
	// protobuf varies the blanks of its texts from build to build.
	blanks = regexp.MustCompile(`(afi:AFI_\w+|defined_type:\w+|name:"[^"]*"|ip_prefix:"[^"]*"|mask_length_m..:\d+)\s+`)
)

// normal masks times; loose also what differs between two daemons, and the
// program's name.
func normal(s string, loose bool) string {
	s = stamp.ReplaceAllString(s, "STAMP")
	s = elapsed.ReplaceAllString(s, "ELAPSED")
	s = blanks.ReplaceAllString(s, "$1 ")
	if loose {
		s = jsonTimes.ReplaceAllString(s, `"$1":0`)
		s = down.ReplaceAllString(s, "DOWN |")
		s = program.ReplaceAllString(s, "PROGRAM")
	}
	return s
}

func run(t *testing.T, bin string, args []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := clientCommand(ctx, bin, args)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", bin, args, err)
	}
	return result{cmd.Stdout.(*output).String(), cmd.Stderr.(*output).String(), cmd.ProcessState.ExitCode()}
}

// output is a buffer that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func clientCommand(ctx context.Context, bin string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdout, cmd.Stderr = &output{}, &output{}
	cmd.Env = append(os.Environ(), "CATCHMENT_GOBGP_SOCKET=none") // of this machine
	return cmd
}

var passing = regexp.MustCompile(`"messages":\{"received":\{[^}]*\},"sent":\{[^}]*\}\}|"session_state":[1-5]\b|` +
	`BGP state = (IDLE|ACTIVE)|(?m:^   \d+ +)|(?m:^    (Opens|Notifications|Updates|Keepalives|Route Refresh|Discarded|Total): .*$)`)

// lasting is what does not depend on timing: without counters of messages,
// states on the way up and path identifiers, in an order of its own.
func lasting(s string) string {
	return sortedLines(passing.ReplaceAllString(sortedCapabilities(s), `"passing":0`))
}

// sortedLines: what is there when a stream begins comes in random order.
func sortedLines(s string) string {
	l := strings.SplitAfter(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "")
}

// capabilities are in random order, too.
var capabilities = regexp.MustCompile(`("(?:local|remote)_cap":\[\{)([^\]]*)(\}\])`)

func sortedCapabilities(s string) string {
	return capabilities.ReplaceAllStringFunc(s, func(l string) string {
		m := capabilities.FindStringSubmatch(l)
		each := strings.Split(m[2], "},{")
		slices.Sort(each)
		return m[1] + strings.Join(each, "},{") + m[3]
	})
}

// sortedList sorts the elements of JSON lists, a list a line, each element as
// it is.
func sortedList(t *testing.T, s string) string {
	t.Helper()
	s = sortedCapabilities(s)
	var elements []string
	for l := range strings.Lines(s) {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(l), &list); err != nil {
			t.Errorf("not a list: %v: %s", err, clip(l))
		}
		for _, e := range list {
			elements = append(elements, string(e))
		}
	}
	slices.Sort(elements)
	return strings.Join(elements, "\n")
}
