package accesslog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Line is a line of the log, as it is read.
type Line struct {
	Time           time.Time `json:"time"`
	Site           string    `json:"site"`
	Client         string    `json:"client"`
	Local          string    `json:"local"`
	Conn           uint64    `json:"conn"`
	Seq            uint64    `json:"seq"`
	Protocol       string    `json:"protocol"`
	TLS            string    `json:"tls"`
	Method         string    `json:"method"`
	Scheme         string    `json:"scheme"`
	Host           string    `json:"host"`
	URI            string    `json:"uri"`
	URICut         bool      `json:"uri_cut"`
	Status         int       `json:"status"`
	Bytes          int64     `json:"bytes"`
	DurationMs     float64   `json:"duration_ms"`
	TTFBMs         float64   `json:"ttfb_ms"`
	Aborted        bool      `json:"aborted"`
	Cache          string    `json:"cache"`
	Reason         string    `json:"reason"`
	Key            string    `json:"key"`
	Range          string    `json:"range"`
	Referer        string    `json:"referer"`
	UserAgent      string    `json:"user_agent"`
	Trace          string    `json:"trace"`
	Upstream       string    `json:"upstream"`
	UpstreamMs     float64   `json:"upstream_ms"`
	UpstreamTTFBMs float64   `json:"upstream_ttfb_ms"`
	Steer          string    `json:"steer"`
	TCP            *TCPLine  `json:"tcp"`
	Sample         float64   `json:"sample"`
	Slow           string    `json:"slow"`
	Dropped        uint64    `json:"dropped"` // lines missing here; nothing else is set then
}

// TCPLine is the part of a line about TCP.
type TCPLine struct {
	Rate        uint64  `json:"rate"` // bytes a second
	AppLimited  bool    `json:"app_limited"`
	RTTMs       float64 `json:"rtt_ms"`
	MinRTTMs    float64 `json:"min_rtt_ms"`
	RwndLimited float64 `json:"rwnd_limited"`
	SndLimited  float64 `json:"snd_limited"`
	Retransmits uint64  `json:"retransmits"`
	Cwnd        uint32  `json:"cwnd"`
}

// ring keeps the last lines.
type ring struct {
	mu    sync.Mutex
	lines [][]byte
	next  int
}

func newRing(n int) *ring { return &ring{lines: make([][]byte, n)} }

// add keeps the last lines of a batch; their memory is used again.
func (r *ring) add(batch []byte) {
	n := len(r.lines)
	if n == 0 {
		return
	}
	if over := bytes.Count(batch, []byte{'\n'}) - n; over > 0 {
		for range over {
			batch = batch[bytes.IndexByte(batch, '\n')+1:]
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(batch) {
		r.lines[r.next] = append(r.lines[r.next][:0], line...)
		r.next = (r.next + 1) % n
	}
}

// Recent returns at most n (negative: all) of the last lines, newest first, for which match
// (nil: all) is true. A line is there as soon as it is on its way to the disk.
func (l *Log) Recent(n int, match func(*Line) bool) []Line {
	var out []Line
	for _, text := range l.recent.newest() {
		var line Line
		if len(out) == n {
			break
		}
		if json.Unmarshal(text, &line) == nil && line.Dropped == 0 && (match == nil || match(&line)) {
			out = append(out, line)
		}
	}
	return out
}

// newest copies the lines, newest first.
func (r *ring) newest() (out [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.lines {
		if line := r.lines[(r.next-1-i+2*len(r.lines))%len(r.lines)]; len(line) > 0 {
			out = append(out, bytes.Clone(line))
		}
	}
	return out
}

// Count is one row of Top.
type Count struct {
	Value    string `json:"value"`
	Requests int    `json:"requests"`
	Bytes    int64  `json:"bytes"`
}

// Tops are what Top can count by.
func Tops() []string {
	return []string{"url", "client", "site", "host", "status", "reason", "user-agent"}
}

// Top counts the last lines by one of Tops and returns the n with most
// requests, or with byBytes those with most bytes. Nil: it cannot count by that.
func (l *Log) Top(by string, n int, byBytes bool) []Count {
	if !slices.Contains(Tops(), by) {
		return nil
	}
	counts := map[string]*Count{}
	for _, line := range l.Recent(-1, nil) {
		v := line.value(by)
		c := counts[v]
		if c == nil {
			c = &Count{Value: v}
			counts[v] = c
		}
		c.Requests++
		c.Bytes += line.Bytes
	}
	out := make([]Count, 0, len(counts))
	for _, c := range counts {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Count) int {
		more := cmp.Compare(b.Requests, a.Requests)
		if byBytes {
			more = cmp.Compare(b.Bytes, a.Bytes)
		}
		return cmp.Or(more, strings.Compare(a.Value, b.Value))
	})
	return out[:min(n, len(out))]
}

func (l *Line) value(by string) string {
	switch by {
	case "url":
		path, _, _ := strings.Cut(l.URI, "?")
		return l.Scheme + "://" + l.Host + path
	case "client":
		if i := strings.LastIndexByte(l.Client, ':'); i > 0 {
			return strings.Trim(l.Client[:i], "[]")
		}
		return l.Client
	case "site":
		return l.Site
	case "host":
		return l.Host
	case "status":
		return strconv.Itoa(l.Status)
	case "reason":
		return strings.TrimSpace(l.Cache + " " + l.Reason)
	}
	return l.UserAgent
}
