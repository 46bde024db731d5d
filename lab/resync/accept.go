package resync

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// accept: from the beginning of a drain LON takes no new clients, while its
// route still brings them; those that are there are handed over; who has another
// address goes there at once; the checks on LON's own host go on; and undrained
// it takes clients again.
func (w *lab) accept(ctx context.Context) (seen string, err error) {
	if err := w.drainAccept(ctx, "never"); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.drainAccept(ctx, "always")) }()
	new := ""
	seen, err = w.survive(ctx, usual, plain, func(ctx context.Context) error {
		if _, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'"); err != nil {
			return err
		}
		// The drain waits some seconds: the route leads to LON still.
		if new, err = w.refused(ctx); err != nil {
			return err
		}
		if err := w.leads(ctx, "fra"); err != nil {
			return err
		}
		return w.left(ctx)
	})
	if err != nil {
		return "", err
	}
	if _, err := w.sh(ctx, "lon", "catchment undrain web"); err != nil {
		return "", err
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return "", err
	}
	for _, u := range plain {
		if out, err := w.sh(ctx, "client", `curl -gsSf -r 0-99 -o /dev/null -w '%{http_code}' '`+u+`'`); err != nil || out != "206" {
			return "", fmt.Errorf("undrained, %s: %s, %w", u, out, err)
		}
	}
	return seen + "\n" + new + "; undrained LON serves again", nil
}

// refused fails unless LON refuses who comes anew, and nobody else, while the
// route leads to it.
func (w *lab) refused(ctx context.Context) (string, error) {
	for _, u := range plain {
		if out, err := w.sh(ctx, "client", "curl -gsS -m 5 -r 0-99 -o /dev/null '"+u+"' 2>&1; echo exit $?"); err != nil || !strings.HasSuffix(out, "exit 7") {
			return "", fmt.Errorf("a new client of %s: %s, %w", u, out, err)
		}
		if out, err := w.sh(ctx, "lon", "curl -gsSf -o /dev/null -w '%{http_code}' '"+strings.TrimSuffix(u, "/f")+"/.well-known/catchment/health'"); err != nil || out != "200" {
			return "", fmt.Errorf("the check of LON's own host: %s, %w", out, err)
		}
	}
	// The site takes any host, and the object is stored for this one.
	by, err := w.sh(ctx, "client", `curl -sSf -r 0-99 -o /dev/null -w '%{remote_ip}' -H 'Host: `+vip4+`' --resolve two.example:80:`+vip4+`,`+pops["fra"].addr+` http://two.example/f`)
	if err != nil || by != pops["fra"].addr {
		return "", fmt.Errorf("a new client with two addresses: %s, %w", by, err)
	}
	if out, err := w.sh(ctx, "lon", "catchment explain "+vip4+"; catchment cache"); err != nil || strings.Count(out, "new connections to "+vip4) < 2 {
		return "", fmt.Errorf("LON does not say that it refuses: %s, %w", out, err)
	}
	if err := w.stillLON(ctx); err != nil {
		return "", err
	}
	return "new clients are refused (curl: exit status 7), one with two addresses is served by FRA at " + by, nil
}

// stillLON fails when the route has moved: then nothing was seen of LON.
func (w *lab) stillLON(ctx context.Context) error {
	out, err := w.sh(ctx, "r", "ip -4 route show exact "+prefix4)
	if err != nil || !strings.Contains(out+" ", "dev "+pops["lon"].dev+" ") {
		return fmt.Errorf("the route did not wait: %s, %w", out, err)
	}
	return nil
}

// drainAccept sets drain.accept at LON.
func (w *lab) drainAccept(ctx context.Context, word string) error {
	out, err := w.sh(ctx, "lon", "sed -i 's/^    drain: {\\(accept: [a-z-]*, \\)*/    drain: {accept: "+word+", /; s/{accept: "+word+", wait: [0-9]*s/{accept: "+word+", wait: "+map[bool]string{true: "3s", false: "12s"}[word == "always"]+"/' /run/catchment.yaml && catchment reload 2>&1")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
