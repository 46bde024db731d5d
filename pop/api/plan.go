package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Planner says what would happen if, and does nothing.
type Planner interface {
	// Plan fails with Invalid for a question that makes no sense and with
	// NotFound for one about what does not exist.
	Plan(context.Context, PlanRequest) (Plan, error)
}

// PlanRequest is a what-if question. What it supposes happens now, all at
// once; everything else stays as it is: checks keep their verdicts, and other
// POPs that are heard now are heard on and do what they do.
type PlanRequest struct {
	Suppose []Supposition `json:"suppose"`
	// For is how far to look ahead; 0: PlanHorizon.
	For Duration `json:"for,omitempty"`
}

// PlanHorizon is how far a plan looks ahead unless it is told otherwise, and
// PlanLimit how far it may be told to.
const (
	PlanHorizon = time.Hour
	PlanLimit   = 24 * time.Hour
)

// SupposeKind is the kind of a Supposition.
type SupposeKind string

// Suppositions. Those of an operator's words take Service, or Slice, or
// neither for the whole POP, and Force and For as the words themselves do.
// With POP, or with its name as Service, it is another POP that does it: what
// its own guards would say to it is not asked.
const (
	SupposeDrain    SupposeKind = "drain"    // Wait: instead of drain.wait
	SupposeUndrain  SupposeKind = "undrain"  // the drains of it end
	SupposeHold     SupposeKind = "hold"     //
	SupposePin      SupposeKind = "pin"      // to Stance, or to Rung
	SupposePrepend  SupposeKind = "prepend"  // a pin to Rung, or to the rung that prepends so many times more than normal
	SupposeWithdraw SupposeKind = "withdraw" // a pin to withdraw: at once, without a drain
	SupposeRelease  SupposeKind = "release"  // the holds and pins of it end
	SupposeStop     SupposeKind = "stop"     // the daemon is told to stop
	SupposeCheck    SupposeKind = "check"    // Check of Service (empty: all its checks) says Verdict
	SupposePOP      SupposeKind = "pop"      // POP is Is: gone, silent, down or up
	SupposeCapacity SupposeKind = "capacity" // POP can carry Capacity times what it can now
	SupposeNeighbor SupposeKind = "neighbor" // Neighbor is Is: up or down
	SupposeConfig   SupposeKind = "config"   // a reload with Config, which is a whole file; takes the right to change things
)

// What another POP or a neighbor may be supposed to be, in Supposition.Is.
const (
	IsGone   = "gone"   // heard, and announces nothing
	IsSilent = "silent" // not heard any more
	IsDown   = "down"   // a POP: its checks say down, and it wants to leave; a neighbor: the session is down
	IsUp     = "up"     // a POP: heard, healthy, announces every slice of ours; a neighbor: the session is established
)

// Supposition is one thing that is supposed to happen.
type Supposition struct {
	Kind    SupposeKind      `json:"kind"`
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	Check   policy.CheckID   `json:"check,omitempty"`
	Verdict policy.Verdict   `json:"verdict,omitempty"` // with check: up, degraded, down or unknown
	Stance  *policy.Stance   `json:"stance,omitempty"`  // with pin
	Wait    Duration         `json:"wait,omitempty"`
	For     Duration         `json:"for,omitempty"`
	Force   bool             `json:"force,omitempty"`
	POP     policy.POPID     `json:"pop,omitempty"`
	// Rung is the name of a rung, with pin and prepend, or how often it
	// prepends more than normal, with prepend.
	Rung     string  `json:"rung,omitempty"`
	Capacity float64 `json:"capacity,omitempty"` // with capacity: 0.7 of what it is
	// Neighbor is the address of a BGP neighbor.
	Neighbor netip.Addr `json:"neighbor,omitzero"`
	Is       string     `json:"is,omitempty"`
	Config   string     `json:"config,omitempty"` // the text of the file
	Format   string     `json:"format,omitempty"` // of Config: "yaml" (empty too) or "toml"
}

// Plan is what would happen, by the same code that decides.
type Plan struct {
	POP     policy.POPID `json:"pop"`
	Now     time.Time    `json:"now"`
	Suppose []string     `json:"suppose"` // what is supposed, in words
	Until   Duration     `json:"until"`   // how far was looked ahead, from Now
	// Settled: after the last step nothing would change by time alone.
	Settled bool        `json:"settled"`
	Slices  []PlanSlice `json:"slices"` // every slice, those of no step too
	// Changes, with a configuration, are what of it is another, a line each.
	Changes []string `json:"changes,omitempty"`
	// Refused, with a configuration, is why a reload would change nothing;
	// there are no steps then.
	Refused string   `json:"refused,omitempty"`
	Notes   []string `json:"notes,omitempty"` // what the plan takes for granted, or cannot know
	// Loads is who would carry how much in the end; nil where no announcement
	// and no capacity changes.
	Loads *PlanLoads `json:"loads,omitempty"`
	// Alternative is the cheapest of those that were Compared, where that is
	// not what is supposed itself.
	Alternative *PlanAlternative `json:"alternative,omitempty"`
	Compared    int              `json:"compared,omitempty"`
}

// PlanSlice is what would become of a slice.
type PlanSlice struct {
	Slice   policy.SliceID   `json:"slice"`
	Service policy.ServiceID `json:"service"`
	Cover   bool             `json:"cover,omitempty"`
	Before  PlanStance       `json:"before"`
	After   PlanStance       `json:"after"`
	// Steps lead from Before to After, in the order of time; none: what is
	// announced stays as it is.
	Steps      []PlanStep      `json:"steps,omitempty"`
	Objections []PlanObjection `json:"objections,omitempty"`
	Advice     []string        `json:"advice,omitempty"` // what an operator can do about it, a sentence each
}

// Changes reports whether anything would become of the slice because of what
// is supposed.
func (s PlanSlice) Changes() bool {
	for _, st := range s.Steps {
		if !st.Anyway {
			return true
		}
	}
	return false
}

// PlanStance is what the POP does with a slice at a moment of the plan.
type PlanStance struct {
	Stance policy.Stance `json:"stance"`
	Rung   string        `json:"rung,omitempty"` // its name, while announced
	Reason policy.Reason `json:"reason"`
	// Announced is what routers would hear; nil while withdrawn.
	Announced *Attributes `json:"announced,omitempty"`
	// HeardBy are the neighbors with an established session that it is
	// announced to.
	HeardBy []netip.Addr `json:"heard_by,omitempty"`
}

// PlanStep is one change.
type PlanStep struct {
	At Duration `json:"at"` // from Now
	// When says what the time is made of: "at once", "after the drain wait", ...
	When string `json:"when"`
	PlanStance
	// Anyway: the same would happen at that time without what is supposed.
	Anyway bool `json:"anyway,omitempty"`
}

// PlanObjection is what a guard would say against a change, and what would be
// done instead.
type PlanObjection struct {
	GuardStatus
	At Duration `json:"at"` // from Now, when it would first say so
	// Ends is when it would no longer object; zero: not as far as was looked.
	Ends    Duration      `json:"ends,omitempty"`
	Wanted  policy.Stance `json:"wanted"`
	Instead policy.Stance `json:"instead"`
	Rung    string        `json:"rung,omitempty"`   // the name of Instead's rung, while announced
	Anyway  bool          `json:"anyway,omitempty"` // it objects now already
}

// Validate says what of a request makes no sense whatever the POP is.
func (r PlanRequest) Validate() error {
	if len(r.Suppose) == 0 {
		return Errorf(Invalid, "plan: nothing is supposed")
	}
	if len(r.Suppose) > 100 {
		return Errorf(Invalid, "plan: at most 100 suppositions")
	}
	if d := time.Duration(r.For); d < 0 || d > PlanLimit {
		return Errorf(Invalid, "plan: for %v: at most %v", d, PlanLimit)
	}
	for _, s := range r.Suppose {
		if err := s.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (s Supposition) validate() error {
	bad := func(format string, args ...any) error {
		return Errorf(Invalid, "plan "+string(s.Kind)+": "+format, args...)
	}
	if p := s.Slice.Prefix(); p.IsValid() && p != p.Masked() {
		return bad("slice %v has host bits; meant is %v", p, p.Masked())
	}
	if s.Wait < 0 || s.For < 0 {
		return bad("wait and for are not negative")
	}
	if err := s.validateRung(bad); err != nil {
		return err
	}
	oneOf := func(what string, all ...string) error {
		for _, a := range all {
			if s.Is == a {
				return nil
			}
		}
		return bad("%s is %q: want one of %v", what, s.Is, all)
	}
	switch s.Kind {
	case SupposeDrain, SupposeUndrain, SupposeHold, SupposePin, SupposePrepend, SupposeWithdraw, SupposeRelease:
		return nil
	case SupposeCapacity:
		if !(s.Capacity > 0 && s.Capacity <= 100) {
			return bad("%v: want how much of what it is, more than 0, such as 0.7", s.Capacity)
		}
		return nil
	case SupposeStop:
		if s.Service != "" || s.Slice.Prefix().IsValid() {
			return bad("it is of the whole daemon: use drain for a service or a slice")
		}
		return nil
	case SupposeCheck:
		if s.Service == "" {
			return bad("no service")
		}
		return nil
	case SupposePOP:
		return oneOf("POP "+string(s.POP), IsGone, IsSilent, IsDown, IsUp)
	case SupposeNeighbor:
		return oneOf("neighbor "+s.Neighbor.String(), IsUp, IsDown)
	case SupposeConfig:
		if s.Format != "" && s.Format != "yaml" && s.Format != "toml" {
			return bad("format %q: want yaml or toml", s.Format)
		}
		return nil
	}
	return Errorf(Invalid, "plan: no kind %q", s.Kind)
}

// validateRung looks at what a pin is to.
func (s Supposition) validateRung(bad func(string, ...any) error) error {
	switch {
	case s.Kind == SupposePrepend && (s.Rung == "" || s.Stance != nil):
		return bad("want a rung: its name, or how often it prepends")
	case s.Kind == SupposePin && (s.Stance == nil) == (s.Rung == ""):
		return bad("a stance is needed, or the name of a rung")
	case s.Kind != SupposePin && s.Kind != SupposePrepend && (s.Stance != nil || s.Rung != ""):
		return bad("a stance or a rung has a meaning only with pin and prepend")
	case (s.Kind == SupposeCapacity) != (s.Capacity != 0):
		return bad("a capacity is needed with capacity, and has no meaning otherwise")
	}
	return nil
}

// maxPlan bounds the body of a plan request that may hold a configuration.
const maxPlan = 4 << 20

// plan answers a what-if question. To ask is to read, but for a configuration:
// what that takes of time and memory is up to who wrote it, and the answer says
// how it differs from the one in force.
func (s *Server) plan(ctx context.Context, r PlanRequest) (Plan, error) {
	if err := r.Validate(); err != nil {
		return Plan{}, err
	}
	if slices.ContainsFunc(r.Suppose, func(s Supposition) bool { return s.Kind == SupposeConfig }) {
		if err := callerOf(ctx).mayChange(); err != nil {
			return Plan{}, fmt.Errorf("plan config: %w", err)
		}
	}
	return s.opt.Backend.Plan(ctx, r)
}

// planned is plan over HTTP.
func (s *Server) planned(r *http.Request) (any, error) {
	var req PlanRequest
	most := int64(maxRequest)
	if Trusted(r.Context()) {
		most = maxPlan
	}
	if err := decode(r, &req, most); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	return s.plan(ctx, req)
}

// Plan asks what would happen if.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	return post[Plan](ctx, c, "plan", r)
}
