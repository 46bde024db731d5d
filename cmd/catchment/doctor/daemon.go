package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

const restart = "systemctl restart catchmentd"

// configFindings are what the configuration's own judges say.
func configFindings(h *Host) []Finding {
	var out []Finding
	check := "catchmentd --check-config --config " + h.ConfigPath
	for _, m := range h.Mistakes {
		out = append(out, Finding{
			Severity: Bad, Name: "config", What: m, Why: "a reload is refused, and a daemon that ends does not start again",
			Change: "mend " + h.ConfigPath, Command: check,
		})
	}
	if h.Config == nil {
		return out
	}
	for _, w := range h.Config.Warnings {
		if !h.Config.Fleet.Configured() && strings.Contains(w, "last-pop") {
			continue // fleetFindings says it, and what to do
		}
		out = append(out, Finding{
			Severity: Warn, Name: "config", What: w, Why: "it is allowed, and probably not meant",
			Change: "mend " + h.ConfigPath + ", then `catchment reload`", Command: check,
		})
	}
	return out
}

// daemonFindings are about the daemon and the sockets it should answer on.
func daemonFindings(h *Host) []Finding {
	var out []Finding
	for _, s := range h.Sockets {
		if s.Err == "" {
			continue
		}
		f := Finding{
			Severity: Bad, Name: "socket", About: s.Key, What: s.Address + ": " + s.Err,
			Why: "what asks there (a client, Prometheus, another POP) gets no answer", Command: restart,
		}
		if s.Key == "api.socket" {
			f.Name, f.Command = "daemon", "systemctl start catchmentd"
			f.Why = "without a daemon nothing is announced by health, and what routers still hold goes with the graceful restart time"
		} else if h.Status == nil {
			continue // there is no daemon
		}
		out = append(out, f)
	}
	if h.Status == nil {
		return out
	}
	if h.Status.DryRun {
		out = append(out, Finding{
			Severity: Warn, Name: "dry-run", What: "the daemon runs with --dry-run", Why: "it decides, and announces nothing", Command: restart,
		})
	}
	if v := h.Status.Version; v != "" && h.Version != "" && v != h.Version {
		out = append(out, Finding{
			Severity: Warn, Name: "version", What: "catchmentd that runs is " + v + ", catchment is " + h.Version,
			Why: "what was installed last is not what runs", Command: restart,
		})
	}
	return out
}

// alarmFindings repeat the daemon's own alarms.
func alarmFindings(h *Host) []Finding {
	if h.Status == nil {
		return nil
	}
	var out []Finding
	for _, a := range h.Status.Alarms {
		if a.Name == policy.AlarmInvalid && h.RPKI != nil && h.RPKI.Known {
			continue // originFindings says it, and what to do
		}
		f := Finding{
			Severity: Bad, Name: "alarm", About: a.Name, What: a.Detail, Why: "the daemon raised this alarm itself",
			Command: "catchment journal -n 20",
		}
		if a.Slice.Prefix().IsValid() {
			f.About += " " + a.Slice.String()
			f.Command = "catchment explain " + a.Slice.String()
		}
		f.Change = "the command shows what led to it"
		out = append(out, f)
	}
	return out
}

// needed says which capabilities the configuration asks for, and what for.
func (h *Host) needed() map[uint]string {
	need := map[uint]string{}
	if h.Config == nil {
		return need
	}
	for _, s := range h.Config.Services {
		if len(s.VIPs.Addresses) > 0 {
			need[unix.CAP_NET_ADMIN] = "putting service addresses on devices"
		}
		for _, c := range s.Checks {
			if c.Probe.Type == probe.ICMP {
				need[unix.CAP_NET_RAW] = "the check " + string(c.ID)
			}
		}
	}
	if h.Config.FIB.Install {
		need[unix.CAP_NET_ADMIN] = "writing routes (fib.install)"
	}
	if port := ownPort(h.Config.BGP); len(h.Neighbors) > 0 && port >= 0 && port < 1024 {
		need[unix.CAP_NET_BIND_SERVICE] = fmt.Sprintf("listening on port %d", port)
	}
	c := h.Config
	for key, list := range map[string][]netip.AddrPort{
		"cache.listen": c.Cache.Listen, "cache.tls.listen": c.Cache.TLS.Listen, "dns.listen": c.DNS.Listen, "dns.tls.listen": c.DNS.TLS.Listen,
	} {
		if slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Port() < 1024 }) {
			need[unix.CAP_NET_BIND_SERVICE] = "the ports of " + key
		}
	}
	if c.Resync.On() && c.Resync.Probes > 0 {
		need[unix.CAP_NET_RAW] = "waking clients of POPs that are gone (resync.probes)"
	}
	if what := h.neededForBPF(); what != "" {
		need[unix.CAP_BPF], need[unix.CAP_PERFMON] = what, what
	}
	return need
}

// ownPort is where the speaker listens, negative: nowhere.
func ownPort(section map[string]any) int {
	global, _ := section["global"].(map[string]any)
	config, _ := global["config"].(map[string]any)
	port, err := strconv.Atoi(fmt.Sprint(config["port"]))
	if err != nil || port == 0 {
		return 179
	}
	return port
}

var capabilityNames = map[uint]string{
	unix.CAP_NET_ADMIN: "cap_net_admin", unix.CAP_NET_RAW: "cap_net_raw", unix.CAP_NET_BIND_SERVICE: "cap_net_bind_service",
	unix.CAP_BPF: "cap_bpf", unix.CAP_PERFMON: "cap_perfmon",
}

// capabilityFindings are about what the daemon's process may do.
func capabilityFindings(h *Host) []Finding {
	if h.Daemon == nil || h.Daemon.Exe == "" {
		return nil
	}
	var out []Finding
	need := h.needed()
	all := []uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}
	if need[unix.CAP_BPF] != "" {
		all = append(all, unix.CAP_BPF, unix.CAP_PERFMON)
	}
	var names []string
	for _, c := range all {
		names = append(names, capabilityNames[c])
	}
	for _, c := range all {
		if need[c] == "" || h.Daemon.Capabilities&(1<<c) != 0 {
			continue
		}
		f := Finding{
			Severity: Bad, Name: "capability", About: capabilityNames[c],
			What:    fmt.Sprintf("process %d (%s) lacks %s", h.Daemon.PID, h.Daemon.Exe, capabilityNames[c]),
			Why:     "it is needed for " + need[c],
			Command: "setcap " + strings.Join(names, ",") + "+ep " + h.Daemon.Exe + fmt.Sprintf(" && kill -USR2 %d", h.Daemon.PID),
			Change:  "the daemon must be started again; under systemd the unit gives it: AmbientCapabilities=",
		}
		if c == unix.CAP_BPF || c == unix.CAP_PERFMON {
			f.Severity = Warn // there is another way, which is worse
		}
		out = append(out, f)
	}
	return out
}

// leastFree is what must be free on the disk, whatever the journal's bounds.
const leastFree = 64 << 20

// stateFindings are about the state directory.
func stateFindings(h *Host) []Finding {
	s := h.State
	if s == nil {
		return nil
	}
	f := Finding{Severity: Bad, Name: "state-dir", About: s.Dir}
	switch {
	case s.Missing && h.Status == nil:
		return nil // the daemon makes it
	case s.Missing:
		f.What, f.Why = "it is gone while the daemon runs", "journal, intents and owned addresses are not kept over a restart"
		f.Command = restart
	case s.ReadOnly:
		f.What, f.Why = "its file system is read-only", "nothing that is decided or asked for is kept"
		f.Command = "mount -o remount,rw $(findmnt -n -o TARGET -T " + s.Dir + ")"
	case h.Daemon != nil && !s.writable(h.Daemon):
		f.What = fmt.Sprintf("the daemon (uid %d) may not write there: owner %d, group %d, mode %04o", h.Daemon.UID, s.Owner, s.Group, s.Mode)
		f.Why = "nothing that is decided or asked for is kept"
		f.Command = fmt.Sprintf("chown -R %d:%d %s && chmod 750 %s", h.Daemon.UID, h.Daemon.GID, s.Dir, s.Dir)
	case s.Free < leastFree || s.Inodes == 0 && !s.NoInodes:
		f.What = fmt.Sprintf("%d MiB and %d inodes are free", s.Free>>20, s.Inodes)
		if s.NoInodes {
			f.What = fmt.Sprintf("%d MiB are free", s.Free>>20)
		}
		f.Why = "when the disk is full the journal waits in memory and is lost with the process"
		f.Change = "free space there; to see what takes it:"
		f.Command = "du -xh " + s.Dir + " | sort -h | tail"
	default:
		return journalFindings(h)
	}
	return []Finding{f}
}

// journalFindings compare the room with what the journal may grow to.
func journalFindings(h *Host) []Finding {
	if h.Config == nil {
		return nil
	}
	size, keep := h.Config.Journal.MaxSize, int64(h.Config.Journal.Keep)
	grows := size*(keep+1) - h.State.Journal
	if grows <= 0 || h.State.Free >= grows {
		return nil
	}
	fits := max(0, (h.State.Free+h.State.Journal-leastFree)/size-1)
	return []Finding{{
		Severity: Warn, Name: "journal-space", About: h.State.Dir,
		What: fmt.Sprintf("the journal may still grow by %d MiB, %d MiB are free", grows>>20, h.State.Free>>20),
		Why:  "when the disk is full the journal waits in memory and is lost with the process",
		Command: fmt.Sprintf("echo CATCHMENT_JOURNAL_KEEP=%d >>/etc/default/catchmentd && %s",
			max(1, fits), restart),
		Change: "or set journal.keep and journal.max-size",
	}}
}

// writable judges by owner, group and mode, as the kernel would.
func (s *State) writable(d *Daemon) bool {
	const wx = 0o3
	switch {
	case d.UID == 0 && d.Capabilities&(1<<unix.CAP_DAC_OVERRIDE) != 0:
		return true
	case d.UID == s.Owner:
		return s.Mode>>6&wx == wx
	case d.GID == s.Group || slices.Contains(d.Groups, s.Group):
		return s.Mode>>3&wx == wx
	}
	return s.Mode&wx == wx
}

// checkFindings are about checks that say nothing.
func checkFindings(h *Host) []Finding {
	if h.Status == nil {
		return nil
	}
	var out []Finding
	for _, s := range h.Status.Services {
		for _, c := range s.Checks {
			if c.Hung == 0 && (c.Outcome != "cannot-tell" || c.Verdict != policy.Unknown) {
				continue
			}
			out = append(out, Finding{
				Severity: Warn, Name: "check", About: string(s.ID) + "/" + string(c.ID), What: checkSays(c),
				Why:     "a check that cannot tell changes nothing: the service may be dead and stays announced",
				Command: "catchment explain " + string(s.ID), Change: "mend what the check needs to run",
			})
		}
	}
	return out
}

func checkSays(c api.CheckStatus) string {
	if c.Hung > 0 {
		return fmt.Sprintf("%d runs have not come back", c.Hung)
	}
	if c.Detail == "" {
		return "it has not run yet"
	}
	return "it cannot tell: " + c.Detail
}
