package serve

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLoad: a crowd asks all addresses alike, at the rate of its file, and both
// ends count the same.
func TestLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	addr := freePort(t)
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() {
		served <- Serve(serving, ServerOptions{Name: "LON", Listen: []string{"127.0.0.1:" + addr, "127.0.0.2:" + addr}})
	}()
	for {
		if c, err := net.Dial("tcp", "127.0.0.2:"+addr); err == nil {
			c.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	urls := []string{"http://127.0.0.1:" + addr + "/", "http://127.0.0.2:" + addr + "/"}
	rates := filepath.Join(t.TempDir(), "rate")
	if err := os.WriteFile(rates, []byte("half written"), 0o644); err != nil {
		t.Fatal(err)
	}
	reports := make(chan LoadReport, 100)
	loading, enough := context.WithCancel(ctx)
	loaded := make(chan error, 1)
	go func() {
		loaded <- Load(loading, LoadOptions{URLs: urls, Rate: 200, RateFile: rates, Report: func(r LoadReport) { reports <- r }})
	}()
	at := func(ok func(LoadReport) bool) LoadReport {
		for {
			select {
			case r := <-reports:
				if ok(r) {
					return r
				}
			case <-ctx.Done():
				t.Fatal("no such report")
			}
		}
	}
	at(func(r LoadReport) bool {
		return r.Rate == 200 && r.By[urls[0]]["LON"] > 20 && r.By[urls[1]]["LON"] > 20
	})
	if err := os.WriteFile(rates, []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sent := -1
	r := at(func(r LoadReport) bool { // nothing more is sent, and all is answered
		quiet := r.Rate == 0 && r.Sent == sent && r.By[urls[0]]["LON"]+r.By[urls[1]]["LON"] == uint64(sent)
		sent = r.Sent
		return quiet
	})
	if d := int(r.By[urls[0]]["LON"]) - int(r.By[urls[1]]["LON"]); r.Failed > 0 || d < -1 || d > 1 {
		t.Errorf("asked %+v", r)
	}
	resp, err := http.Get(urls[0] + "load")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var by map[string]uint64
	if err := json.NewDecoder(resp.Body).Decode(&by); err != nil {
		t.Fatal(err)
	}
	if by["127.0.0.1"] != r.By[urls[0]]["LON"] || by["127.0.0.2"] != r.By[urls[1]]["LON"] {
		t.Errorf("the server counted %v, the clients %+v", by, r.By)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(rates, []byte("100"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := at(func(r LoadReport) bool { return r.Failed > 0 }); r.Last == "" {
		t.Errorf("nobody serves, and nothing is said: %+v", r)
	}
	enough()
	if err := <-loaded; err != nil {
		t.Error(err)
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
