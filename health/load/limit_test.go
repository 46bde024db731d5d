package load

import "testing"

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		name           string
		limit          Limit
		perHost, total float64
	}{
		{"neither", Limit{0, 0, 4}, 0, 0},
		{"cluster only", Limit{100, 0, 4}, 25, 100},
		{"host only", Limit{0, 30, 4}, 30, 120},
		{"both, cluster's part smaller", Limit{100, 30, 4}, 25, 100},
		{"both, host smaller", Limit{100, 10, 4}, 10, 40},
		{"both the same", Limit{100, 25, 4}, 25, 100},
		{"one host", Limit{100, 40, 1}, 40, 40},
		{"no number of hosts", Limit{100, 0, 0}, 100, 100},
		{"negative is not set", Limit{-1, -1, 2}, 0, 0},
		{"negative host is not set", Limit{100, -5, 2}, 50, 100},
	} {
		if got := c.limit.PerHost(); got != c.perHost {
			t.Errorf("%s: %v per host, want %v", c.name, got, c.perHost)
		}
		if got := c.limit.Total(); got != c.total {
			t.Errorf("%s: %v in all, want %v", c.name, got, c.total)
		}
	}
}

func TestExcess(t *testing.T) {
	for _, c := range []struct {
		name           string
		limit          Limit
		loads          []float64
		share          float64
		cluster, hosts float64
	}{
		{"no limits", Limit{0, 0, 2}, []float64{1e9, 1e9}, 1, 0, 0},
		{"below both", Limit{100, 60, 2}, []float64{40, 40}, 1, 0, 0},
		{"a host above its equal part", Limit{100, 60, 2}, []float64{55, 20}, 1, 0, 0},
		{"cluster above, hosts below", Limit{100, 60, 2}, []float64{55, 55}, 1, 10, 0},
		{"host above, cluster below", Limit{100, 60, 2}, []float64{75, 10}, 1, 0, 15},
		{"both above", Limit{100, 60, 2}, []float64{75, 70}, 1, 45, 25},
		{"only the cluster's", Limit{100, 0, 2}, []float64{120, 0}, 1, 20, 0},
		{"only the host's", Limit{0, 60, 2}, []float64{70, 70}, 1, 0, 20},
		{"from a share on", Limit{100, 60, 2}, []float64{55, 40}, 0.9, 5, 1},
		{"negative counts as nothing", Limit{100, 60, 2}, []float64{-50, 110}, 1, 10, 50},
	} {
		cluster, hosts := c.limit.Excess(c.loads, c.share)
		near(t, c.name+": cluster", cluster, c.cluster)
		near(t, c.name+": hosts", hosts, c.hosts)
	}
}
