package resync

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/catchment/catchment/lab/await"
)

// late has a client go on from the same port at the other POP, so that what the
// POP before still sends is of the very connection that the client has now, but
// for its numbers: data sent again by a POP that hears no acknowledgement, a RST
// (its sockets are destroyed), a FIN (its server ends).
func (w *lab) late(ctx context.Context) (string, error) {
	var seen []string
	for i, way := range [][2]string{{"lon", "fra"}, {"fra", "lon"}} {
		said, err := w.lateOne(ctx, way[0], way[1], 40000+10*i)
		if err != nil {
			return "", fmt.Errorf("%s to %s: %w", pops[way[0]].name, pops[way[1]].name, err)
		}
		seen = append(seen, fmt.Sprintf("%s to %s: %s", pops[way[0]].name, pops[way[1]].name, said))
	}
	return strings.Join(seen, "\n"), nil
}

// samePort is curl that goes on from the port that it had.
func samePort(port int) program {
	return program{"curl --local-port", fmt.Sprintf(`for i in 1 2 3 4 5 6 7 8 9; do curl -sSf -C - --local-port %d -o $OUT "$URL" && exit 0; done; exit 1`, port), "$OUT"}
}

func (w *lab) lateOne(ctx context.Context, from, to string, port int) (string, error) {
	// What comes from the POP before is told apart by the address of its cable.
	mark := map[string]string{"lon": "eth1", "fra": "eth2"}[from]
	rules := ""
	for _, p := range []int{port, port + 1} {
		for _, what := range []string{"tcp flags & (fin|rst) == 0", "tcp flags & fin == fin", "tcp flags & rst == rst"} {
			rules += fmt.Sprintf("iifname %s tcp dport %d %s counter; ", mark, p, what)
		}
	}
	rst, fin := samePort(port), samePort(port+1)
	rst.name, fin.name = "the one whose old socket is reset", "the one whose old server ends"
	all, err := w.begin(ctx, []program{rst, fin}, plain[0])
	if err != nil {
		return "", err
	}
	if err := w.flip(ctx, to, true); err != nil {
		return "", err
	}
	if err := eventually(ctx, "the clients go on at "+pops[to].name, func(ctx context.Context) error {
		for _, d := range all {
			select {
			case <-d.p.Done():
				return fmt.Errorf("%s: %w: %v: %s", d, await.ErrOver, d.p.Wait(ctx), &d.errs)
			default:
			}
		}
		out, err := w.sh(ctx, to, fmt.Sprintf("ss -Htn state established '( sport = :80 and ( dport = :%d or dport = :%d ) )' | wc -l", port, port+1))
		if err == nil && out != "2" {
			err = fmt.Errorf("%s connections", out)
		}
		return err
	}); err != nil {
		return "", err
	}
	// From here on all that the POP before sends is late.
	if _, err := w.sh(ctx, "r", "nft 'table inet late { chain f { type filter hook forward priority 0; "+rules+"}; }'"); err != nil {
		return "", err
	}
	for _, script := range []string{fmt.Sprintf("lab-fin --port %d", port+1), fmt.Sprintf("ss -K state established dst 10.0.100.2 dport = :%d", port)} {
		if out, err := w.sh(ctx, from, script); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
	}
	said, err := w.finish(ctx, all, "f")
	if err != nil {
		return "", err
	}
	counts, err := w.counters(ctx, "r", "late")
	if err != nil || len(counts) != 6 {
		return "", fmt.Errorf("the counters are %v, %w", counts, err)
	}
	if _, err := w.sh(ctx, "r", "nft delete table inet late"); err != nil {
		return "", err
	}
	data, fins, rsts := counts[0]+counts[3], counts[1]+counts[4], counts[2]+counts[5]
	if data == 0 || fins == 0 || rsts == 0 {
		return "", fmt.Errorf("%d late segments of data, %d FIN, %d RST: not all have come", data, fins, rsts)
	}
	return fmt.Sprintf("%d late segments of data, %d FIN, %d RST; %s", data, fins, rsts, said), nil
}

// counters are the packets of a table's counters, in their order.
func (w *lab) counters(ctx context.Context, node, table string) ([]int, error) {
	out, err := w.sh(ctx, node, "nft list table inet "+table)
	if err != nil {
		return nil, err
	}
	var all []int
	for i, f := 0, strings.Fields(out); i+1 < len(f); i++ {
		if f[i] != "packets" {
			continue
		}
		n, err := strconv.Atoi(f[i+1])
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}
