package load

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// matcher is one condition on a label, as in Prometheus' selectors.
type matcher struct {
	label string
	not   bool
	value string         // where re is nil
	re    *regexp.Regexp // of the whole value
}

func (m *matcher) matches(value string) bool {
	is := value == m.value
	if m.re != nil {
		is = m.re.MatchString(value)
	}
	return is != m.not
}

var (
	metricForm  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	matcherForm = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*`)
)

// parseSelector reads NAME or NAME{label="value",label!~"regexp",...}.
func parseSelector(s string) (name string, ms []matcher, err error) {
	name = metricForm.FindString(s)
	rest := strings.TrimSpace(s[len(name):])
	bad := fmt.Errorf(`metric: %q: want a name with label matchers, such as http_requests_total{code=~"2..",host="web"}`, s)
	if name == "" {
		return "", nil, bad
	}
	if rest == "" {
		return name, nil, nil
	}
	rest, open := strings.CutPrefix(rest, "{")
	rest, closed := strings.CutSuffix(rest, "}")
	if !open || !closed {
		return "", nil, bad
	}
	for strings.TrimSpace(rest) != "" {
		f := matcherForm.FindStringSubmatch(rest)
		if f == nil {
			return "", nil, bad
		}
		rest = rest[len(f[0]):]
		if !strings.HasPrefix(rest, ",") && rest != "" {
			return "", nil, bad
		}
		rest = strings.TrimPrefix(rest, ",")
		m := matcher{label: f[1], not: f[2][0] == '!'}
		if m.value, err = strconv.Unquote(f[3]); err != nil {
			return "", nil, bad
		}
		if strings.HasSuffix(f[2], "~") {
			if m.re, err = regexp.Compile("^(?s:" + m.value + ")$"); err != nil {
				return "", nil, fmt.Errorf("metric: %s: %w", m.label, err)
			}
		}
		ms = append(ms, m)
	}
	return name, ms, nil
}

// prometheus makes the reader of a metric.
func (c PageConfig) prometheus() (func(io.Reader) (Reading, error), error) {
	name, matchers, err := parseSelector(c.Metric)
	if err != nil {
		return nil, err
	}
	scale, err := c.scale()
	if err != nil {
		return nil, err
	}
	if c.Kind != "" && c.Kind != "gauge" && c.Kind != "counter" {
		return nil, fmt.Errorf("kind: %q: want gauge or counter", c.Kind)
	}
	return func(r io.Reader) (Reading, error) {
		series, declared, err := readMetric(r, name)
		if err != nil {
			return nil, err
		}
		kind, err := kindOf(c.Kind, name, declared)
		if err != nil {
			return nil, err
		}
		var out Reading
		for _, m := range series {
			if matchAll(matchers, m) {
				p := Point{Name: labels(m), Unit: c.Unit, Kind: kind, Value: m.GetUntyped().GetValue() * scale}
				if m.TimestampMs != nil {
					p.At = time.UnixMilli(m.GetTimestampMs())
				}
				out = append(out, p)
			}
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("no series matches %s", c.Metric)
		}
		return out, nil
	}, nil
}

// readMetric returns every series of one name, and the types that the page
// declares for it or for the family whose part it may be. Only these lines are
// parsed: pages are long, and what else is wrong with them is not our matter.
func readMetric(r io.Reader, name string) ([]*dto.Metric, map[string]string, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var kept bytes.Buffer
	declared := map[string]string{}
	rows := 0
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if errors.Is(err, io.EOF) {
			return nil, nil, errors.New("the page is cut off: its last line has no end")
		}
		if err != nil {
			return nil, nil, err
		}
		line = bytes.TrimLeft(line, " \t")
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok && len(rest) > 0 && bytes.IndexByte([]byte("{ \t"), rest[0]) >= 0 {
			if rows++; rows > maxRows {
				return nil, nil, fmt.Errorf("%s: more than %d series", name, maxRows)
			}
			kept.Write(line)
		} else if f := bytes.Fields(line); len(f) == 4 && string(f[0]) == "#" && string(f[1]) == "TYPE" && strings.HasPrefix(name, string(f[2])) {
			declared[string(f[2])] = string(f[3])
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&kept)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return families[name].GetMetric(), declared, nil
}

// kindOf tells a counter from a gauge: by the configuration, by the page's
// declaration, or as a part of a histogram or summary.
func kindOf(configured, name string, declared map[string]string) (Kind, error) {
	switch cmp.Or(configured, declared[name]) {
	case "counter":
		return Counter, nil
	case "gauge":
		return Gauge, nil
	}
	for _, suffix := range []string{"_total", "_count", "_sum", "_bucket"} {
		base, ok := strings.CutSuffix(name, suffix)
		t := declared[base]
		if ok && (t == "counter" || suffix != "_total" && (t == "histogram" || t == "summary")) {
			return Counter, nil
		}
	}
	return 0, fmt.Errorf("%s is of no type that says whether it is a gauge or a counter: set kind", name)
}

func matchAll(ms []matcher, m *dto.Metric) bool {
	for i := range ms {
		value := "" // as if not set
		for _, l := range m.GetLabel() {
			if l.GetName() == ms[i].label {
				value = l.GetValue()
			}
		}
		if !ms[i].matches(value) {
			return false
		}
	}
	return true
}

// labels is the name of a series.
func labels(m *dto.Metric) string {
	parts := make([]string, 0, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		parts = append(parts, l.GetName()+"="+strconv.Quote(l.GetValue()))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
