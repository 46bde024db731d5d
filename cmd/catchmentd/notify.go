package main

import (
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tell gives systemd the line that `systemctl status` shows (sd_notify(3),
// STATUS=): the journal may lose whose the last words of a short life were.
// Without systemd it does nothing.
func tell(status string) {
	daemon.SdNotify(false, "STATUS="+strings.Join(strings.Split(strings.TrimSpace(status), "\n"), "; "))
}
