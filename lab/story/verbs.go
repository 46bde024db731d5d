package story

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

type verb func(r *runner, ctx context.Context, st step, rest string) error

// verbs is filled once; Load needs the names, step the functions.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"up": (*runner).up, "exec": (*runner).exec, "expect": (*runner).expect, "hold": (*runner).hold,
		"route": (*runner).route, "noroute": (*runner).noroute, "keeproute": (*runner).keeproute,
		"start": (*runner).start, "wait": (*runner).wait, "say": (*runner).say,
		"kill": signaller(syscall.SIGKILL), "term": signaller(syscall.SIGTERM),
		"stop": signaller(syscall.SIGSTOP), "cont": signaller(syscall.SIGCONT),
		"usr2": signaller(syscall.SIGUSR2), "hup": signaller(syscall.SIGHUP),
		"freeze": (*runner).power, "thaw": (*runner).power, "crash": (*runner).power, "boot": (*runner).power,
		"link": (*runner).link, "fetch": (*runner).fetch, "answered": (*runner).answered, "seen": (*runner).seen,
		"mark": (*runner).mark, "nofail": (*runner).nofail, "fails": (*runner).fails,
	}
}

func (r *runner) up(ctx context.Context, _ step, rest string) error {
	if r.world != nil {
		return errors.New("a lab is already up")
	}
	var err error
	r.world, err = r.opt.Make(ctx, r.script.relative(rest), r.variant)
	return err
}

func (r *runner) exec(ctx context.Context, st step, rest string) error {
	words, err := netlab.Words(rest)
	if err != nil {
		return err
	}
	if len(words) < 2 {
		return errors.New("want NODE COMMAND")
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	out, err := r.world.Exec(ctx, words[0], words[1:]...)
	if st.neg && err == nil {
		return fmt.Errorf("succeeded: %s", clip(out))
	}
	if st.neg {
		return nil
	}
	return err
}

// see runs the command of an expectation and judges its output; a command
// that fails is judged too, by what it wrote.
func (r *runner) see(e expectation) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		ctx, cancel := context.WithTimeout(ctx, stepLimit)
		defer cancel()
		out, err := r.world.Exec(ctx, e.node, e.args...)
		words := out
		if err != nil {
			words = err.Error()
		}
		return ctx.Err() == nil && e.re.MatchString(out) != e.not, words
	}
}

func (r *runner) expect(ctx context.Context, _ step, rest string) error {
	e, err := parseExpectation(rest)
	if err != nil {
		return err
	}
	return poll(ctx, e.time, r.see(e))
}

func (r *runner) hold(ctx context.Context, _ step, rest string) error {
	e, err := parseExpectation(rest)
	if err != nil {
		return err
	}
	return always(ctx, e.time, r.see(e))
}

// kernelRoute looks at one route as `ip route` prints it, in any world.
func (r *runner) kernelRoute(node, prefix string, via []netip.Addr) (func(context.Context) (bool, string), error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return nil, err
	}
	family := "-4"
	if p.Addr().Is6() {
		family = "-6"
	}
	return func(ctx context.Context) (bool, string) {
		out, err := r.world.Exec(ctx, node, "ip", family, "route", "show", "exact", p.String())
		if err != nil {
			return false, err.Error()
		}
		if strings.TrimSpace(out) == "" {
			return false, "no route to " + prefix
		}
		return via == nil || slices.Equal(gateways(out), via), out
	}, nil
}

// gateways are the addresses after "via", sorted.
func gateways(out string) []netip.Addr {
	var list []netip.Addr
	words := strings.Fields(out)
	for i, w := range words {
		if w != "via" || i+1 == len(words) {
			continue
		}
		next := words[i+1]
		if next == "inet6" && i+2 < len(words) {
			next = words[i+2]
		}
		if a, err := netip.ParseAddr(next); err == nil {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

func (r *runner) routeStep(rest, clock string) (func(context.Context) (bool, string), time.Duration, error) {
	f, err := parseFields(rest, "via", clock)
	if err == nil {
		err = f.want(2, "NODE PREFIX [via IP,...] "+clock+" DURATION")
	}
	if err != nil {
		return nil, 0, err
	}
	limit, err := f.duration(clock, 10*time.Second)
	if err != nil {
		return nil, 0, err
	}
	var via []netip.Addr
	if list := f.opts["via"]; list != "" {
		for text := range strings.SplitSeq(list, ",") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, 0, err
			}
			via = append(via, a)
		}
		slices.SortFunc(via, netip.Addr.Compare)
	}
	see, err := r.kernelRoute(f.words[0], f.words[1], via)
	return see, limit, err
}

func (r *runner) route(ctx context.Context, _ step, rest string) error {
	see, limit, err := r.routeStep(rest, "within")
	if err != nil {
		return err
	}
	return poll(ctx, limit, see)
}

func (r *runner) noroute(ctx context.Context, _ step, rest string) error {
	see, limit, err := r.routeStep(rest, "within")
	if err != nil {
		return err
	}
	return poll(ctx, limit, func(ctx context.Context) (bool, string) {
		_, words := see(ctx)
		return strings.HasPrefix(words, "no route to "), words
	})
}

func (r *runner) keeproute(ctx context.Context, _ step, rest string) error {
	see, span, err := r.routeStep(rest, "for")
	if err != nil {
		return err
	}
	return always(ctx, span, see)
}

func (r *runner) start(ctx context.Context, _ step, rest string) error {
	words, err := netlab.Words(rest)
	if err != nil {
		return err
	}
	if len(words) < 2 {
		return errors.New("want NODE COMMAND")
	}
	_, err = r.world.Start(ctx, words[0], words[1:], nil)
	return err
}

func signaller(sig syscall.Signal) verb {
	return func(r *runner, ctx context.Context, _ step, rest string) error {
		node, who, ok := strings.Cut(rest, " ")
		if !ok {
			return errors.New("want NODE PROCESS")
		}
		return r.world.Signal(ctx, node, strings.TrimSpace(who), sig)
	}
}

func (r *runner) power(ctx context.Context, st step, rest string) error {
	return r.world.Do(ctx, st.verb, rest)
}

func (r *runner) link(ctx context.Context, _ step, rest string) error {
	end, state, _ := strings.Cut(rest, " ")
	node, dev, ok := strings.Cut(end, ":")
	if !ok {
		return errors.New("want NODE:DEV up|down")
	}
	return r.world.Do(ctx, "link", node, dev, strings.TrimSpace(state))
}

func (r *runner) wait(ctx context.Context, _ step, rest string) error {
	d, err := time.ParseDuration(rest)
	if err != nil {
		return err
	}
	return await.Lapse(ctx, d)
}

func (r *runner) say(context.Context, step, string) error { return nil }
