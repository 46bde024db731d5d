package sim

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/lab/goal"
)

// fleets are the small one, and the public measurements where they are.
func fleets(t *testing.T) map[string]*Measured {
	out := map[string]*Measured{"small": small(t)}
	f, err := os.Open("../../../shared/data/tangled/catchments.csv")
	if err != nil {
		t.Logf("without the measured catchments: %v", err)
		return out
	}
	defer f.Close()
	m, err := ReadMeasured(f, "measured")
	if err != nil {
		t.Fatal(err)
	}
	out["measured"] = m
	return out
}

// TestPredict holds the goal on both fleets: it is quick and exact.
func TestPredict(t *testing.T) {
	for name, m := range fleets(t) {
		r, err := Predict(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range r.Goals {
			if !g.Met() {
				t.Errorf("%s: %s", name, g)
			}
		}
	}
}

// TestLetGo: a part of a site's load goes, and less of it to one neighbour
// than by any single configuration.
func TestLetGo(t *testing.T) {
	for name, m := range fleets(t) {
		load, err := m.letGo(5, 0.5, 8, 60_000, m.Matrix())
		if err != nil {
			t.Fatal(err)
		}
		if kept := load[5] / m.Row(5, 0)[5]; kept > 0.53 {
			t.Errorf("%s: SYD keeps %.2f of its load", name, kept)
		}
		if w, single := m.worst(load, 5), m.single(5, 0.5); w > 1.25 || w >= single {
			t.Errorf("%s: worst neighbour %.2f, by one configuration %.2f", name, w, single)
		}
		if math.Abs(sum(load)-1) > 1e-9 {
			t.Errorf("%s: %.3f of the load is left", name, sum(load))
		}
	}
}

// TestDraws: safe actions overload nobody, others do.
func TestDraws(t *testing.T) {
	r := Draws(small(t), 150, 1.3, 2)
	if !r.Goals[0].Met() {
		t.Error(r.Goals[0])
	}
	if r.Rows[0][4] == "0" || r.Rows[4][4] == "0" {
		t.Errorf("withdraw and greedy overload nobody either: %v", r.Rows)
	}
	if ours := r.Rows[len(r.Rows)-1]; ours[2] == "0" {
		t.Errorf("ours never acts: %v", ours)
	}
}

func TestReadMeasuredRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no baseline":  "bgp;A;B\n0xA;0;5\n",
		"not a count":  "bgp;A;B\nbaseline;1;x\n",
		"short row":    "bgp;A;B\nbaseline;1\n",
		"less than no": "bgp;A;B\nbaseline;1;-5\n",
	} {
		if _, err := ReadMeasured(strings.NewReader(text), "text"); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestReport: what is printed and written.
func TestReport(t *testing.T) {
	r := &Report{Name: "x", Title: "Title", Head: []string{"a", "b"}, Notes: []string{"note"},
		Goals: []goal.Goal{goal.AtMost("low", 1.2, 1.1), goal.AtLeast("high", 95, 93), goal.AtMost("none", math.NaN(), 1)},
		Chart: &Chart{Title: "T", Series: []string{"s", "t"}, Log: true}}
	r.Add("row", 1.5)
	r.Chart.Add("g", 1, 2)
	var b bytes.Buffer
	r.Print(&b)
	for _, want := range []string{"Title", "row  1.50", "- note", "goal low 1.2 1.1 missed", "goal high 95 93 met", "goal none - 1 not-measured"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	dir := t.TempDir()
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	csv, _ := os.ReadFile(filepath.Join(dir, "x.csv"))
	svg, _ := os.ReadFile(filepath.Join(dir, "x.svg"))
	if string(csv) != "a,b\nrow,1.50\n" || !bytes.Contains(svg, []byte("<svg")) {
		t.Errorf("csv %q, svg of %d bytes", csv, len(svg))
	}
}
