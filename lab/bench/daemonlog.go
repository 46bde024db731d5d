package bench

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"sync"
	"time"
)

// daemonLog takes catchmentd's log (JSON), records its verdicts and the BFD
// sessions that come up, and keeps the end of it for errors.
type daemonLog struct {
	rec     *recorder
	routers map[netip.Addr]string

	mu   sync.Mutex
	rest []byte // of a line that is not complete yet
	tail []byte
}

const keptTail = 4 << 10

// Write never fails.
func (l *daemonLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, b...)
	l.tail = l.tail[max(0, len(l.tail)-keptTail):]
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.line(line)
		l.rest = rest
	}
}

func (l *daemonLog) line(line []byte) {
	var r struct {
		Time     time.Time  `json:"time"`
		Msg      string     `json:"msg"`
		Verdict  string     `json:"verdict"`
		State    string     `json:"state"`
		Neighbor netip.Addr `json:"neighbor"`
	}
	if json.Unmarshal(line, &r) != nil {
		return
	}
	switch {
	case r.Msg == "health: verdict" && r.Verdict == "down":
		l.rec.add(event{r.Time, verdictDown, ""})
	case r.Msg == "health: verdict" && r.Verdict == "up":
		l.rec.add(event{r.Time, verdictUp, ""})
	case r.Msg == "bfd: session" && r.State == "up":
		l.rec.add(event{r.Time, watched, l.routers[r.Neighbor]})
	}
}

// String returns the end of the log.
func (l *daemonLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
