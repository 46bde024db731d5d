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
)

// caller is who is at the other end of the socket, as the kernel says.
type caller struct {
	known bool
	uid   uint32
	gid   uint32
}

type callerKey struct{}

// withCaller notes who opened the connection (SO_PEERCRED).
func withCaller(ctx context.Context, c net.Conn) context.Context {
	var who caller
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
					who = caller{known: true, uid: cred.Uid, gid: cred.Gid}
				}
			})
		}
	}
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller)
	return who
}

// String is the `by` of an intent, e.g. "uid 0 (root)".
func (c caller) String() string {
	if !c.known {
		return "unknown"
	}
	id := strconv.FormatUint(uint64(c.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return fmt.Sprintf("uid %s (%s)", id, u.Username)
	}
	return "uid " + id
}

// mayChange: root, the daemon's own user, and members of the group.
func (c caller) mayChange(group string) bool {
	if !c.known {
		return false
	}
	if c.uid == 0 || int(c.uid) == os.Geteuid() {
		return true
	}
	if group == "" {
		return false
	}
	gid, err := groupID(group)
	if err != nil {
		return false
	}
	if int(c.gid) == gid {
		return true
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(c.uid), 10))
	if err != nil {
		return false
	}
	all, err := u.GroupIds()
	return err == nil && slices.Contains(all, strconv.Itoa(gid))
}
