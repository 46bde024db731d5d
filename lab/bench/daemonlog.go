package bench

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"
)

// daemonLog takes catchmentd's log (JSON), records its verdicts and keeps
// the end of it for errors.
type daemonLog struct {
	rec *recorder

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
		Time    time.Time `json:"time"`
		Msg     string    `json:"msg"`
		Verdict string    `json:"verdict"`
	}
	if json.Unmarshal(line, &r) != nil || r.Msg != "health: verdict" {
		return
	}
	switch r.Verdict {
	case "down":
		l.rec.add(event{r.Time, verdictDown, ""})
	case "up":
		l.rec.add(event{r.Time, verdictUp, ""})
	}
}

// String returns the end of the log.
func (l *daemonLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
