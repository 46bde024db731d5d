package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestResyncStated: what a client says of its own bandwidth reaches the jumps
// where resync.jump.stated lets it, and nothing is made of it elsewhere. On a
// path as short as the loopback's there is nothing to gain by it; that is noted.
func TestResyncStated(t *testing.T) {
	p := newPairWith(t, "stated: 2500KB", "100ms")
	ask := func(port int, field, value string) {
		t.Helper()
		req, err := http.NewRequestWithContext(soon(t), "GET", "http://www.example.com/film", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", "bytes=1000-1999")
		req.Header.Set(field, value)
		resp, err := p.http(port).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusPartialContent {
			t.Fatalf("%s, %v", resp.Status, err)
		}
	}
	noGain := func(n uint64) func(api.ResyncStatus) bool {
		return func(s api.ResyncStatus) bool {
			return len(s.Jumps.Refused) == 1 && s.Jumps.Refused[0] == api.ResyncReason{Reason: "no-gain", Flows: n} && s.Resumed == 0
		}
	}
	if st, err := p.away.ResyncStatus(soon(t)); err != nil || st.Jumps.Means != "bpf" {
		t.Skip("this user may load nothing into the kernel: ", st.Lacks, err)
	}
	ask(8081, "Downlink", "40")
	p.resyncs(p.away, "a browser's word is heard", noGain(1))
	p.noted("state2", "goes on from client with slow start: no-gain")
	ask(8081, "Catchment-Bandwidth", "800000000")
	p.resyncs(p.away, "that of catchment get too", noGain(2))
	ask(8081, "Downlink", "as much as you have")
	ask(8080, "Downlink", "40") // at LON nothing is believed
	if st, err := p.here.ResyncStatus(soon(t)); err != nil || len(st.Jumps.Refused) > 0 {
		t.Errorf("LON makes %+v of it, %v", st.Jumps, err)
	}
	if st, err := p.away.ResyncStatus(soon(t)); err != nil || !noGain(2)(st) {
		t.Errorf("FRA makes %+v of nonsense, %v", st.Jumps, err)
	}
	entries, err := journal.ReadDir(p.file("state")+"/journal", journal.Filter{Kind: journal.Resync})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Text, "goes on") {
			t.Errorf("LON's journal: %s", e.Text)
		}
	}
}
