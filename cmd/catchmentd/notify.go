package main

import (
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tell gives systemd the line that `systemctl status` shows (sd_notify(3),
// STATUS=): the journal may lose whose the last words of a short life were.
// Without systemd it does nothing.
func tell(status string) {
	daemon.SdNotify(false, "STATUS="+strings.Join(strings.Split(strings.TrimSpace(status), "\n"), "; "))
}

// shortest is how long a life takes at least that ends with a failure. systemd
// starts the daemon again within a fifth of a second, which is right after a
// crash and too often for what will be the same each time, such as a
// configuration that is refused.
const shortest = 2 * time.Second

// unhurried returns the exit status of a life since born, under systemd after
// shortest. What ExecReload= runs has a MAINPID and does not wait.
func unhurried(born time.Time, status int) int {
	if status != 0 && os.Getenv("NOTIFY_SOCKET") != "" && os.Getenv("MAINPID") == "" {
		<-time.After(shortest - time.Since(born))
	}
	return status
}
