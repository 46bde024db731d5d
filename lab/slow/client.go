package slow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/catchment/catchment/lab/goal"
)

// The objects: what clients load again and again until they are known, and what
// their downloads are timed by.
const (
	pageSize, fileSize = 90_000, 500_000
	pages              = 10 // of each family
	timed              = 3  // downloads of the file, of which the one in the middle counts
)

// networks of the clients.
var networks = map[string][]string{"slow": {"10.1.0.0/24", "2001:db8:a1::/48"}, "fast": {"10.2.0.0/24", "2001:db8:a2::/48"}}

// slowClient: a client behind a slow line is recognized from what it loads, what
// is known is told to files and to the other POP, DNS sends it to the cheap POP
// from then on, and its downloads take no longer there; one behind a fast line
// stays. The goals say how that went.
func (w *pops) slowClient(ctx context.Context) (seen []string, goals []goal.Goal, err error) {
	tell := func(format string, a ...any) { seen = append(seen, fmt.Sprintf(format, a...)) }
	if _, err := w.file(ctx, "page", pageSize); err != nil {
		return nil, nil, err
	}
	sum, err := w.file(ctx, "file", fileSize)
	if err != nil {
		return nil, nil, err
	}
	before := map[string]float64{}
	for _, c := range []string{"slow", "fast"} { // before anything is known
		if before[c], err = w.download(ctx, c, sum, "lon"); err != nil {
			return nil, nil, err
		}
	}
	var g errgroup.Group
	for _, c := range []string{"slow", "fast"} {
		g.Go(func() error { return w.load(ctx, c) })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	known, err := w.recognized(ctx)
	if err != nil {
		return seen, nil, err
	}
	seen = append(seen, known...)
	told, err := w.exported(ctx)
	if err != nil {
		return seen, nil, err
	}
	seen = append(seen, told...)
	if err := eventually(ctx, "DNS sends the slow client to AMS", func(ctx context.Context) error { return w.leads(ctx, "slow", "ams") }); err != nil {
		why, _ := w.sh(ctx, "lon", "catchment explain dns "+name+" --client 10.1.0.2; catchment explain dns slowpop."+name+" --client 10.2.0.2; catchment fleet")
		ams, _ := w.sh(ctx, "ams", "catchment status; catchment explain; catchment fleet")
		return seen, nil, fmt.Errorf("%w\n%s\n%s", err, why, ams)
	}
	if err := w.leads(ctx, "fast", "lon"); err != nil {
		return seen, nil, err
	}
	tell("DNS: slow to AMS, fast to LON")
	scopes, err := w.scopes(ctx)
	if err != nil {
		return seen, nil, err
	}
	tell("%s", scopes)
	after := map[string]float64{}
	for c, pop := range map[string]string{"slow": "ams", "fast": "lon"} {
		if after[c], err = w.download(ctx, c, sum, pop); err != nil {
			return seen, nil, err
		}
	}
	tell("%d bytes: slow %.2f s from LON, %.2f s from AMS; fast %.2f s and %.2f s from LON; each time SHA-256 %.8s", fileSize, before["slow"], after["slow"], before["fast"], after["fast"], sum)
	if err := w.told(ctx); err != nil {
		return seen, nil, err
	}
	tell("AMS has been told of the slow networks")
	return seen, []goal.Goal{goal.AtMost("slow-client-time-elsewhere-ratio", after["slow"]/before["slow"], 1.05)}, nil
}

// load has a client load pages from the POP that DNS names, over both families.
func (w *pops) load(ctx context.Context, client string) error {
	for _, family := range []string{"4", "6"} {
		out, err := w.sh(ctx, client, fmt.Sprintf("for i in $(seq %d); do curl -%s -sSf -o /dev/null --resolve %s:80:%s,[%s] http://%s/page || exit 1; done", pages, family, name, lon4, lon6, name))
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// download times the file, from where DNS sends the client, which must be a POP.
func (w *pops) download(ctx context.Context, client, sum, pop string) (float64, error) {
	if err := w.leads(ctx, client, pop); err != nil {
		return 0, err
	}
	v4, _, err := w.addresses(ctx, client)
	if err != nil {
		return 0, err
	}
	var took []float64
	for range timed {
		out, err := w.sh(ctx, client, fmt.Sprintf("curl -sSf -o /run/file -w '%%{time_total}' --resolve %s:80:%s http://%s/file && echo && sha256sum </run/file", name, v4, name))
		if err != nil {
			return 0, fmt.Errorf("%w: %s", err, out)
		}
		time, got, _ := strings.Cut(out, "\n")
		if !strings.HasPrefix(got, sum) {
			return 0, fmt.Errorf("%s got other bytes from %s", client, pop)
		}
		s, err := strconv.ParseFloat(time, 64)
		if err != nil {
			return 0, err
		}
		took = append(took, s)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// network is what a POP says of one (catchment slowness).
type network struct {
	Network string
	Class   string
	Slow    bool
	Moved   bool
	Samples int
	P50     float64
}

// recognized waits until LON takes the networks of the clients for what they are.
func (w *pops) recognized(ctx context.Context) (seen []string, err error) {
	for client, nets := range networks {
		for _, n := range nets {
			var is network
			err := eventually(ctx, n+" is known", func(ctx context.Context) error {
				is, err = w.network(ctx, "lon", n)
				if err == nil && (is.Slow != (client == "slow") || is.Moved != is.Slow) {
					err = fmt.Errorf("%s: %+v", client, is)
				}
				return err
			})
			if err != nil {
				all, _ := w.sh(ctx, "lon", "catchment slowness; catchment slowness status")
				return seen, fmt.Errorf("%w\n%s", err, all)
			}
			seen = append(seen, fmt.Sprintf("LON knows %s: %s, median %.2f Mbit/s, %d samples", n, is.Class, is.P50*8/1e6, is.Samples))
		}
	}
	slices.Sort(seen)
	return seen, nil
}

func (w *pops) network(ctx context.Context, pop, net string) (network, error) {
	out, err := w.sh(ctx, pop, "catchment slowness -j "+net)
	if err != nil {
		return network{}, fmt.Errorf("%w: %s", err, out)
	}
	var all []network
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return network{}, fmt.Errorf("%w: %s", err, out)
	}
	i := slices.IndexFunc(all, func(n network) bool { return n.Network == net })
	if i < 0 {
		return network{}, fmt.Errorf("%s is not among %+v", net, all)
	}
	return all[i], nil
}

// exported waits until the files of LON have the slow networks, and no fast one.
func (w *pops) exported(ctx context.Context) ([]string, error) {
	var csv, nets string
	for _, n := range networks["slow"] {
		err := eventually(ctx, "the files have "+n, func(ctx context.Context) (err error) {
			csv, err = w.sh(ctx, "lon", "grep -F '"+n+",' /run/slowness.csv")
			if err == nil {
				nets, err = w.sh(ctx, "lon", "grep -F '"+n+"' /run/slow.nets")
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, n := range networks["fast"] {
		if out, err := w.sh(ctx, "lon", "grep -F '"+n+"' /run/slow.nets"); err == nil {
			return nil, fmt.Errorf("the file of slow networks has a fast one: %s", out)
		}
	}
	return []string{"exported: " + csv, "for gdnsd: " + nets}, nil
}

// told waits until AMS has been told of the slow networks.
func (w *pops) told(ctx context.Context) error {
	for _, n := range networks["slow"] {
		if err := eventually(ctx, "AMS is told of "+n, func(ctx context.Context) error {
			is, err := w.network(ctx, "ams", n)
			if err == nil && !is.Slow {
				err = fmt.Errorf("%+v", is)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// scopes asks as a resolver does for clients of both networks (RFC 7871).
func (w *pops) scopes(ctx context.Context) (string, error) {
	var parts []string
	for _, q := range []struct{ subnet, want string }{{"10.1.0.0/24", ams4}, {"10.2.0.0/24", lon4}, {"2001:db8:a1::/56", ams4}, {"2001:db8:a2::/56", lon4}} {
		out, err := w.sh(ctx, "r", "dig @"+lon4+" "+name+" A +subnet="+q.subnet)
		if err != nil {
			return "", err
		}
		scope := ""
		for line := range strings.Lines(out) {
			if _, s, ok := strings.Cut(line, "CLIENT-SUBNET: "); ok {
				scope = strings.TrimSpace(s)
			}
		}
		if !strings.Contains(out, "\t"+q.want+"\n") {
			return "", fmt.Errorf("a client of %s is not sent to %s: %s", q.subnet, q.want, out)
		}
		if scope == "" {
			return "", errors.New("the answer tells no scope: " + out)
		}
		parts = append(parts, scope)
	}
	return "a resolver's answers are for the networks " + strings.Join(parts, ", "), nil
}
