package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Datasource  struct{ UID string }
	Targets     []struct{ Expr, LegendFormat string }
}

// TestDashboardNamesWhatThereIs: each metric and label that
// configs/grafana.json asks for is exported, and its panels have a place.
func TestDashboardNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../configs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	names, labels := constants(t)
	labels = append(labels, "instance", "job", "le")
	var all []string // that some panel shows
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			all = append(all, asks(t, p.Title, q.Expr, q.LegendFormat, names, labels)...)
		}
		place(t, p, board.Panels)
	}
	for _, v := range board.Templating.List {
		if v.Definition == "" {
			continue
		}
		asks(t, "$"+v.Name, v.Definition, "", names, labels)
		label := regexp.MustCompile(`, (\w+)\)$`).FindStringSubmatch(v.Definition)
		if label == nil || !slices.Contains(labels, label[1]) {
			t.Errorf("$%s: no such label in %s", v.Name, v.Definition)
		}
	}
	for _, n := range names {
		if !slices.Contains(all, n) && !slices.Contains([]string{CheckVerdict, SessionState, Announcements, JournalFailing, ReloadOK, ReloadTime}, n) {
			t.Errorf("no panel shows %s", n)
		}
	}
}

// asks returns the metrics that a query names, and complains of those that
// nobody exports.
func asks(t *testing.T, where, expr, legend string, names, labels []string) []string {
	t.Helper()
	var found []string
	// The client library exports these of the process.
	library := []string{"process_cpu_seconds_total", "process_resident_memory_bytes"}
	for _, m := range regexp.MustCompile(`(catchment|process)_[a-z_]+`).FindAllString(expr, -1) {
		m = strings.TrimSuffix(m, "_bucket")
		if !slices.Contains(names, m) && !slices.Contains(library, m) {
			t.Errorf("%s: no metric %s", where, m)
		}
		found = append(found, m)
	}
	if len(found) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	used := regexp.MustCompile(`([a-z]+)(?:=~|!=|!~|=)"`).FindAllStringSubmatch(expr, -1)
	used = append(used, regexp.MustCompile(`\{\{([a-z]+)\}\}`).FindAllStringSubmatch(legend, -1)...)
	for _, list := range regexp.MustCompile(`(?:by|on|ignoring) \(([a-z, ]+)\)`).FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(list[1], ", ") {
			used = append(used, []string{"", l})
		}
	}
	for _, l := range used {
		if !slices.Contains(labels, l[1]) {
			t.Errorf("%s: no label %s", where, l[1])
		}
	}
	return found
}

// place complains of a panel without title, unit or data, and of one that lies
// on another.
func place(t *testing.T, p panel, others []panel) {
	t.Helper()
	if p.Title == "" || p.ID == 0 {
		t.Errorf("panel %d %q: no title or number", p.ID, p.Title)
	}
	if p.Type != "row" && (len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}") {
		t.Errorf("%s: no query, unit or data source", p.Title)
	}
	a := p.GridPos
	if a.W < 1 || a.H < 1 || a.X < 0 || a.X+a.W > 24 {
		t.Errorf("%s: at %+v", p.Title, a)
	}
	for _, o := range others {
		b := o.GridPos
		if o.Title != p.Title && (o.ID == p.ID || a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H) {
			t.Errorf("%s and %s are in one place, or have one number", p.Title, o.Title)
		}
	}
}

// TestPromtool has Prometheus's own checker read the rules, where it is
// installed.
func TestPromtool(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool (Debian: prometheus) is not installed")
	}
	if out, err := exec.Command("promtool", "check", "rules", "--lint=all", "--lint-fatal", "../../configs/alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
