package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/policy"
)

// Check is one check of a service: how it is run, what it counts for, and the
// keys that belong to its type.
type Check struct {
	ID          policy.CheckID
	Interval    time.Duration
	Fast        time.Duration // interval while in doubt
	Timeout     time.Duration
	Jitter      float64
	Rise, Fall  int
	Weight      float64
	Shared      bool
	Maintenance bool
	Watch       []netip.AddrPort
	PIDFile     string
	Probe       probe.Config
}

// statusText lets status: [200] be written with numbers: probe takes text, as
// "2xx" and "200-204" are too.
func statusText(settings map[string]any) {
	services, _ := settings["services"].([]any)
	for i := range services {
		checks, _ := valueAt(services[i], "checks").([]any)
		for k := range checks {
			list, _ := valueAt(checks[k], "status").([]any)
			for n, v := range list {
				if code, ok := v.(int64); ok {
					list[n] = strconv.FormatInt(code, 10)
				}
			}
		}
	}
}

// Spec makes the health runner's order from the check and its checker.
func (c *Check) Spec(service policy.ServiceID, checker health.Checker) health.Spec {
	return health.Spec{
		ID: c.ID, Service: service, Checker: checker, Key: c.Probe.Key(),
		Interval: c.Interval, Fast: c.Fast, Timeout: c.Timeout, Jitter: c.Jitter,
		Rise: c.Rise, Fall: c.Fall, Weight: c.Weight, Shared: c.Shared, Maintenance: c.Maintenance,
		Watch: c.Watch, PIDFile: c.PIDFile,
	}
}

type rawCheck struct {
	Name        string           `mapstructure:"name"`
	Interval    time.Duration    `mapstructure:"interval"`
	Fast        time.Duration    `mapstructure:"fast"`
	Timeout     time.Duration    `mapstructure:"timeout"`
	Jitter      float64          `mapstructure:"jitter"`
	Rise        int              `mapstructure:"rise"`
	Fall        int              `mapstructure:"fall"`
	Weight      float64          `mapstructure:"weight"`
	Shared      bool             `mapstructure:"shared"`
	Maintenance bool             `mapstructure:"maintenance"`
	Watch       []netip.AddrPort `mapstructure:"watch"`
	PIDFile     string           `mapstructure:"pidfile"`
	Assist      bool             `mapstructure:"assist"`
	Probe       probe.Config     `mapstructure:",squash"`
}

// checks checks a service's checks and how they combine.
func (b *builder) checks(path string, r *rawService, s *Service) {
	seen := map[string]bool{}
	judging := 0
	weight := 0.0
	for i := range r.Checks {
		q := path + ".checks[" + strconv.Itoa(i) + "]"
		rc := &r.Checks[i]
		if b.name(q+".name", "name the check", rc.Name) && seen[rc.Name] {
			b.refuse(q+".name", "%q is the name of another check of the service", rc.Name)
		}
		seen[rc.Name] = true
		s.Checks = append(s.Checks, b.check(q, rc))
		if !rc.Shared && !rc.Maintenance {
			judging++
			weight += rc.Weight
		}
	}
	b.judged(path, r, judging, weight)
	b.combine(path+".combine", r, s, judging)
}

// judged makes sure that something says whether the service is up: nothing
// to judge by never means up.
func (b *builder) judged(path string, r *rawService, judging int, weight float64) {
	switch {
	case r.Always:
		if judging > 0 {
			b.warnf(path+".checks", "always is set: the checks are shown and decide nothing")
		}
	case len(r.Checks) == 0:
		b.refuse(path, "no checks: an empty check set never means up; add checks, or always: true for prefixes that do not depend on health")
	case judging == 0:
		b.refuse(path+".checks", "only shared and maintenance checks: none of them says whether the service is up")
	case r.Combine.Mode == "weights" && weight <= 0:
		b.refuse(path+".checks", "the weights sum to zero: none of them says whether the service is up")
	}
}

func (b *builder) combine(path string, r *rawService, s *Service, judging int) {
	c := r.Combine
	b.oneOf(path+".mode", c.Mode, "all", "any", "quorum", "weights")
	b.share(path+".degraded-below", c.DegradedBelow)
	b.share(path+".down-below", c.DownBelow)
	if c.DownBelow > c.DegradedBelow {
		b.refuse(path+".down-below", "%v is above degraded-below (%v)", c.DownBelow, c.DegradedBelow)
	}
	switch {
	case c.Mode == "quorum" && (c.Quorum < 1 || c.Quorum > judging):
		b.refuse(path+".quorum", "%d: want 1 to %d, the number of checks that are not shared or maintenance", c.Quorum, judging)
	case c.Mode != "quorum" && c.Quorum != 0:
		b.refuse(path+".quorum", "%d, but mode is %s", c.Quorum, c.Mode)
	}
	s.Combine = health.Rule{
		Mode: health.Mode(c.Mode), Quorum: c.Quorum, DegradedBelow: c.DegradedBelow, DownBelow: c.DownBelow,
	}
}

func (b *builder) check(path string, r *rawCheck) Check {
	// The defaults of fast and timeout follow a shorter interval.
	if b.defaulted[path+".fast"] {
		r.Fast = min(r.Fast, r.Interval)
	}
	if b.defaulted[path+".timeout"] {
		r.Timeout = min(r.Timeout, r.Interval)
	}
	b.positive(path+".interval", r.Interval)
	b.positive(path+".fast", r.Fast)
	b.positive(path+".timeout", r.Timeout)
	if r.Interval > 0 && r.Fast > r.Interval {
		b.refuse(path+".fast", "%s is longer than interval (%s)", r.Fast, r.Interval)
	}
	if r.Interval > 0 && r.Timeout > r.Interval {
		b.warnf(path+".timeout", "%s is longer than interval (%s): a check that hangs is run less often", r.Timeout, r.Interval)
	}
	b.atLeast(path+".rise", r.Rise, 1)
	b.atLeast(path+".fall", r.Fall, 1)
	b.share(path+".jitter", r.Jitter)
	if r.Weight < 0 {
		b.refuse(path+".weight", "%v: want zero or more", r.Weight)
	}
	if r.Shared && r.Maintenance {
		b.refuse(path+".maintenance", "a check is shared or maintenance, not both")
	}
	if r.PIDFile != "" && !filepath.IsAbs(r.PIDFile) {
		b.refuse(path+".pidfile", "%q: want an absolute path", r.PIDFile)
	}
	if err := r.Probe.Validate(); err != nil {
		if key, msg, ok := strings.Cut(err.Error(), ": "); ok && !strings.Contains(key, " ") {
			b.refuse(path+"."+key, "%s", msg)
		} else {
			b.refuse(path, "%v", err)
		}
	}
	switch {
	case !r.Assist:
		r.Watch, r.PIDFile = nil, ""
	case len(r.Watch) == 0:
		r.Watch = r.Probe.Watch()
	}
	return Check{
		ID: policy.CheckID(r.Name), Interval: r.Interval, Fast: r.Fast, Timeout: r.Timeout,
		Jitter: r.Jitter, Rise: r.Rise, Fall: r.Fall, Weight: r.Weight,
		Shared: r.Shared, Maintenance: r.Maintenance, Watch: r.Watch, PIDFile: r.PIDFile, Probe: r.Probe,
	}
}
