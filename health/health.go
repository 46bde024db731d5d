// Package health watches what a POP serves. A Check is run by the Runner,
// gives Results, and rise and fall turn them into a damped verdict; Combine
// turns the verdicts of a service's checks into what policy wants to know.
//
// The Runner owns every check goroutine. A check that hangs, panics or cannot
// run is unknown, never down and never up. Hints (health/socket) start a check
// at once; a confirmed refusal is a verdict without waiting for fall.
package health

import (
	"context"
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/damp"
)

// Outcome is what one run of a check said.
type Outcome = damp.Outcome

// Outcomes. CannotTell is the zero value: a check that did not say anything.
const (
	CannotTell = damp.CannotTell // could not run, panicked, hung: counts for nothing
	Pass       = damp.Pass
	Warn       = damp.Warn // works, but not fully: counts as passed, verdict degraded
	Fail       = damp.Fail
)

// Result is what one run of a check said.
type Result struct {
	Outcome Outcome
	// Conclusive means that this one result is a verdict: the kernel said
	// that nobody listens. Rise and fall are not waited for.
	Conclusive bool
	Detail     string        // for people, one line, e.g. "connect 192.0.2.1:80: connection refused"
	Started    time.Time     // monotonic
	Latency    time.Duration // of the whole run
}

// Checker runs one probe. The Runner ends ctx when the timeout is over
// (context.Cause is context.DeadlineExceeded then) and the checker returns at
// once; one that does not is left behind and counted as hung. ctx carries no
// deadline of its own, because the Runner may grant more time: a probe that was
// starved of CPU together with the whole daemon has not failed. A checker is
// called from several goroutines at a time.
type Checker interface {
	Check(ctx context.Context) Result
}

// Spec is how a check is run and what its verdict counts for.
type Spec struct {
	ID      policy.CheckID
	Service policy.ServiceID
	Checker Checker
	// Key tells two configurations of the checker apart, whatever else is in
	// the Spec: a reload with an equal key keeps verdict, counts and schedule.
	// Where it is empty the checkers themselves are compared.
	Key string

	Interval time.Duration // between starts of runs while the verdict is certain
	Fast     time.Duration // the same while in doubt; 0: Interval/10, at least 50 ms, at most 1 s
	Timeout  time.Duration
	Jitter   float64 // share of Interval by which each start is moved at random, 0..1
	Rise     int     // passes in a row until up
	Fall     int     // fails in a row until down

	Weight      float64 // share of the service's capacity behind this check
	Shared      bool    // a dependency of the POP: lowers preference, never withdraws
	Maintenance bool    // down asks for a drain, not for a withdraw

	// Watch names the sockets whose closing is a hint, and PIDFile the
	// process whose end is one. Both may be empty.
	Watch   []netip.AddrPort
	PIDFile string
}

// State is a check as it is now.
type State struct {
	Spec       *Spec
	Verdict    policy.Verdict
	Since      time.Time // of Verdict
	Last       Result
	Streak     int       // results of the last outcome in a row
	InDoubt    bool      // between verdicts: probed at the fast interval
	Hung       int       // runs that did not come back
	LastAlive  time.Time // when the runner last did anything for this check (deadman)
	DetectedBy string    // what led to the verdict: "probe" or "socket" or "process"
	DetectedAt time.Time // when the deciding result or hint came, for latency figures
}
