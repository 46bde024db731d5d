package resync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/pop/api"
)

// What a thousand downloads are: the client's kernel gives each connection a
// small buffer, so that each is as slow as a window of that a round trip, and
// none is held up by another; the object takes some ten seconds then.
const (
	many      = 1000
	fileSize  = 300_000
	spread    = 2 * time.Second
	soFar     = 40_000           // bytes that each has before anything happens
	smallRmem = "4096 8192 8192" // net.ipv4.tcp_rmem, which is IPv6's too
	longest   = 60 * time.Second // for each download
	farRTT    = 120 * time.Millisecond
)

// running is a lab-downloads at work.
type running struct {
	p    *netlab.Process
	mu   sync.Mutex
	rest []byte
	last said
	bad  error
	// ports are those of the clients' first connections, once all have begun.
	ports []uint16
}

// Write gets its output.
func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, b...)
	for {
		line, rest, ok := bytes.Cut(r.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		r.rest = rest
		var s said
		if err := json.Unmarshal(line, &s); err != nil {
			r.bad = fmt.Errorf("lab-downloads: %w: %s", err, line)
		}
		r.last = s
		if s.Ports != nil {
			r.ports = s.Ports
		}
	}
}

func (r *running) now() (said, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.bad
}

// crowd starts downloads at the client and waits until each has begun and has
// some bytes.
func (w *lab) crowd(ctx context.Context, url, sum string) (*running, error) {
	r := &running{}
	var err error
	r.p, err = w.Start("client", netlab.Command{Stdout: r, Args: []string{"lab-downloads", "--url", url, "--sha256", sum, "--n", strconv.Itoa(many), "--spread", spread.String(), "--limit", longest.String()}})
	if err != nil {
		return nil, err
	}
	return r, eventually(ctx, "all downloads are under way", func(context.Context) error {
		s, err := r.now()
		if err == nil && (s.Begun < many || s.Least < soFar) {
			err = fmt.Errorf("%d of %d have begun, with %d bytes at least", s.Begun, many, s.Least)
		}
		if s.Ended > 0 {
			err = fmt.Errorf("%d have ended before all had begun", s.Ended)
		}
		return err
	})
}

// knows waits until FRA has been told of each of the downloads. That it knows of
// as many flows says nothing: it may know of some that are over, but that LON
// has not given up yet.
func (w *lab) knows(ctx context.Context, r *running) error {
	return eventually(ctx, "FRA knows of all downloads", func(ctx context.Context) error {
		out, err := w.sh(ctx, "fra", "catchment resync flows LON --limit 0 -j")
		if err != nil {
			return err
		}
		var all []api.ResyncFlow
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return err
		}
		known := map[uint16]bool{}
		for i := range all {
			if client, err := netip.ParseAddrPort(all[i].Client); err == nil {
				known[client.Port()] = true
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		missing := 0
		for _, port := range r.ports {
			if !known[port] {
				missing++
			}
		}
		if missing > 0 || len(r.ports) < many {
			return fmt.Errorf("of %d downloads %d are not known there, of %d known flows", len(r.ports), missing, len(all))
		}
		return nil
	})
}

// end waits for all downloads.
func (r *running) end(ctx context.Context) ([]one, error) {
	ctx, cancel := context.WithTimeout(ctx, longest+patience)
	defer cancel()
	if err := r.p.Wait(ctx); err != nil {
		return nil, err
	}
	s, err := r.now()
	if err == nil && len(s.Flows) != many {
		err = errors.New("lab-downloads said nothing at its end")
	}
	return s.Flows, err
}

// count makes the client count segments with data that come to it from the VIP,
// by IPv4 and by the length of TCP's header, so that what they carry is known to
// the byte.
func (w *lab) count(ctx context.Context) error {
	rules := "tcp flags & (syn|rst) != 0 accept; "
	for words := 5; words <= 15; words++ {
		rules += fmt.Sprintf("tcp doff %d counter accept; ", words)
	}
	_, err := w.sh(ctx, "client", "nft 'table inet count; delete table inet count; table inet count { chain in { type filter hook input priority 0; "+
		"ip saddr "+vip4+" tcp sport 80 goto vip; }; chain vip { "+rules+"}; }'")
	return err
}

// counted is how many bytes of payload have come since count.
func (w *lab) counted(ctx context.Context) (int64, error) {
	out, err := w.sh(ctx, "client", "nft list table inet count")
	if err != nil {
		return 0, err
	}
	return payloadOf(out)
}

// payloadOf reads the rules of count as nft lists them.
func payloadOf(list string) (payload int64, err error) {
	rules := 0
	for line := range strings.Lines(list) {
		var words, packets, bytes int64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "tcp doff %d counter packets %d bytes %d", &words, &packets, &bytes); err != nil {
			continue
		}
		rules++
		payload += bytes - packets*(20+4*words)
	}
	if rules != 11 {
		err = fmt.Errorf("%d counters of 11: %s", rules, list)
	}
	return payload, err
}

// result is what became of the downloads of one run.
type result struct {
	name    string
	n       int
	whole   int // byte by byte
	failed  int
	resyncs int
	again   int64           // bytes that the worst flow fetched twice: read from all connections, without heads, beyond the object
	late    float64         // bytes a flow that came to the client's host and were of no use, sent again and again ones too
	told    []time.Duration // after the route
	broke   []time.Duration // after the route
	gaps    []time.Duration
	took    []time.Duration
	errors  map[string]int
	stages  *stages
}

// judge sums up; route is when the router changed its route.
func judge(name string, flows []one, route time.Time, payload int64) result {
	r := result{name: name, n: len(flows), errors: map[string]int{}}
	useful := int64(0)
	for i := range flows {
		f := &flows[i]
		if f.Right {
			r.whole++
		}
		if f.Err != "" {
			r.failed++
			r.errors[f.Err]++
		}
		r.resyncs += f.Resyncs
		r.took = append(r.took, f.Took)
		if f.Resyncs > 0 {
			r.gaps = append(r.gaps, f.Gap)
		}
		switch {
		case !f.Told.IsZero():
			r.told = append(r.told, f.Told.Sub(route))
		case !f.Broke.IsZero(): // a read heard it, and closed the connection, before lab-told could
			r.told = append(r.told, f.Broke.Sub(route))
		}
		if !f.Broke.IsZero() {
			r.broke = append(r.broke, f.Broke.Sub(route))
		}
		r.again = max(r.again, f.Read-f.Bytes-f.Heads)
		useful += f.Bytes + f.Heads
	}
	r.late = float64(payload-useful) / float64(r.n)
	slices.Sort(r.took)
	slices.Sort(r.told)
	slices.Sort(r.broke)
	slices.Sort(r.gaps)
	return r
}

// of is a quantile of sorted times.
func of(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
