package slow

import (
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/pop/slowness"
)

const classes = int(slowness.Lossy) + 1

// Table is how flows of known truth were judged.
type Table struct {
	Flows, Samples [classes][classes]int // by truth, and what was said
	// Disturbed flows were not what they are called: the machine was too busy
	// to let them be. They are not judged.
	Disturbed int
	kinds     map[string]*[classes]int
	order     []string
	all       []*judged
}

// judge counts. A flow is judged by the class of most of its samples that say
// something, the latest of those that are equally frequent.
func judge(all []*plan, flows map[netip.Addr]*judged) *Table {
	t := &Table{kinds: map[string]*[classes]int{}}
	for _, m := range makers() {
		k := kindOf(m.truth, m.kind)
		t.kinds[k], t.order = &[classes]int{}, append(t.order, k)
	}
	for _, p := range all {
		j := flows[p.client]
		if !j.asMade() {
			t.Disturbed++
			continue
		}
		for i, c := range j.classes {
			t.Samples[j.truthOf(i)][c]++
		}
		said := j.said()
		t.Flows[p.truth][said]++
		t.kinds[kindOf(p.truth, p.kind)][said]++
		t.all = append(t.all, j)
	}
	return t
}

// mostLate is how late frames may be on average: as much as a busy link's
// jitter.
const mostLate = 4 * time.Millisecond

func kindOf(c slowness.Class, kind string) string { return c.String() + ", " + kind }

// asMade reports whether a flow was what it was made to be, by how late its
// line was and by what its client saw: a fast one fast, a slow one not stopped.
func (j *judged) asMade() bool {
	if j.late > mostLate {
		return false
	}
	rate := float64(j.taken.bytes) / max(j.taken.elapsed.Seconds(), 1e-3)
	switch {
	case j.truth == slowness.Fast && j.burst == 0:
		return rate >= 1.15*threshold
	case j.truth == slowness.Fast:
		return true
	case j.truth == slowness.Lossy:
		return rate < 0.85*threshold
	case j.truth == slowness.ReceiverSlow && j.reads > 0:
		return rate > 0.8*j.reads
	case j.plays > 0:
		return j.taken.elapsed-j.taken.reading > j.lasts/4
	}
	return true
}

// truthOf is the truth of a sample: until its buffer was full once a player was
// as fast as its path.
func (j *judged) truthOf(i int) slowness.Class {
	if j.truth == slowness.BufferFull && (j.taken.paused.IsZero() || j.ends[i].Before(j.taken.paused)) {
		return slowness.Fast
	}
	return j.truth
}

func (j *judged) said() slowness.Class {
	var n [classes]int
	best := slowness.Unclear
	for i, c := range j.classes {
		if c == slowness.Unclear || j.truthOf(i) != j.truth {
			continue
		}
		if n[c]++; best == slowness.Unclear || n[c] >= n[best] {
			best = c
		}
	}
	return best
}

// Precision is the share of the flows that are called c which are, Recall the
// share of those which are that are called so.
func (t *Table) Precision(c slowness.Class) float64 {
	said := 0
	for i := range classes {
		said += t.Flows[i][c]
	}
	return float64(t.Flows[c][c]) / float64(max(1, said))
}

// Recall is said at Precision.
func (t *Table) Recall(c slowness.Class) float64 {
	are := 0
	for _, n := range t.Flows[c] {
		are += n
	}
	return float64(t.Flows[c][c]) / float64(max(1, are))
}

// Wrong is how many flows were called what they are not, of how many judged;
// one of which nothing is said is not wrong.
func (t *Table) Wrong() (wrong, judged int) {
	for truth := range classes {
		for said, n := range t.Flows[truth] {
			if judged += n; said != truth && said != int(slowness.Unclear) {
				wrong += n
			}
		}
	}
	return wrong, judged
}

// Goals are the least precision and recall of any class, and the precision of
// what steers: of the flows called slow those that are.
func (t *Table) Goals() []goal.Goal {
	p, r := 1.0, 1.0
	for c := slowness.Fast; c <= slowness.Lossy; c++ {
		p, r = min(p, t.Precision(c)), min(r, t.Recall(c))
	}
	slow, said := 0, 0
	for truth := range classes {
		for c, n := range t.Flows[truth] {
			if slowness.Class(c).Slow() {
				said += n
				if slowness.Class(truth).Slow() {
					slow += n
				}
			}
		}
	}
	return []goal.Goal{
		goal.AtLeast("classifier-least-precision", p, 0.95), goal.AtLeast("classifier-least-recall", r, 0.9),
		goal.AtLeast("classifier-slow-precision", float64(slow)/float64(max(1, said)), 0.95),
	}
}

// Print writes the tables; all: of each flow too, what it was and what was seen
// of it.
func (t *Table) Print(out io.Writer, all bool) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "CALLED"
	for c := range classes {
		head += "\t" + slowness.Class(c).String()
	}
	fmt.Fprintln(w, head+"\tPRECISION\tRECALL")
	for c := slowness.Fast; c <= slowness.Lossy; c++ {
		fmt.Fprintf(w, "%v%s\t%.3f\t%.3f\n", c, row(&t.Flows[c]), t.Precision(c), t.Recall(c))
	}
	fmt.Fprintln(w, "\nBY KIND\t"+head[len("CALLED\t"):])
	for _, k := range t.order {
		fmt.Fprintf(w, "%s%s\n", k, row(t.kinds[k]))
	}
	fmt.Fprintln(w, "\nBY SAMPLE\t"+head[len("CALLED\t"):])
	for c := slowness.Fast; c <= slowness.Lossy; c++ {
		fmt.Fprintf(w, "%v%s\n", c, row(&t.Samples[c]))
	}
	w.Flush()
	if t.Disturbed > 0 {
		fmt.Fprintf(out, "%d flows were not what they were made to be, since the machine was busy, and are not judged\n", t.Disturbed)
	}
	if !all {
		return
	}
	for _, j := range t.all {
		mark := ""
		if said := j.said(); said != j.truth {
			mark = "WRONG, " + said.String() + ": "
		}
		fmt.Fprintf(out, "\n%s%v\n  took %d kB in %.1f s, late by %v\n", mark, j.plan, j.taken.bytes/1000, j.taken.elapsed.Seconds(), j.late.Round(100*time.Microsecond))
		for i, s := range j.samples {
			fmt.Fprintf(out, "  %v: %d kB in %.1f s, busy %.1f, receiver %.1f, quiet %.1f in %d looks, peak %d kB/s, speed %d, RTT %v of %v, window %d kB, %d of %d again\n", j.classes[i], s.Bytes/1000,
				s.Elapsed.Seconds(), s.Busy.Seconds(), s.Receiver.Seconds(), s.Quiet.Seconds(), s.Looks, s.Peak/1000, s.Speed/1000, s.RTT.Round(time.Millisecond), s.MinRTT.Round(time.Millisecond), s.Window/1000, s.Again, s.Sent)
		}
	}
}

func row(n *[classes]int) string {
	s := ""
	for _, x := range n {
		s += fmt.Sprintf("\t%d", x)
	}
	return s
}
