package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// writeReport writes the tables and the goals.
func writeReport(out io.Writer, opt Options, results map[string]*result, costs []cost) error {
	var b strings.Builder
	writeMachine(&b, opt)
	for _, t := range []struct {
		blow  blow
		title string
	}{
		{kill, "The service is killed (SIGKILL): until the route is gone from the router's kernel, and back"},
		{hang, "The service hangs (SIGSTOP), check timeout 1 s"},
		{freeze, "The whole POP is frozen (SIGSTOP of every process), BFD with the routers"},
	} {
		writeTable(&b, t.blow, t.title, results)
	}
	if len(results) > 0 {
		writeNotes(&b, opt)
	}
	writeCosts(&b, costs)
	for _, g := range goals(results) {
		fmt.Fprintln(&b, g)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// writeMachine says what the figures were measured on.
func writeMachine(out io.Writer, opt Options) {
	var u unix.Utsname
	unix.Uname(&u) // cannot fail with a valid pointer
	fmt.Fprintf(out, "Linux %s, %d CPUs; %d kills a row", unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), opt.Kills)
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(raw)); len(f) > 2 {
			fmt.Fprintf(out, "; load average at the end %s (1 min), %s (15 min)", f[0], f[2])
		}
	}
	fmt.Fprintln(out)
	for _, p := range [][]string{{"/usr/lib/frr/bgpd", "--version"}, {"bird", "--version"}, {"exabgp", "--version"}} {
		raw, err := exec.Command(p[0], p[1:]...).CombinedOutput()
		if err == nil {
			line, _, _ := strings.Cut(string(raw), "\n")
			fmt.Fprintln(out, strings.Join(strings.Fields(line), " "))
		}
	}
}

func writeTable(out io.Writer, which blow, title string, results map[string]*result) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows := 0
	for _, s := range subjects() {
		res := results[s.name]
		if res == nil || s.blow != which {
			continue
		}
		if rows++; rows == 1 {
			fmt.Fprintf(out, "\n%s\n", title)
			fmt.Fprintln(tw, "router\tn\tdown median\tp99\tmin-max\tto UPDATE\tfrom probe\trouter's part\tback median\tp99\tmin-max\tvs peer\t ")
		}
		for i, r := range routers {
			name := s.title
			if i > 0 {
				name = ""
			}
			down, up := res.down[r], res.up[r]
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s-%s\t%s\t%s\t%s\t%s\t%s\t%s-%s\t%s\t  %s\n", r, len(down),
				short(down.median()), short(down.p99()), short(down.min()), short(down.max()),
				short(res.update.median()), short(res.detect.median()), short(res.router[r].median()),
				short(up.median()), short(up.p99()), short(up.min()), short(up.max()),
				ratio(down, results[s.peer], r), name)
		}
	}
	tw.Flush()
}

// ratio says how much faster or slower a row is than its peer.
func ratio(down series, peer *result, router string) string {
	if peer == nil || len(peer.down[router]) == 0 || down.median() == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", float64(down.median())/float64(peer.down[router].median()))
}

func writeNotes(out io.Writer, opt Options) {
	p99 := "nearest rank"
	if opt.Kills < 100 {
		p99 = fmt.Sprintf("of %d samples that is the maximum", opt.Kills)
	}
	fmt.Fprintf(out, `
p99: %s. Medians: "to UPDATE" from the blow to the first withdrawal on the wire, "from probe" the part
of it after the first check that began after the blow, "router's part" from the withdrawal on the wire to the route
gone: a tool can be faster in the first only. "vs peer" is median down
time over that of the tool with the same settings (kernel-assisted and hang rows: over ExaBGP 1 s, fast 0.2 s).
"back" counts from the start of the service's process; rise as in the row (kernel-assisted: 2), hold-down 0.
`, p99)
}

// short prints a time with three digits.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2fms", d.Seconds()*1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
