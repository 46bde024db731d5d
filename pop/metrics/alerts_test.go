package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAlertsNameWhatThereIs: each metric and label that configs/alerts.yml
// asks for is exported.
func TestAlertsNameWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../configs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	played, err := os.ReadFile("../../configs/alerts.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	names, labels := constants(t)
	more, of := cacheMetrics(t)
	names, labels = append(names, more...), append(append(labels, "instance", "job", "le"), of...)
	metric := regexp.MustCompile(`catchment_[a-z_]+`)
	label := regexp.MustCompile(`([a-z]+)=~?"|\$labels\.([a-z]+)`)
	seen := map[string]bool{}
	for _, r := range file.Groups[0].Rules {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Catchment") || r.Annotations["summary"] == "" {
			t.Errorf("%q: twice, without our prefix, or without a summary", r.Alert)
		}
		seen[r.Alert] = true
		// When all is well, before it is due, and when it is.
		if n := strings.Count(string(played), "alertname: "+r.Alert+"\n") + strings.Count(string(played), "alertname: "+r.Alert+","); n != 3 {
			t.Errorf("%s: %d cases in alerts.test.yml, want 3", r.Alert, n)
		}
		for _, m := range metric.FindAllString(r.Expr, -1) {
			if !slices.Contains(names, strings.TrimSuffix(m, "_bucket")) {
				t.Errorf("%s: no metric %s", r.Alert, m)
			}
		}
		for _, l := range label.FindAllStringSubmatch(r.Expr+r.Annotations["summary"], -1) {
			if !slices.Contains(labels, l[1]+l[2]) {
				t.Errorf("%s: no label %s", r.Alert, l[1]+l[2])
			}
		}
	}
	if len(seen) < 10 {
		t.Error("only", len(seen), "rules were read")
	}
}

// cacheMetrics are the metrics that the cache server makes itself, and their
// labels, from its source.
func cacheMetrics(t *testing.T) (names, labels []string) {
	text, err := os.ReadFile("../../server/cache/collect.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`desc\("([a-z_]+)", "[^"]+"((?:, "[a-z]+")*)\)`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, "catchment_cache_"+m[1])
		for l := range strings.SplitSeq(strings.Trim(m[2], ", "), ", ") {
			labels = append(labels, strings.Trim(l, `"`))
		}
	}
	if len(names) < 10 {
		t.Fatalf("read only %q", names)
	}
	return names, labels
}
