package netlab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Publish lets Connect find a lab that this process holds, as if it were one
// in the background, until ctx ends or somebody asks for its end
// (Client.Down). The lab is down then. Where a lab of that name is up already
// it fails and the lab stays.
func (l *Lab) Publish(ctx context.Context) error {
	if _, err := Connect(l.Name()); err == nil {
		return fmt.Errorf("lab %s is already up", l.Name())
	}
	path := socketPath(l.Name())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("publish lab %s: %w", l.Name(), err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	k := &keeper{lab: l, stop: stop}
	context.AfterFunc(ctx, func() { ln.Close() })
	k.accept(ctx, ln)
	err = l.Down()
	k.bye(err)
	return err
}
