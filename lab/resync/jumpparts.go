package resync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/catchment/catchment/pop/api"
)

// part is what flows of the client's network may use of their former rate.
func part(st *api.ResyncStatus) float64 {
	for _, l := range st.Jumps.Learned {
		if l.From == "LON" && l.Network == "10.0.100.0/24" {
			return l.Part
		}
	}
	return 0
}

// earns: jumps that were right earn more.
func (w *lab) earns(ctx context.Context, times int) (string, error) {
	var parts []string
	last := 0.0
	for range times {
		line, st, err := w.moves(ctx, nil)
		if err != nil {
			return "", err
		}
		switch now := part(&st); {
		case !strings.Contains(line, "with a jump to "):
			return "", fmt.Errorf("no jump: %s", line)
		case strings.Contains(line, ": validated after") && now <= last:
			return "", fmt.Errorf("a jump was right, and what is earned is %.2f, was %.2f: %s", now, last, line)
		default:
			last = now
		}
		parts = append(parts, fmt.Sprintf("%.0f %% (%s)", 100*last, line))
	}
	out, err := w.sh(ctx, "fra", `curl -s http://127.0.0.1:9798/metrics | grep '^catchment_resync_jumps_total{outcome="validated"}'`)
	if err != nil || strings.HasSuffix(out, " 0") && last > 0.5 {
		return "", fmt.Errorf("metrics: %s, %w", out, err)
	}
	return "earned with each jump: " + strings.Join(parts, ", ") + "; " + out, nil
}

// retreats: on the way to the client a part of each burst is lost now.
func (w *lab) retreats(ctx context.Context) (string, error) {
	st, err := w.fra(ctx)
	if err != nil {
		return "", err
	}
	before := part(&st)
	line, st, err := w.moves(ctx, func(ctx context.Context) error {
		_, err := w.sh(ctx, "home", `nft 'table ip lossy { chain f { type filter hook forward priority 0; ip saddr `+vip4+` limit rate over 400 kbytes/second burst 40 kbytes drop; }; }'`)
		return err
	})
	_, e := w.sh(ctx, "home", "nft flush ruleset")
	if err := errors.Join(err, e); err != nil {
		return "", err
	}
	if st.Jumps.Retreated == 0 || part(&st) > before/2 {
		return "", fmt.Errorf("no retreat: earned %.2f, was %.2f: %s", part(&st), before, line)
	}
	return fmt.Sprintf("with losses: %.0f %% after %.0f %% (%s)", 100*part(&st), 100*before, line), nil
}

// hears: of a client that was nowhere before FRA knows what it says of itself
// (Downlink), of which half counts, up to resync.jump.stated, and of that half.
func (w *lab) hears(ctx context.Context) (line string, err error) {
	if err := w.flip(ctx, "fra", true); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.flip(ctx, "lon", true), w.leads(ctx, "lon")) }()
	if _, err := w.sh(ctx, "client", "curl -sSf -o /dev/null -r 0-2999999 -H 'Downlink: 1000' http://"+vip4+"/"+film); err != nil {
		return "", err
	}
	err = eventually(ctx, "FRA notes how it began", func(ctx context.Context) error {
		line, err = w.sh(ctx, "fra", "catchment journal -n 0 | grep -o 'goes on from client.*' | tail -n 1")
		return err
	})
	if err == nil && !strings.Contains(line, " at 1250000 bytes/s, 50 % of ") {
		err = errors.New(line)
	}
	return "by a client's own word: " + line, err
}

// remembersNothing: the congestion control is there after a restart of the
// daemon, by its pin, and jumps are first jumps again.
func (w *lab) remembersNothing(ctx context.Context) (string, error) {
	if err := w.again(ctx, jumps); err != nil {
		return "", err
	}
	line, st, err := w.moves(ctx, nil)
	if err == nil && !strings.Contains(line, ", 50 % of its former rate") {
		err = fmt.Errorf("%s, earned %.2f", line, part(&st))
	}
	return "after a restart of the daemon: " + line, err
}

// switchedOff: no service jumps.
func (w *lab) switchedOff(ctx context.Context) (string, error) {
	if err := w.again(ctx, off); err != nil {
		return "", err
	}
	line, _, err := w.moves(ctx, nil)
	if err == nil && line != "goes on from LON with slow start: off" {
		err = errors.New(line)
	}
	return "switched off: " + line, err
}

// withoutBPF: a route with a larger initial window for the client's network,
// while its clients come.
func (w *lab) withoutBPF(ctx context.Context) (string, error) {
	if err := w.again(ctx, byRoute); err != nil {
		return "", err
	}
	var route string
	line, _, err := w.moves(ctx, func(ctx context.Context) error {
		if _, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'"); err != nil {
			return err
		}
		return eventually(ctx, "FRA has a route for them", func(ctx context.Context) error {
			out, err := w.sh(ctx, "fra", "ip route show proto 187")
			if err == nil && !strings.Contains(out, "10.0.100.0/24") {
				err = fmt.Errorf("routes %q", out)
			}
			route = out
			return err
		})
	})
	_, e := w.sh(ctx, "lon", "catchment undrain web")
	if err := errors.Join(err, e, w.leads(ctx, "lon")); err != nil {
		return "", err
	}
	var window int
	if _, err := fmt.Sscanf(line, "goes on from LON with an initial window of %d bytes, by the route to its network, at", &window); err != nil || window < 20_000 || !strings.Contains(route, "initcwnd ") {
		return "", fmt.Errorf("%s, route %s", line, route)
	}
	return "without BPF: " + line + "; route " + route, nil
}

// plainly: with neither there is slow start, and it is said.
func (w *lab) plainly(ctx context.Context) (string, error) {
	if err := w.again(ctx, bySlow); err != nil {
		return "", err
	}
	line, st, err := w.moves(ctx, nil)
	if err == nil && (line != "goes on from LON with slow start: no-means" || len(st.Lacks) == 0) {
		err = fmt.Errorf("%s; lacks %q", line, st.Lacks)
	}
	return fmt.Sprintf("with neither: %s; lacks %q", line, st.Lacks), err
}
