package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/peer"
)

// caller is who asks. To be able to connect is the right to read.
type caller interface {
	// String is the `by` of an intent.
	String() string
	// mayChange is nil for who may change things, and says otherwise what that
	// takes.
	mayChange() error
}

type callerKey struct{}

func withCaller(ctx context.Context, who caller) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// callerOf is who asks, over HTTP or gRPC.
func callerOf(ctx context.Context) caller {
	if who, ok := ctx.Value(callerKey{}).(caller); ok {
		return who
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(authInfo); ok {
			return info.who
		}
	}
	return stranger{}
}

// stranger is a caller that nothing is known of.
type stranger struct{}

func (stranger) String() string   { return "unknown" }
func (stranger) mayChange() error { return forbidden(stranger{}, "that takes a connection of its own") }

func forbidden(who caller, takes string) error {
	return Errorf(Forbidden, "%s may read but not change: %s", who, takes)
}

// process is at the other end of a Unix socket, as the kernel says
// (SO_PEERCRED); nothing it writes can alter that.
type process struct {
	uid, gid uint32
	group    string // that may change things; empty: none
}

// processOf tells who opened the connection.
func processOf(c *net.UnixConn, group string) caller {
	raw, err := c.SyscallConn()
	if err != nil {
		return stranger{}
	}
	var who caller = stranger{}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			who = process{cred.Uid, cred.Gid, group}
		}
	})
	return who
}

// String is e.g. "uid 0 (root)".
func (p process) String() string {
	id := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return fmt.Sprintf("uid %s (%s)", id, u.Username)
	}
	return "uid " + id
}

// mayChange: root, the daemon's own user, and members of the group.
func (p process) mayChange() error {
	if p.uid == 0 || int(p.uid) == os.Geteuid() || p.inGroup() {
		return nil
	}
	return forbidden(p, "that takes root, the daemon's user or the configured group (api.group)")
}

func (p process) inGroup() bool {
	if p.group == "" {
		return false
	}
	gid, err := groupID(p.group)
	if err != nil {
		return false
	}
	if int(p.gid) == gid {
		return true
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(p.uid), 10))
	if err != nil {
		return false
	}
	all, err := u.GroupIds()
	return err == nil && slices.Contains(all, strconv.Itoa(gid))
}

// holder has a client certificate that api.tls.client-ca signed.
type holder struct {
	names   []string // of the certificate: common name, then subject alternative names
	address string
	changes []string // names that may change things; "*": every one
	// valid says whether the certificate is good still: a connection may be
	// older than the files. nil: it is.
	valid func() error
}

// String is e.g. "certificate alice (192.0.2.7)".
func (h holder) String() string {
	name := "without a name"
	if len(h.names) > 0 {
		name = h.names[0]
	}
	return fmt.Sprintf("certificate %s (%s)", name, h.address)
}

func (h holder) mayChange() error {
	if h.valid != nil {
		if err := h.valid(); err != nil {
			return forbidden(h, "its certificate is not accepted any more: "+err.Error())
		}
	}
	for _, n := range h.changes {
		if n == "*" || slices.Contains(h.names, n) {
			return nil
		}
	}
	return forbidden(h, "that takes a certificate whose name is in api.tls.change")
}

// local connected over loopback without saying who it is.
type local struct {
	address string
	changes bool
	key     string // of the configuration, that allows changes
}

// String is e.g. "127.0.0.1:41234".
func (l local) String() string { return l.address }

func (l local) mayChange() error {
	if l.changes {
		return nil
	}
	return forbidden(l, "that takes the Unix socket, or "+l.key+" in the configuration")
}
