package doctor

import (
	"fmt"
	"time"
)

// maxClockError is how far the clock may be off, by its own account.
const maxClockError = time.Second

// clockFindings: decisions use the monotonic clock, and POPs never compare
// theirs; people do.
func clockFindings(h *Host) []Finding {
	if h.Clock == nil || h.Clock.Synchronized && h.Clock.MaxError <= maxClockError {
		return nil
	}
	what := "nothing keeps it in step"
	if h.Clock.Synchronized {
		what = fmt.Sprintf("it may be off by %v", h.Clock.MaxError.Round(time.Millisecond))
	}
	return []Finding{{
		Severity: Warn, Name: "clock", What: "the clock is not synchronized: " + what,
		Why:     "journals of several POPs cannot be put side by side, and TLS checks judge certificates by the wrong day",
		Command: "timedatectl set-ntp true", Change: "needs systemd-timesyncd or chrony",
	}}
}

// kernelFindings are about features that are used and not there.
func kernelFindings(h *Host) []Finding {
	if h.Kernel == nil {
		return nil
	}
	var out []Finding
	add := func(s Severity, about, err, why, command, change string) {
		if err != "" {
			out = append(out, Finding{
				Severity: s, Name: "kernel", About: about, What: err, Why: why, Command: command, Change: change,
			})
		}
	}
	add(Warn, "sock_diag", h.Kernel.SockDiag, "a killed service is noticed by the next probe, not at once", "modprobe -a inet_diag tcp_diag udp_diag", "")
	add(Warn, "pidfd", h.Kernel.PIDFD, "the end of a process named by pidfile is noticed by the next probe, not at once", "", "use Linux 5.3 or later")
	add(Bad, "md5", h.Kernel.MD5, "sessions with auth-password cannot come up", "", "use a kernel with CONFIG_TCP_MD5SIG")
	add(Bad, "ipv6", h.Kernel.IPv6, "IPv6 services cannot be reached here", "sysctl -w net.ipv6.conf.all.disable_ipv6=0", "remove ipv6.disable=1 from the kernel's command line")
	return out
}
