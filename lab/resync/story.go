package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// story is something that happens while clients download.
type story struct {
	name, what string
	do         func(w *lab, ctx context.Context) (seen string, err error)
}

// chapter is stories of one kind of world.
type chapter struct {
	kind    kind
	stories []story
}

func chapters() []chapter {
	return []chapter{
		{withCatchment, []story{
			{"drain", "LON is drained with downloads longer than its drain waits, over IPv4 and IPv6", (*lab).drain},
			{"accept", "LON is drained and takes no new clients (drain.accept: never); undrained it does", (*lab).accept},
			{"flip", "the router prefers FRA; LON knows nothing of it", (*lab).flips},
			{"death", "LON's host is gone without a word", (*lab).death},
			{"flap", "the route changes every second, ten times", (*lab).flaps},
			{"alternate", "every packet goes to the other POP, for some seconds", (*lab).alternate},
			{"changed", "FRA has another version of the object than LON", (*lab).changed},
			{"late", "data, FIN and RST of the POP before come to the same ports of a client that is elsewhere, LON to FRA and back", (*lab).late},
			{"tls", "TLS with HTTP/1.1 and HTTP/2: a drain, and then a death", (*lab).tls},
			{"nat", "the client is behind a NAT when LON dies", (*lab).nat},
			{"firewall", "behind a NAT with a firewall that lets no probe through", (*lab).firewall},
			{"port", "the client has had a connection to FRA from the same port within the minute", (*lab).port},
			{"screen", "what `catchment get` shows in a terminal: a drain, and then a death", (*lab).screen},
			{"jump", "flows that come to FRA skip slow start, by a congestion control that root has loaded", (*lab).jumping},
			{"clients", "curl, wget, aria2, apt and Chromium as they are: a drain, and then a death", (*lab).everybody},
		}},
		{withNginx, []story{
			{"nginx drain", "LON serves with nginx and is drained", (*lab).drain},
			{"nginx death", "LON's host, with nginx, is gone without a word", (*lab).death},
		}},
	}
}

// told is a story that is over.
type told struct {
	story
	seen string
	err  error
	took time.Duration
}

// Tell tells the stories and prints what was seen; it fails where one did not
// go as it should. It needs what netlab needs, Debian's FRR, nginx, nftables,
// curl, wget and tmux, and for the clients aria2 and Chromium.
func Tell(ctx context.Context, o Options) error {
	var all []told
	for _, c := range chapters() {
		c.stories = slices.DeleteFunc(c.stories, func(s story) bool { return !o.wants(s.name) })
		if len(c.stories) == 0 {
			continue
		}
		of, err := c.tell(ctx, o)
		all = append(all, of...)
		if err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "STORY\tTOOK\t\tSEEN\n")
	bad := 0
	for _, s := range all {
		word := "ok"
		if s.err != nil {
			word = "FAILED"
			bad++
			s.seen = s.err.Error()
		}
		for i, line := range strings.Split(s.seen, "\n") {
			if i == 0 {
				fmt.Fprintf(t, "%s\t%.0f s\t%s\t%s\n", s.name, s.took.Seconds(), word, line)
			} else {
				fmt.Fprintf(t, "\t\t\t%s\n", line)
			}
		}
	}
	t.Flush()
	if bad > 0 {
		return fmt.Errorf("%d of %d stories did not go as they should", bad, len(all))
	}
	return nil
}

func (o *Options) wants(name string) bool {
	return o.Only == "" || slices.Contains(strings.Split(o.Only, ","), name)
}

// tell tells the stories of a world; after each the world is as before.
func (c *chapter) tell(ctx context.Context, o Options) (all []told, err error) {
	w, err := raise(ctx, o, c.kind, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.kind.name, err)
	}
	defer w.down()
	if err := w.file(ctx, "f", storySize); err != nil {
		return nil, err
	}
	for _, s := range c.stories {
		fmt.Fprintf(o.Progress, "%s: %s\n", s.name, s.what)
		began := time.Now()
		seen, err := s.do(w, ctx)
		all = append(all, told{s, seen, err, time.Since(began)})
		if err != nil {
			fmt.Fprintf(o.Progress, "%s: FAILED: %v\n%s\n", s.name, err, w.logs())
		} else {
			fmt.Fprintf(o.Progress, "%s\n", seen)
		}
		if err := w.restore(ctx); err != nil {
			return all, fmt.Errorf("after %s: %w", s.name, err)
		}
	}
	return all, nil
}

// restore makes a world what it was: LON there, with the route.
func (w *lab) restore(ctx context.Context) error {
	// Each of these may find nothing to take away.
	for node, script := range map[string]string{
		"r":      "ip route del " + vip4 + "/32; ip -6 route del " + vip6 + "/128; ip rule del fwmark 1; ip -6 rule del fwmark 1; nft flush ruleset",
		"home":   "nft flush ruleset",
		"client": "nft flush ruleset; pkill curl; pkill wget; pkill aria2c; pkill chromium; pkill tmux; rm -rf /run/dl",
	} {
		_, _ = w.sh(ctx, node, script)
	}
	if err := errors.Join(w.unweigh(ctx), w.release(ctx)); err != nil {
		return err
	}
	if _, err := w.sh(ctx, "lon", "true"); err != nil {
		if err := w.Boot(ctx, "lon"); err != nil {
			return err
		}
		if err := w.start(ctx, "lon"); err != nil {
			return err
		}
	} else if w.kind.daemon != "" {
		if _, err := w.sh(ctx, "lon", "catchment undrain web; true"); err != nil {
			return err
		}
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return err
	}
	if err := w.both(ctx); err != nil {
		return err
	}
	return w.warm(ctx, "f")
}

// unweigh takes back what flip has told BGP.
func (w *lab) unweigh(ctx context.Context) error {
	_, err := w.sh(ctx, "r", "vtysh -c 'configure terminal' -c 'router bgp 64601' -c 'address-family ipv4 unicast' -c 'no neighbor 10.0.2.2 weight'"+
		" -c 'exit-address-family' -c 'address-family ipv6 unicast' -c 'no neighbor 2001:db8:2::2 weight'")
	return err
}
