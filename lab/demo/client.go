package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

// every is the time between the client's requests, in each family.
const every = 20 * time.Millisecond

// tally is what the client saw in one family: every request, in order. It is
// the io.Writer that the client process prints its JSON lines to.
type tally struct {
	family family
	add    func(Event)

	mu      sync.Mutex
	rest    []byte
	answers []serve.Answer
	pop     string // that answered last
	failing bool   // since the last answer
}

// ask starts the client's two processes, one for each family.
func (w *world) ask(add func(Event)) (map[string]*tally, error) {
	out := map[string]*tally{}
	for _, f := range families {
		t := &tally{family: f, add: add}
		p, err := w.lab.Start(clientNode, netlab.Command{Stdout: t, Args: []string{"lab-fetch", "--again",
			"--url", "http://" + strings.TrimSuffix(f.vip.String(), ":80") + "/", "--every", every.String(), "--timeout", "1s"}})
		if err != nil {
			return nil, err
		}
		out[f.name] = t
		w.asking = append(w.asking, p)
	}
	return out, nil
}

// quiet ends the client's processes.
func (w *world) quiet() error {
	var errs []error
	for _, p := range w.asking {
		errs = append(errs, p.Signal(syscall.SIGTERM))
	}
	return errors.Join(errs...)
}

// Write takes the process's output as it comes.
func (t *tally) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, p...)
	for {
		line, rest, ok := bytes.Cut(t.rest, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		t.rest = rest
		var a serve.Answer
		if json.Unmarshal(line, &a) == nil {
			t.take(a)
		}
	}
}

// take notes an answer and says what changed for the client.
func (t *tally) take(a serve.Answer) {
	t.answers = append(t.answers, a)
	e := Event{At: a.End(), Who: "client", Family: t.family.name}
	switch {
	case !a.OK() && !t.failing:
		e.What, e.Detail, e.Alert = "failed", shortError(a), true
		t.add(e)
	case a.OK() && a.Pop != t.pop:
		e.What, e.Detail = "answered", "by "+a.Pop
		t.add(e)
	case a.OK() && t.failing:
		e.What, e.Detail = "answered", "by "+a.Pop+" again"
		t.add(e)
	}
	if t.failing = !a.OK(); a.OK() {
		t.pop = a.Pop
	}
}

// shortError is the last part of an error, without the address.
func shortError(a serve.Answer) string {
	if a.Err == "" {
		return fmt.Sprintf("with status %d", a.Status)
	}
	return strings.TrimSpace(a.Err[strings.LastIndex(a.Err, ": ")+1:])
}

// by is who answered last; empty while requests fail.
func (t *tally) by() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing {
		return ""
	}
	return t.pop
}

// asked is what became of the requests of a time.
type asked struct {
	requests, failed, again int
	median                  time.Duration
}

// between counts the requests that were sent from a time on, up to another.
func between(ts map[string]*tally, from, to time.Time) asked {
	var sum asked
	var took []float64
	for _, t := range ts {
		t.mu.Lock()
		for _, a := range t.answers {
			if a.Time.Before(from) || a.Time.After(to) {
				continue
			}
			sum.requests++
			if a.Again {
				sum.again++
			}
			if !a.OK() {
				sum.failed++
				continue
			}
			took = append(took, a.Millis)
		}
		t.mu.Unlock()
	}
	if len(took) > 0 {
		slices.Sort(took)
		sum.median = time.Duration(took[len(took)/2] * float64(time.Millisecond))
	}
	return sum
}

// first is when a POP first answered a request sent after a time.
func (t *tally) first(pop string, after time.Time) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.answers {
		if a.OK() && a.Pop == pop && !a.Time.Before(after) {
			return a.End(), true
		}
	}
	return time.Time{}, false
}
