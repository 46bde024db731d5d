package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// planFlags are the flags of every plan.
type planFlags struct {
	checks, pops, neighbors []string
	horizon                 time.Duration
	strict                  bool
}

// planWhat reads the arguments of one kind of plan.
type planWhat func(args []string) (api.Supposition, error)

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "What would happen if: nothing is done",
		Long: `What would happen if, by the same code that decides, without doing anything:
what would be announced slice by slice and when, where the load would go, which
guards would object and what they would do instead, and what you can do about
it, or instead.

Loads are what each POP carries now, as measured and told, and where they go is
what was observed, measured or configured (matrix in the configuration). Each is
the share of what the POP can carry, with the interval in which it lies in 95 of
100 cases. What is not known is said so. Whatever would be too much somewhere is
compared with what could be done instead: nobody overloaded comes first, then
what was asked for, then cost and distance, then how much moves.

Everything else is taken to stay as it is: checks keep their verdicts, and other
POPs that are heard go on as they are. --check, --pop and --neighbor suppose more
at the same time, with any of the commands.

With --strict the exit status is 1 where a guard would object to the end, so that
` + "`catchment plan drain web --strict && catchment drain web`" + ` drains only if it can.`,
		Example: `  catchment plan drain web
  catchment plan withdraw LON
  catchment plan prepend 192.0.2.0/24 3
  catchment plan capacity LON=0.7
  catchment plan drain web --pop FRA=gone
  catchment plan check web/http=down
  catchment plan config /etc/catchment/catchment.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(args[0], subcommands(cmd)))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringArrayVar(&f.checks, "check", nil, "suppose also that a check says so: `SERVICE/CHECK=down` (up, degraded, unknown)")
	flags.StringArrayVar(&f.pops, "pop", nil, "suppose also that another POP is so: `POP=gone` (silent, down, up)")
	flags.StringArrayVar(&f.neighbors, "neighbor", nil, "suppose also that a BGP session is so: `ADDRESS=down` (up)")
	flags.DurationVar(&f.horizon, "horizon", api.PlanHorizon, "how far to look ahead")
	flags.BoolVar(&f.strict, "strict", false, "exit with 1 where a guard would object to the end")
	a.completeFlag(cmd, "check", to(checkNames, "down", "up", "degraded", "unknown"))
	a.completeFlag(cmd, "pop", to(otherPOPNames, api.IsGone, api.IsSilent, api.IsDown, api.IsUp))
	a.completeFlag(cmd, "neighbor", to(neighborNames, api.IsDown, api.IsUp))
	cmd.AddCommand(a.planIntents(&f)...)
	cmd.AddCommand(a.planInputs(&f)...)
	return cmd
}

func subcommands(cmd *cobra.Command) map[string]bool {
	out := map[string]bool{}
	for _, c := range cmd.Commands() {
		out[c.Name()] = true
	}
	return out
}

// planIntents are the plans of what an operator may ask for.
func (a *app) planIntents(f *planFlags) []*cobra.Command {
	of := either(serviceNames, sliceNames, popNames)
	what := func(kind api.SupposeKind) string {
		if kind == api.SupposeHold || kind == api.SupposeRelease {
			return "[SERVICE|SLICE]" // what other POPs hold is not told
		}
		return "[SERVICE|SLICE|POP]"
	}
	intent := func(kind api.SupposeKind, short, example string) *cobra.Command {
		var change changeFlags
		cmd := a.planOf(f, &cobra.Command{
			Use: string(kind) + " " + what(kind), Short: short, Example: example, Args: cobra.MaximumNArgs(1),
		}, func(args []string) (api.Supposition, error) { return change.suppose(kind, args) })
		switch kind {
		case api.SupposeDrain:
			change.strong(cmd)
			cmd.Flags().DurationVar(&change.wait, "within", 0, "longest de-preferred stay, instead of the service's drain.wait")
		case api.SupposeWithdraw:
			change.strong(cmd)
		case api.SupposeHold:
			cmd.Flags().DurationVar(&change.span, "for", 0, "ends by itself after this time; 0: when it is released")
		}
		return a.completed(cmd, of)
	}
	var change changeFlags
	pin := a.planOf(f, &cobra.Command{
		Use: "pin [SERVICE|SLICE|POP] STANCE", Short: "A pin: announce, withdraw, or a rung by its name or number", Args: cobra.RangeArgs(1, 2),
		Example: "  catchment plan pin web backup\n  catchment plan pin 192.0.2.0/24 withdraw --for 10m",
	}, func(args []string) (api.Supposition, error) {
		s, err := change.suppose(api.SupposePin, args[:len(args)-1])
		s.Stance, s.Rung = stanceOrRung(args[len(args)-1])
		return s, err
	})
	change.strong(pin)
	prepend := a.planOf(f, &cobra.Command{
		Use: "prepend [SERVICE|SLICE|POP] N|RUNG", Short: "A pin to the rung that prepends N times more, or to a rung by its name", Args: cobra.RangeArgs(1, 2),
		Example: "  catchment plan prepend web 3\n  catchment plan prepend 192.0.2.0/24 backup",
	}, func(args []string) (api.Supposition, error) {
		s, err := change.suppose(api.SupposePrepend, args[:len(args)-1])
		s.Rung = args[len(args)-1]
		return s, err
	})
	change.strong(prepend)
	return []*cobra.Command{
		intent(api.SupposeDrain, "A drain: de-prefer, wait, withdraw", "  catchment plan drain web\n  catchment plan drain 2001:db8:100::/48 --force\n  catchment plan drain                    # the whole POP\n  catchment plan drain FRA                # another POP: its guards are not asked"),
		intent(api.SupposeUndrain, "The end of a drain", "  catchment plan undrain web"),
		intent(api.SupposeWithdraw, "A withdraw at once, without a drain", "  catchment plan withdraw web --for 10m"),
		intent(api.SupposeHold, "A hold: what health would have changed stays", "  catchment plan hold web --check web/http=down"),
		intent(api.SupposeRelease, "The end of holds and pins", "  catchment plan release web"),
		a.completed(pin, of, nil),
		a.completed(prepend, of, nil),
		a.planOf(f, &cobra.Command{
			Use: "stop", Short: "The daemon is told to stop", Example: "  catchment plan stop", Args: cobra.NoArgs,
		}, func([]string) (api.Supposition, error) { return api.Supposition{Kind: api.SupposeStop}, nil }),
	}
}

// planInputs are the plans of what may happen by itself.
func (a *app) planInputs(f *planFlags) []*cobra.Command {
	return []*cobra.Command{
		a.completed(a.planOf(f, &cobra.Command{
			Use: "check SERVICE[/CHECK]=VERDICT", Short: "A check, or all of a service, says up, degraded, down or unknown", Args: cobra.ExactArgs(1),
			Example: "  catchment plan check web/http=down\n  catchment plan check web=down",
		}, func(args []string) (api.Supposition, error) { return supposeCheck(args[0]) }), to(either(checkNames, serviceNames), "down", "up", "degraded", "unknown")),
		a.completed(a.planOf(f, &cobra.Command{
			Use: "pop POP=gone|silent|down|up", Short: "Another POP announces nothing, is not heard, fails, or is fine", Args: cobra.ExactArgs(1),
			Example: "  catchment plan pop FRA=gone\n  catchment plan pop FRA=silent --check web/http=down",
		}, func(args []string) (api.Supposition, error) { return supposePOP(args[0]) }), to(otherPOPNames, api.IsGone, api.IsSilent, api.IsDown, api.IsUp)),
		a.completed(a.planOf(f, &cobra.Command{
			Use: "capacity POP=PART", Short: "A POP can carry another part of what it can", Args: cobra.ExactArgs(1),
			Example: "  catchment plan capacity LON=0.7",
		}, func(args []string) (api.Supposition, error) { return supposeCapacity(args[0]) }), to(popNames, "0.9", "0.7", "0.5")),
		a.completed(a.planOf(f, &cobra.Command{
			Use: "neighbor ADDRESS=down|up", Short: "A BGP session is lost, or comes up", Args: cobra.ExactArgs(1),
			Example: "  catchment plan neighbor 10.0.0.2=down",
		}, func(args []string) (api.Supposition, error) { return supposeNeighbor(args[0]) }), to(neighborNames, api.IsDown, api.IsUp)),
		a.planOf(f, &cobra.Command{
			Use: "config FILE", Short: "A reload with another configuration", Args: cobra.ExactArgs(1),
			Example: "  catchment plan config /etc/catchment/catchment.yaml",
		}, func(args []string) (api.Supposition, error) { return supposeConfig(args[0]) }),
	}
}

// planOf makes cmd one that asks for a plan.
func (a *app) planOf(f *planFlags, cmd *cobra.Command, what planWhat) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := what(args)
		if err != nil {
			return err
		}
		req, err := f.request(s)
		if err != nil {
			return err
		}
		return a.withClient(func(c *api.Client) error { return a.plan(cmd.Context(), c, req, f.strict) })
	}
	return cmd
}

// errObjected is for --strict.
var errObjected = errors.New("a guard would object")

func (a *app) plan(ctx context.Context, c *api.Client, req api.PlanRequest, strict bool) error {
	p, err := c.Plan(ctx, req)
	if err != nil {
		return err
	}
	if err := a.print(p, func(w io.Writer) { writePlan(w, p) }); err != nil {
		return err
	}
	if p.Refused != "" {
		return errors.New("a reload with it would be refused, and change nothing")
	}
	if strict && objected(p) {
		return errObjected
	}
	return nil
}

// objected reports whether a guard keeps something to the end that is supposed.
func objected(p api.Plan) bool {
	for _, s := range p.Slices {
		for _, o := range s.Objections {
			if !o.Anyway && o.Ends == 0 {
				return true
			}
		}
	}
	return false
}

func (f *planFlags) request(s api.Supposition) (api.PlanRequest, error) {
	req := api.PlanRequest{Suppose: []api.Supposition{s}, For: api.Duration(f.horizon)}
	if f.horizon <= 0 || f.horizon > api.PlanLimit {
		return req, usagef("--horizon %v: more than nothing, and at most %v", f.horizon, api.PlanLimit)
	}
	for _, more := range []struct {
		values []string
		parse  func(string) (api.Supposition, error)
	}{{f.checks, supposeCheck}, {f.pops, supposePOP}, {f.neighbors, supposeNeighbor}} {
		for _, v := range more.values {
			s, err := more.parse(v)
			if err != nil {
				return req, err
			}
			req.Suppose = append(req.Suppose, s)
		}
	}
	return req, nil
}

// suppose makes a supposition of an operator's word.
func (f *changeFlags) suppose(kind api.SupposeKind, args []string) (api.Supposition, error) {
	s := api.Supposition{Kind: kind, Wait: api.Duration(f.wait), For: api.Duration(f.span), Force: f.force}
	if f.wait < 0 || f.span < 0 {
		return s, usagef("a duration is not negative")
	}
	if len(args) == 0 {
		return s, nil
	}
	if strings.Contains(args[0], "/") {
		p, err := prefixOf("SLICE", args[0])
		s.Slice = policy.SliceID(p)
		return s, err
	}
	s.Service = policy.ServiceID(args[0])
	return s, nil
}

// parseStance reads what a pin is to: announce, withdraw, or a rung.
func parseStance(arg string) (policy.Stance, error) {
	switch arg {
	case "announce":
		return policy.Stance{Action: policy.Announce}, nil
	case "withdraw":
		return policy.Stance{}, nil
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 {
		return policy.Stance{}, usagef("STANCE %q: want announce, withdraw, or the number of a rung (0 is normal, 1 the first of the ladder)", arg)
	}
	return policy.Stance{Action: policy.Announce, Rung: n}, nil
}

// stanceOrRung reads what a pin is to; what is no stance is the name
// of a rung, which the daemon knows.
func stanceOrRung(arg string) (*policy.Stance, string) {
	stance, err := parseStance(arg)
	if err != nil {
		return nil, arg
	}
	return &stance, ""
}

func supposeCapacity(arg string) (api.Supposition, error) {
	const form = "POP=PART, such as LON=0.7"
	what, part, err := parts(arg, form)
	s := api.Supposition{Kind: api.SupposeCapacity, POP: policy.POPID(what)}
	if err != nil {
		return s, err
	}
	percents, isPercent := strings.CutSuffix(part, "%")
	if s.Capacity, err = strconv.ParseFloat(percents, 64); isPercent {
		s.Capacity /= 100
	}
	if err != nil || !(s.Capacity > 0 && s.Capacity <= 100) {
		return s, usagef("PART %q: want %s", part, form)
	}
	return s, nil
}

// parts cuts WHAT=STATE.
func parts(arg, form string) (what, state string, err error) {
	what, state, ok := strings.Cut(arg, "=")
	if !ok || what == "" || state == "" {
		return "", "", usagef("%q: want %s", arg, form)
	}
	return what, state, nil
}

func supposeCheck(arg string) (api.Supposition, error) {
	what, state, err := parts(arg, "SERVICE/CHECK=VERDICT, such as web/http=down")
	if err != nil {
		return api.Supposition{}, err
	}
	service, check, _ := strings.Cut(what, "/")
	s := api.Supposition{Kind: api.SupposeCheck, Service: policy.ServiceID(service), Check: policy.CheckID(check)}
	if s.Verdict.UnmarshalText([]byte(state)) != nil {
		return s, usagef("VERDICT %q: want up, degraded, down or unknown", state)
	}
	return s, nil
}

func supposePOP(arg string) (api.Supposition, error) {
	what, state, err := parts(arg, "POP=STATE, such as FRA=gone")
	s := api.Supposition{Kind: api.SupposePOP, POP: policy.POPID(what), Is: state}
	if err != nil {
		return s, err
	}
	return s, oneOf("STATE", state, api.IsGone, api.IsSilent, api.IsDown, api.IsUp)
}

func supposeNeighbor(arg string) (api.Supposition, error) {
	what, state, err := parts(arg, "ADDRESS=STATE, such as 10.0.0.2=down")
	s := api.Supposition{Kind: api.SupposeNeighbor, Is: state}
	if err != nil {
		return s, err
	}
	if s.Neighbor, err = netip.ParseAddr(what); err != nil {
		return s, usagef("ADDRESS %q is no address of a neighbor", what)
	}
	return s, oneOf("STATE", state, api.IsDown, api.IsUp)
}

func oneOf(what, value string, all ...string) error {
	for _, v := range all {
		if v == value {
			return nil
		}
	}
	return usagef("%s %q: want one of %s", what, value, strings.Join(all, ", "))
}

func supposeConfig(path string) (api.Supposition, error) {
	formats := map[string]string{".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}
	format, ok := formats[filepath.Ext(path)]
	if !ok {
		return api.Supposition{}, usagef("FILE %s: want a name that ends in .yaml, .yml or .toml", path)
	}
	text, err := os.ReadFile(path)
	return api.Supposition{Kind: api.SupposeConfig, Config: string(text), Format: format}, err
}
