package cache

import (
	"strconv"
	"time"
)

const (
	// debugField asks for a trace; traceField is the answer's, one line a step.
	debugField = "Catchment-Debug"
	traceField = "Catchment-Trace"
	// tokenField says who one is, for debugging and PURGE.
	tokenField = "Catchment-Token"
)

// Step is one step of a request's way.
type Step struct {
	// At is the time since the request came.
	At     time.Duration `json:"at"`
	Name   string        `json:"name"`
	Detail string        `json:"detail,omitempty"`
}

// trace collects steps.
type trace struct {
	clock func() time.Time
	began time.Time
	steps []Step
}

// maxSteps bounds a trace.
const maxSteps = 64

func (t *trace) add(name, detail string) {
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, Step{t.clock().Sub(t.began), name, detail})
	}
}

// startTrace begins a trace for those whom the site permits it.
func (x *exchange) startTrace() bool {
	if x.r.Header.Get(debugField) == "" || !x.site.MayDebug(x.peer(), x.r.Header.Get(tokenField)) {
		return true
	}
	x.trace = &trace{clock: x.s.clock, began: x.began}
	x.step("site", x.site.Name)
	return true
}

// writeTrace puts the steps so far into the answer's head.
func (x *exchange) writeTrace() {
	if x.trace == nil {
		return
	}
	var lines []string
	for _, s := range x.trace.steps {
		detail := s.Detail
		if len(detail) > 512 {
			detail = detail[:512]
		}
		lines = append(lines, strconv.FormatInt(s.At.Microseconds(), 10)+"us "+s.Name+": "+printable(detail))
	}
	x.w.Header()[traceField] = lines
}

// printable keeps what a header field may hold.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
