package resync

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// usual are the programs of most stories, and plain the URLs.
var (
	usual = []program{catchmentGet, inParts, curlLoop, wget}
	plain = []string{"http://" + vip4 + "/f", "http://[" + vip6 + "]/f"}
)

func (w *lab) drain(ctx context.Context) (string, error) {
	return w.survive(ctx, usual, plain, func(ctx context.Context) error {
		if _, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'"); err != nil {
			return err
		}
		if err := w.leads(ctx, "fra"); err != nil {
			return err
		}
		return w.left(ctx)
	})
}

// left waits until no client is connected to LON any more: what the drain left
// was reset.
func (w *lab) left(ctx context.Context) error {
	if !w.kind.resync {
		return nil
	}
	return eventually(ctx, "LON lets go of its clients", func(ctx context.Context) error {
		out, err := w.sh(ctx, "lon", "ss -Htn state established state fin-wait-1 state closing state last-ack '( sport = :80 or sport = :443 )' | grep -v 127.0.0.1 | grep -c -e 10.0.100 -e 10.0.99 -e db8:c:")
		if out == "0" {
			return nil
		}
		return fmt.Errorf("%s connections, %w", out, err)
	})
}

func (w *lab) flips(ctx context.Context) (string, error) {
	return w.survive(ctx, usual, plain, func(ctx context.Context) error { return w.flip(ctx, "fra", false) })
}

func (w *lab) death(ctx context.Context) (string, error) {
	return w.survive(ctx, usual, plain, func(ctx context.Context) error {
		if err := w.Crash("lon"); err != nil {
			return err
		}
		return w.leads(ctx, "fra")
	})
}

func (w *lab) flaps(ctx context.Context) (string, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	return w.survive(ctx, usual, plain, func(ctx context.Context) error {
		for i := range 10 {
			if err := w.flip(ctx, []string{"fra", "lon"}[i%2], true); err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// alternating is how long both POPs get every other packet.
const alternating = 6 * time.Second

// alternate: a connection whose packets go to two hosts is reset by the one that
// does not have it. Attempts whose packets happen to take turns may still bring
// something; if not, the failure is said, what is there stays, and the same
// command ends it later. Nothing wrong is ever written.
func (w *lab) alternate(ctx context.Context) (string, error) {
	url := plain[0]
	stubborn := program{"catchment get", `catchment get -j --patience 4s -o $OUT "$URL" >$OUT.json 2>$OUT.says`, "$OUT.part"}
	all, err := w.begin(ctx, []program{stubborn}, url)
	if err != nil {
		return "", err
	}
	d := all[0]
	if _, err := w.sh(ctx, "r", `ip rule add fwmark 1 lookup 101 && ip route add `+prefix4+` via 10.0.2.2 table 101 &&
nft 'table ip alternate { chain p { type filter hook prerouting priority mangle; ip daddr `+vip4+` meta mark set numgen inc mod 2; }; }'`); err != nil {
		return "", err
	}
	select {
	case <-d.p.Done():
	case <-time.After(alternating): // how long it lasts is part of the story
	case <-ctx.Done():
		return "", ctx.Err()
	}
	had, _ := w.sh(ctx, "client", w.has(d))
	if _, err := w.sh(ctx, "r", "nft flush ruleset; ip rule del fwmark 1; ip route flush table 101"); err != nil {
		return "", err
	}
	if err := w.release(ctx); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.p.Wait(within); err == nil {
		seen, err := w.same(ctx, d.out)
		return fmt.Sprintf("it had %s bytes when that was over, and went on: %s", had, seen), err
	}
	said, _ := w.sh(ctx, "client", "tail -n 2 "+d.out+".says | cut -c1-200")
	kept, _ := w.sh(ctx, "client", "wc -c <"+d.out+".part")
	if out, err := w.sh(ctx, "client", "catchment get -j -o "+d.out+" "+url); err != nil {
		return "", fmt.Errorf("the same command later: %w: %s", err, out)
	}
	seen, err := w.same(ctx, d.out)
	return fmt.Sprintf("exit status 1 after 4 s without a byte (%q), %s bytes kept; the same command later: %s", lastLine(said), kept, seen), err
}

// same compares a file of the client with the origin's.
func (w *lab) same(ctx context.Context, path string) (string, error) {
	want, err := w.sum(ctx, "origin", "/run/www/f")
	if err != nil {
		return "", err
	}
	if got, err := w.sum(ctx, "client", path); err != nil || got != want {
		return "", fmt.Errorf("%s is not the origin's, %w", path, err)
	}
	return "whole, byte by byte", nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

// changed: FRA answers If-Range with the whole of its own version.
func (w *lab) changed(ctx context.Context) (string, error) {
	if err := w.file(ctx, "g", storySize); err != nil {
		return "", err
	}
	urls := []string{"http://" + vip4 + "/g", "http://[" + vip6 + "]/g"}
	all, err := w.begin(ctx, []program{catchmentGet}, urls...)
	if err != nil {
		return "", err
	}
	tag, err := w.sh(ctx, "r", "curl -sSfI -H 'Host: "+vip4+"' http://"+pops["lon"].addr+"/g | sed -n 's/^etag: //Ip' | tr -d '\\r'")
	if err != nil || !strings.HasPrefix(tag, `"`) {
		return "", fmt.Errorf("LON's ETag is %q, %w", tag, err)
	}
	if _, err := w.sh(ctx, "origin", fmt.Sprintf("head -c %d /dev/urandom >/run/www/g.new && mv /run/www/g.new /run/www/g", storySize)); err != nil {
		return "", err
	}
	for _, u := range urls {
		if out, err := w.sh(ctx, "fra", "catchment cache purge '"+u+"' --why 'another version'"); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
	}
	if err := w.warmOne(ctx, "fra", "g"); err != nil {
		return "", err
	}
	if err := w.flip(ctx, "fra", false); err != nil {
		return "", err
	}
	code, err := w.sh(ctx, "client", "curl -sS -o /dev/null -w '%{http_code}' -H 'If-Range: "+tag+"' -r 1000000- "+urls[0])
	if err != nil || code != "200" {
		return "", fmt.Errorf("FRA answers a range of LON's version with %s, %w", code, err)
	}
	seen, err := w.finish(ctx, all, "g")
	return "FRA answers If-Range with 200; begun anew, of FRA's version: " + seen, err
}
