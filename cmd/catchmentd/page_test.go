package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

func (w *world) page() string { return netip.AddrPortFrom(w.us4, 9797).String() }

// TestPage: the page is where web.listen says, shows this POP, and may only
// read.
func TestPage(t *testing.T) {
	w := newWorld(t)
	w.sections["web"] = fmt.Sprintf("{listen: %q}", w.page())
	w.sections["location"] = "{latitude: 51.5, longitude: -0.1}"
	w.up("web")
	w.configure(w.web())
	p := w.start(nil)
	p.says("url=http://"+w.page()+"/", "msg=ready")
	res, err := http.Get("http://" + w.page() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(text), `src="main.js"`) {
		t.Errorf("%s: %s", res.Status, text)
	}
	res, err = http.Get("http://" + w.page() + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var st api.Status
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil || st.POP != "LON" || st.Location == nil || st.Location.Latitude != 51.5 {
		t.Errorf("status %+v, %v", st, err)
	}
	res, err = http.Post("http://"+w.page()+"/v1/drain", "application/json", strings.NewReader(`{"service":"web"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusForbidden || !strings.Contains(string(said), "web.change") {
		t.Errorf("drain: %s %s", res.Status, said)
	}
}

// TestPageWithoutAPort: a port that somebody asked for and that is taken ends
// the daemon before any neighbor has heard of it.
func TestPageWithoutAPort(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", w.page())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.sections["web"] = fmt.Sprintf("{listen: %q}", w.page())
	w.up("web")
	w.configure(w.web())
	w.refuses(1, nil, "web.listen "+w.page(), "address already in use")
	w.sections["web"] = `{listen: ""}`
	w.configure(w.web())
	p := w.start(nil)
	p.says("msg=ready")
	if strings.Contains(p.stderr.String(), "msg=page") {
		t.Errorf("a page that nobody wants:\n%s", &p.stderr)
	}
}
