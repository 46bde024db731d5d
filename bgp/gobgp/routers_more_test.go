package gobgp_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// ownRun gives the sandbox a /run of its own, with the directory that OpenBGPD
// is chrooted to.
var ownRun = sync.OnceValue(func() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return os.Mkdir("/run/openbgpd", 0o755)
})

// openbgpd is OpenBGPD with GTSM and as a helper; outside of OpenBSD it has
// no TCP MD5.
func openbgpd(t *testing.T, us, addr netip.Addr) router {
	const bgpd = "/usr/sbin/bgpd"
	if _, err := os.Stat(bgpd); err != nil {
		t.Skip("no OpenBGPD: ", err)
	}
	if data, err := os.ReadFile("/proc/self/uid_map"); err != nil || strings.HasSuffix(strings.TrimSpace(string(data)), " 1") {
		t.Skipf("OpenBGPD becomes another user, and there is none here: %s %v", data, err)
	}
	if err := ownRun(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	family, other := "IPv4", "IPv6"
	if addr.Is6() {
		family, other = other, family
	}
	conf := fmt.Sprintf(`AS %d
router-id 10.255.0.9
listen on %s
socket "%s"
fib-update no
connect-retry 1
neighbor %s {
	remote-as %d
	local-address %s
	announce %s unicast
	announce %s none
	announce restart yes
	ttl-security yes
}
allow from any
deny to any
`, asA, addr, filepath.Join(dir, "ctl"), us, ourAS, addr, family, other)
	file := filepath.Join(dir, "bgpd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, bgpd, "-d", "-f", file)
	return router{mode: "gtsm", stale: "stale", words: []string{"metric 77", "GRACEFUL_SHUTDOWN", "64500:1:2"}, show: func(p netip.Prefix) string {
		out, _ := exec.Command("/usr/sbin/bgpctl", "-s", filepath.Join(dir, "ctl"), "show", "rib", "detail", p.String()).CombinedOutput()
		return string(out)
	}}
}

// tool builds a program of go.mod's tools and says where it is.
func tool(t *testing.T, pkg string) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", pkg).Output()
	if err != nil {
		t.Skipf("no %s: %v", pkg, err)
	}
	return strings.TrimSpace(string(out))
}

// stockGobgpd is gobgpd as its project makes it.
func stockGobgpd(t *testing.T, us, addr netip.Addr) router {
	const cmd = "github.com/osrg/gobgp/v3/cmd/"
	daemon, client := tool(t, cmd+"gobgpd"), tool(t, cmd+"gobgp")
	dir := t.TempDir()
	family := "ipv4"
	if addr.Is6() {
		family = "ipv6"
	}
	conf := fmt.Sprintf(`
[global.config]
  as = %d
  router-id = "10.255.0.10"
  local-address-list = ["%s"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "%s"
    peer-as = %d
    auth-password = "secret"
  [neighbors.transport.config]
    local-address = "%s"
    passive-mode = true
  [neighbors.ttl-security.config]
    enabled = true
    ttl-min = 255
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "%s-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`, asA, addr, us, ourAS, addr, family)
	file, socket := filepath.Join(dir, "gobgpd.toml"), "unix://"+filepath.Join(dir, "api")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, daemon, "-f", file, "--api-hosts", socket, "--pprof-disable")
	return router{stale: "S*", words: []string{"{Med: 77}", "planned-shut", "64500:1:2"}, show: func(p netip.Prefix) string {
		out, _ := exec.Command(client, "--target", socket, "global", "rib", "-a", family, p.String()).CombinedOutput()
		return string(out)
	}}
}
