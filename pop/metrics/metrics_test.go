package metrics

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

var (
	slice4 = policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))
	slice6 = policy.SliceID(netip.MustParsePrefix("2001:db8::/48"))
	peer   = netip.MustParseAddr("10.0.0.2")
)

// filled has every series that there can be at least once.
func filled() *Metrics {
	m := New(Build{"v1", "abc"})
	for _, s := range []policy.ServiceID{"web", "dns"} {
		slice := slice4
		if s == "dns" {
			slice = slice6
		}
		m.ObserveResult(s, "http", "pass", time.Millisecond)
		m.SetCheck(s, "http", policy.Up)
		m.SetHealth(s, policy.Health{Verdict: policy.Degraded, Fraction: 0.5})
		m.SetStance(s, slice, policy.Stance{Action: policy.Announce, Rung: 1}, policy.Reason{Code: policy.Guarded, Guard: "last-pop"})
		m.CountChange(s, policy.Reason{Code: policy.CheckDown})
		m.SetDrain(s, true)
	}
	m.CountGuard("last-pop", "veto")
	m.SetAnnouncements([]bgp.Announcement{{Prefix: slice4.Prefix()}, {Prefix: slice6.Prefix()}})
	m.ObserveDecision(time.Millisecond)
	m.ObserveDetection(time.Millisecond)
	m.SetSession(bgp.PeerState{Address: peer, State: bgp.Established, Advertised: 2, Received: 3, Flaps: 4, BFD: "up"})
	m.SetReload(true, time.Unix(1000, 0))
	m.SetAlarm("stalled", true)
	m.SetPeerHeard("FRA", "rib", time.Now())
	m.WatchJournal(func() Journal { return Journal{1, 2, 3, true} })
	m.WatchLoad(someLoad)
	m.WatchCore(func() Core { return Core{true, true, 3, 70, 1 << 16, 5, map[string]uint64{"conflict": 2}} })
	m.WatchRelay(func() (Relay, bool) {
		return Relay{true, "LON", 2, 70, 1, 3, time.Second, 4, 5, 6, 7, 8, 9, 10, map[string]uint64{"forged": 11}}, true
	})
	m.WatchIngress(someIngress)
	m.WatchBalance(someBalance)
	m.WatchFleet(func() Fleet {
		return Fleet{
			Peers:   []FleetPeer{{POP: "AMS", RTT: 1500 * time.Microsecond, Exchanges: 7, Failures: 2}, {POP: "NYC", Failures: 3}},
			Refused: map[string]uint64{"forged": 4, "replay": 0},
		}
	})
	return m
}

func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range list {
		if !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_") {
			out[f.GetName()] = f
		}
	}
	return out
}

// constants reads the names from names.go: what is declared there.
func constants(t *testing.T) (names, labels []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				s, _ := strconv.Unquote(lit.Value)
				if v.Names[0].IsExported() {
					names = append(names, s)
				} else {
					labels = append(labels, s)
				}
			}
		}
		return true
	})
	slices.Sort(names)
	return names, append(labels, "version", "revision", "goversion")
}

// TestNames: each constant is exported once and nothing else is; prefix,
// units, _total, help and labels are as they should be.
func TestNames(t *testing.T) {
	fams := gather(t, filled())
	names, labels := constants(t)
	if got := slices.Sorted(maps.Keys(fams)); !slices.Equal(got, names) {
		t.Errorf("exported %v\ndeclared %v", got, names)
	}
	for name, f := range fams {
		counter := f.GetType() == dto.MetricType_COUNTER
		if !strings.HasPrefix(name, "catchment_") || strings.ToLower(name) != name {
			t.Errorf("%s: want the prefix catchment_ and small letters", name)
		}
		if counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: _total is for counters, and all of them", name)
		}
		for _, word := range []string{"latency", "age", "timestamp", "duration"} {
			if slices.Contains(strings.Split(name, "_"), word) && !strings.HasSuffix(name, "_seconds") {
				t.Errorf("%s: no unit", name)
			}
		}
		if h := f.GetHelp(); len(h) < 20 || !strings.HasSuffix(h, ".") {
			t.Errorf("%s: help %q", name, h)
		}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					t.Errorf("%s: label %q is not declared", name, l.GetName())
				}
			}
		}
		if problems, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{f}).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", name, problems, err)
		}
	}
}

// value returns the series with exactly these labels, given as k=v.
func value(t *testing.T, m *Metrics, name string, labels ...string) (float64, bool) {
	t.Helper()
	slices.Sort(labels)
	for _, s := range gather(t, m)[name].GetMetric() {
		var have []string
		for _, l := range s.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if slices.Sort(have); slices.Equal(have, labels) {
			return s.GetGauge().GetValue() + s.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

func TestStanceAndReasonFollow(t *testing.T) {
	m := filled()
	m.SetStance("web", slice4, policy.Stance{Action: policy.Withdraw}, policy.Reason{Code: policy.CheckDown})
	for _, c := range []struct {
		want   float64
		there  bool
		name   string
		labels []string
	}{
		{1, true, SliceStance, []string{"service=web", "slice=192.0.2.0/24", "stance=withdraw"}},
		{0, true, SliceStance, []string{"service=web", "slice=192.0.2.0/24", "stance=announce"}},
		{0, true, SliceRung, []string{"service=web", "slice=192.0.2.0/24"}},
		{1, true, SliceReason, []string{"service=web", "slice=192.0.2.0/24", "reason=check-down", "guard="}},
		{0, false, SliceReason, []string{"service=web", "slice=192.0.2.0/24", "reason=guarded", "guard=last-pop"}},
		{1, true, SliceReason, []string{"service=dns", "slice=2001:db8::/48", "reason=guarded", "guard=last-pop"}},
		{0.5, true, ServiceHealth, []string{"service=web"}},
		{1, true, CheckVerdict, []string{"service=web", "check=http", "verdict=up"}},
		{1, true, Announcements, []string{"family=ipv6"}},
		{1000, true, ReloadTime, nil},
		{2, true, JournalErrors, nil},
		{0.0015, true, FleetPeerRTT, []string{"pop=AMS"}},
		{0, false, FleetPeerRTT, []string{"pop=NYC"}},
		{7, true, FleetExchanges, []string{"pop=AMS"}},
		{0, true, FleetExchanges, []string{"pop=NYC"}},
		{3, true, FleetFailures, []string{"pop=NYC"}},
		{4, true, FleetRefused, []string{"reason=forged"}},
		{0, true, FleetRefused, []string{"reason=replay"}},
	} {
		if v, ok := value(t, m, c.name, c.labels...); v != c.want || ok != c.there {
			t.Errorf("%s %v: %v %v, want %v %v", c.name, c.labels, v, ok, c.want, c.there)
		}
	}
}

func TestFlapsAreACounter(t *testing.T) {
	m := New(Build{})
	for _, flaps := range []uint32{2, 5, 5, 1, 3} { // 1: the speaker began to count anew
		m.SetSession(bgp.PeerState{Address: peer, State: bgp.Idle, Flaps: flaps})
	}
	if v, _ := value(t, m, SessionFlaps, "neighbor=10.0.0.2"); v != 7 {
		t.Errorf("got %v, want 5 and 2 more", v)
	}
}

func TestRefusedReloadKeepsItsTime(t *testing.T) {
	m := New(Build{})
	m.SetReload(true, time.Unix(1000, 0))
	m.SetReload(false, time.Unix(2000, 0))
	ok, _ := value(t, m, ReloadOK)
	at, _ := value(t, m, ReloadTime)
	if ok != 0 || at != 1000 {
		t.Errorf("ok %v at %v", ok, at)
	}
}

// TestForget: what is gone leaves no series behind, what stays does.
func TestForget(t *testing.T) {
	m := filled()
	m.ForgetService("web")
	m.ForgetNeighbor(peer)
	m.ForgetPeer("FRA")
	m.ForgetSlice("dns", slice6)
	m.ForgetCheck("dns", "http")
	left := 0
	for name, f := range gather(t, m) {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				switch v := l.GetValue(); {
				case v == "web", v == peer.String(), v == "FRA", v == slice4.String(), v == slice6.String(), v == "http":
					t.Errorf("%s still has %s=%s", name, l.GetName(), v)
				case v == "dns":
					left++
				}
			}
		}
	}
	if left == 0 {
		t.Error("the service that stays is gone too")
	}
	if len(m.reasons)+len(m.peers)+len(m.flaps) != 0 {
		t.Error("something is remembered:", m.reasons, m.peers, m.flaps)
	}
}

func TestNeverHeardIsInfinite(t *testing.T) {
	m := New(Build{})
	m.SetPeerHeard("FRA", "status", time.Time{})
	if v, ok := value(t, m, FleetPeerAge, "pop=FRA", "source=status"); !ok || v < 1e300 {
		t.Error(v, ok)
	}
}

func TestServe(t *testing.T) {
	m := filled()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := m.Server(addr).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Error("listening twice:", err)
	}
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	srv := m.Server(addr)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{BuildInfo + `{goversion="go`, DecisionDelay + `_bucket{le="0.0001"} 0`, SliceStance + `{service="web",slice="192.0.2.0/24",stance="announce"} 1`, "process_start_time_seconds"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%q is not in the answer", want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestManyAskers: connections beyond the bound wait in the kernel's queue.
func TestManyAskers(t *testing.T) {
	srv := New(Build{}).Server("127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	ask := func(within time.Duration) (net.Conn, error) {
		c, err := net.Dial("tcp", srv.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_, _ = io.WriteString(c, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err = c.Read(make([]byte, 1))
		return c, err
	}
	for n := range mostConnections {
		if _, err := ask(20 * time.Second); err != nil {
			t.Fatalf("%d are answered, want %d: %v", n, mostConnections, err)
		}
	}
	if _, err := ask(200 * time.Millisecond); err == nil {
		t.Errorf("more than %d are answered", mostConnections)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTwoRegistries: no global state, so two daemons fit into one test.
func TestTwoRegistries(t *testing.T) {
	New(Build{})
	New(Build{})
	list, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if strings.HasPrefix(f.GetName(), "catchment_") {
			t.Error("on the global registry:", f.GetName())
		}
	}
}
