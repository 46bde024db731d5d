package resync

import (
	"context"
	"errors"
	"fmt"
)

// oldPort is a port that the client picks itself.
const oldPort = "40404"

// port: the client has had a connection to FRA from the same port, which FRA has
// closed and keeps for a minute (TIME-WAIT). As long as that stands there FRA
// would acknowledge what comes from the client, and never reset it.
func (w *lab) port(ctx context.Context) (string, error) {
	if err := w.flip(ctx, "fra", true); err != nil {
		return "", err
	}
	if out, err := w.sh(ctx, "client", "curl -sS --local-port "+oldPort+" -H 'Connection: close' -r 0-9 -o /dev/null "+plain[0]); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	if err := w.waits(ctx, "1"); err != nil {
		return "", err
	}
	if err := w.flip(ctx, "lon", true); err != nil {
		return "", err
	}
	again := curlLoop
	again.name = "curl --local-port"
	again.script = `curl -sSf --local-port ` + oldPort + ` -o $OUT "$URL"; test $? -eq 56 || exit 1; ` + curlLoop.script
	all, err := w.begin(ctx, []program{again}, plain[0])
	if err != nil {
		return "", err
	}
	if err := w.known(ctx, len(all)); err != nil {
		return "", err
	}
	if err := w.waits(ctx, "0"); err != nil {
		return "", err
	}
	if err := w.flip(ctx, "fra", true); err != nil {
		return "", err
	}
	seen, err := w.finish(ctx, all, "f")
	return "FRA has forgotten the port as soon as LON tells of it: " + seen, err
}

// waits waits until FRA has so many connections of that port in TIME-WAIT.
func (w *lab) waits(ctx context.Context, n string) error {
	return eventually(ctx, "connections in TIME-WAIT at FRA: "+n, func(ctx context.Context) error {
		out, err := w.sh(ctx, "fra", "ss -Htan state time-wait '( dport = :"+oldPort+" )' | wc -l")
		if out != n {
			return errors.Join(fmt.Errorf("there are %s", out), err)
		}
		return nil
	})
}
