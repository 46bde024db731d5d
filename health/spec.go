package health

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// Triggers of a run, as State.DetectedBy, Hint.By and metric labels have them.
const (
	ByProbe   = "probe"   // it was time
	BySocket  = "socket"  // the kernel reported a closed socket
	ByProcess = "process" // the kernel reported the end of a process
	ByPoke    = "poke"    // somebody asked for it
)

// Hint says that something a check depends on may have ended. It is no
// verdict: the checks that watch Addr or PIDFile run at once.
type Hint struct {
	Addr    netip.AddrPort // a watched socket, or zero
	PIDFile string         // a watched process, or empty
	By      string         // BySocket or ByProcess
	At      time.Time      // when the kernel's message was read
}

// Bounds of the default fast interval.
const (
	minFast = 50 * time.Millisecond
	maxFast = time.Second
)

// Validate reports what makes the spec impossible to run, naming the check.
func (s *Spec) Validate() error {
	var err error
	switch {
	case s.ID == "":
		err = errors.New("no name")
	case s.Checker == nil:
		err = errors.New("no checker")
	case s.Interval <= 0:
		err = fmt.Errorf("interval %v: must be more than 0", s.Interval)
	case s.Timeout <= 0:
		err = fmt.Errorf("timeout %v: must be more than 0", s.Timeout)
	case s.Fast < 0:
		err = fmt.Errorf("fast %v: must not be negative", s.Fast)
	case !(s.Jitter >= 0 && s.Jitter <= 1):
		err = fmt.Errorf("jitter %v: must be from 0 to 1", s.Jitter)
	case !(s.Weight >= 0):
		err = fmt.Errorf("weight %v: must not be negative", s.Weight)
	}
	if err != nil {
		return fmt.Errorf("service %q check %q: %w", s.Service, s.ID, err)
	}
	return nil
}

// normal returns the spec with its defaults filled in.
func (s Spec) normal() *Spec {
	s.Rise, s.Fall = max(s.Rise, 1), max(s.Fall, 1)
	if s.Fast == 0 {
		s.Fast = min(max(s.Interval/10, minFast), maxFast)
	}
	s.Fast = min(s.Fast, s.Interval)
	return &s
}

// sameProbe reports whether o asks the same question as s, so that what was
// learned by s is still true.
func (s *Spec) sameProbe(o *Spec) bool {
	if s.Key != "" || o.Key != "" {
		return s.Key == o.Key
	}
	t := reflect.TypeOf(s.Checker)
	return t == reflect.TypeOf(o.Checker) && t.Comparable() && s.Checker == o.Checker
}

// sameSchedule reports whether o runs at the same times as s.
func (s *Spec) sameSchedule(o *Spec) bool {
	return s.Interval == o.Interval && s.Fast == o.Fast && s.Timeout == o.Timeout && s.Jitter == o.Jitter
}

func checkSpecs(specs []Spec) error {
	var errs []error
	seen := make(map[key]bool, len(specs))
	for i := range specs {
		s := &specs[i]
		if err := s.Validate(); err != nil {
			errs = append(errs, err)
		}
		k := key{s.Service, s.ID}
		if seen[k] {
			errs = append(errs, fmt.Errorf("service %q check %q: given twice", s.Service, s.ID))
		}
		seen[k] = true
	}
	return errors.Join(errs...)
}

// Watched returns the sockets and PID files that the specs want hints about,
// each once: what to hand to health/socket.
func Watched(specs []Spec) (addrs []netip.AddrPort, pidFiles []string) {
	for i := range specs {
		addrs = append(addrs, specs[i].Watch...)
		if f := specs[i].PIDFile; f != "" {
			pidFiles = append(pidFiles, f)
		}
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	slices.Sort(pidFiles)
	return slices.Compact(addrs), slices.Compact(pidFiles)
}

// Stalled reports whether the runner has done nothing for this check for
// longer than its schedule can explain: the deadman. slack is what to allow
// on top, for a loaded machine. A check that was never run is not stalled
// before it could have been: LastAlive starts when the check is handed over.
func (s *State) Stalled(now time.Time, slack time.Duration) bool {
	longest := s.Spec.Interval + time.Duration(s.Spec.Jitter*float64(s.Spec.Interval)) + s.Spec.Timeout + grace(s.Spec.Timeout)
	return now.Sub(s.LastAlive) > longest+slack
}

// grace is how long after its timeout a run may take to come back before it
// counts as hung.
func grace(timeout time.Duration) time.Duration {
	return min(max(timeout/2, 100*time.Millisecond), 2*time.Second)
}
