package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/pop/api"
)

// TestLoad: what a server, the kernel and the host say is in the status and in
// the metrics, a source that fails says why, and a reload takes another one.
func TestLoad(t *testing.T) {
	w := newWorld(t)
	vip := netip.AddrFrom4([4]byte{192, 0, 2, byte(w.n)})
	var requests atomic.Int64
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.us4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, "# TYPE requests_total counter\nrequests_total{host=\"web\"} %d\n", requests.Add(50))
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	section := `{interval: 100ms, average: 100ms, capacity: {out: 10Gbit}, links: [{device: lo}, {device: none}],
  sources: [{name: page, url: "http://%s/", format: prometheus, metric: 'requests_total{host="%s"}', unit: requests, of: service, service: web}]}`
	w.sections["load"] = fmt.Sprintf(section, l.Addr(), "web")
	keys := fmt.Sprintf("vips: {addresses: [%s]}, capacity: {connections: 8}", vip)
	w.configure(w.web(keys))
	w.up("web")
	d := w.start(nil)
	d.says("msg=ready")

	held := hold(t, netip.AddrPortFrom(vip, 0))
	st := w.loaded(func(st api.Status) string {
		web := st.Services[0].Measured
		switch {
		case value(web, load.Connections) != held:
			return "connections of web"
		case !(value(web, load.Requests) > 0):
			return "requests of web"
		case !(value(st.Load.POP, load.CPU) >= 0):
			return "CPU"
		case of(st.Load.POP, load.Out) == nil || of(st.Load.POP, load.Out).Value != nil:
			return "a device that is not there must leave the bit rate unknown"
		case !(value(source(st, "link:lo").Load, load.Out) >= 0):
			return "bit rate of lo"
		case source(st, "link:none").Error == "":
			return "the error of link none"
		}
		return ""
	})
	if c := of(st.Load.POP, load.Out).Capacity; c != 10e9 {
		t.Errorf("capacity of the POP: %v", c)
	}
	if c := of(st.Services[0].Measured, load.Connections).Capacity; c != 8 {
		t.Errorf("capacity of web: %v", c)
	}
	w.counts(`catchment_load\{name="web",of="service",unit="connections"\} (4|3\.99)`, `catchment_load_capacity\{name="",of="pop",unit="out"\} 1e\+10`,
		`catchment_load_source_up\{source="link:none"\} 0`, `catchment_load_source_up\{source="page"\} 1`, `catchment_load_age_seconds\{name="",of="pop",unit="cpu"\} [0-9]`)

	w.sections["load"] = fmt.Sprintf(section, l.Addr(), "other")
	w.configure(w.web(keys))
	d.signal(syscall.SIGHUP)
	w.loaded(func(st api.Status) string {
		if s := source(st, "page"); s.Error == "" || of(s.Load, load.Requests).Value != nil {
			return "that no series matches"
		}
		return ""
	})
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// loaded waits for a status of which nothing is missing.
func (w *world) loaded(missing func(api.Status) string) api.Status {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		st, err := w.client().Status(soon(w.t))
		if err != nil {
			w.t.Fatal(err)
		}
		what := "load"
		if st.Load != nil {
			what = missing(st)
		}
		if what == "" {
			return st
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("missing: %s\n%+v\n%+v", what, st.Load, st.Services)
		}
	}
}

// hold keeps connections to an address open, and returns how many ends of
// them have it.
func hold(t *testing.T, a netip.AddrPort) float64 {
	t.Helper()
	l, err := net.Listen("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); s.Close() })
	}
	return 4 // both ends are here
}

func of(list []api.LoadStatus, u load.Unit) *api.LoadStatus {
	for i := range list {
		if list[i].Unit == u.String() {
			return &list[i]
		}
	}
	return nil
}

// value is -1 where it is not known.
func value(list []api.LoadStatus, u load.Unit) float64 {
	if l := of(list, u); l != nil && l.Value != nil {
		return *l.Value
	}
	return -1
}

func source(st api.Status, name string) api.LoadSource {
	for _, s := range st.Load.Sources {
		if s.Name == name {
			return s
		}
	}
	return api.LoadSource{}
}
