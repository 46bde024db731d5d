// Package packaging holds how Catchment is packed: the Debian package, the
// container image and the list of parts. There is no code here but tests, and
// the program in sbom.
package packaging

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

const root = "../.."

// dir holds what the tests build, once.
var dir string

func TestMain(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "catchment-packaging"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// settings of the scripts; xz would take half a minute a package.
var settings = []string{"SOURCE_DATE_EPOCH=1800000000", "COMPRESS=none"}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), settings...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

var built = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("make", "-s", "-C", root, "docs", "sbom", "BIN="+dir, "VERSION=v1.2.3-0-g0123456789ab")
	cmd.Env = append(os.Environ(), settings...)
	return cmd.CombinedOutput()
})

// build runs `make docs sbom` and packs the result as a version of git's.
func build(t *testing.T) {
	t.Helper()
	if out, err := built(); err != nil {
		t.Fatalf("make docs sbom: %v\n%s", err, out)
	}
}

func pack(t *testing.T, version string) string {
	t.Helper()
	build(t)
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not here: no Debian")
	}
	return run(t, "./deb.sh", dir, version, "amd64")
}

// TestVersions: both programs say the version with the commit, which the
// package is named by.
func TestVersions(t *testing.T) {
	build(t)
	for _, p := range []string{"catchment", "catchmentd"} {
		if out := run(t, filepath.Join(dir, p), "--version"); out != p+" v1.2.3-0-g0123456789ab" {
			t.Errorf("%s --version: %q", p, out)
		}
	}
	thin := withoutPrograms(t)
	for git, want := range map[string]string{
		"v1.2.3-0-g0123456789ab":        "1.2.3",
		"v1.2.3-0-g0123456789ab-dirty":  "1.2.3.dirty",
		"v1.2.3-rc1-4-g0123456789ab":    "1.2.3.rc1+4.g0123456789ab",
		"v1.2.3-12-g0123456789ab-dirty": "1.2.3+12.g0123456789ab.dirty",
		"0123456789ab":                  "0~20270115080000.0123456789ab",
		"0123456789ab-dirty":            "0~20270115080000.0123456789ab.dirty",
	} {
		deb := run(t, "./deb.sh", thin, git, "amd64")
		if got := run(t, "dpkg-deb", "-f", deb, "Version"); got != want || filepath.Base(deb) != "catchment_"+want+"_amd64.deb" {
			t.Errorf("%s: %s in %s, want %s", git, got, deb, want)
		}
		os.Remove(deb)
	}
}

// withoutPrograms is a folder as build leaves it, but for the programs, which
// are most of a package and say nothing of its version.
func withoutPrograms(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not here: no Debian")
	}
	thin := t.TempDir()
	run(t, "sh", "-c", `cp -r "$0"/docs "$0"/*.cdx.json "$0"/*.licences "$1" && touch "$1/catchmentd" "$1/catchment"`, dir, thin)
	return thin
}

// TestPackage: what is in the package, whose it is, and that the same input
// gives the same bytes.
func TestPackage(t *testing.T) {
	deb := pack(t, "v1.2.3-0-g0123456789ab")
	first, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(pack(t, "v1.2.3-0-g0123456789ab")); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second package is another (%v)", err)
	}
	list := run(t, "dpkg-deb", "-c", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root ./usr/bin/catchment", "-rwxr-xr-x root/root ./usr/bin/catchmentd",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/catchmentd.service",
		"-rw-r----- root/root ./etc/catchment/catchment.yaml", "-rw-r--r-- root/root ./etc/default/catchmentd",
		"-rw-r--r-- root/root ./usr/share/man/man1/catchment.1.gz", "-rw-r--r-- root/root ./usr/share/man/man1/catchment-doctor.1.gz",
		"-rw-r--r-- root/root ./usr/share/man/man8/catchmentd.8.gz", "-rw-r--r-- root/root ./usr/share/man/man5/catchment.yaml.5.gz",
		"-rw-r--r-- root/root ./usr/share/bash-completion/completions/catchment",
		"-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_catchment",
		"-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/catchment.fish",
		"-rw-r--r-- root/root ./usr/share/doc/catchment/copyright", "-rw-r--r-- root/root ./usr/share/doc/catchment/catchmentd.cdx.json",
		"-rw-r--r-- root/root ./usr/share/doc/catchment/examples/minimal.yaml", "-rw-r--r-- root/root ./usr/share/doc/catchment/examples/sites.yaml",
		"-rw-r--r-- root/root ./usr/share/doc/catchment/examples/routers/frr.conf",
	} {
		mode, name, _ := strings.Cut(want, " ./")
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(mode) + ` .* \./` + regexp.QuoteMeta(name) + `$`).MatchString(list) {
			t.Errorf("not there: %s", want)
		}
	}
	for line := range strings.Lines(list) {
		if !regexp.MustCompile(`^[d-][r-][w-][x-][r-]-[x-][r-]-[x-] root/root .* 2027-01-15 08:00 \./`).MatchString(line) {
			t.Errorf("mode, owner or time: %s", line)
		}
	}
	control := filepath.Join(t.TempDir(), "control")
	run(t, "dpkg-deb", "-e", deb, control)
	if got, _ := os.ReadFile(filepath.Join(control, "conffiles")); string(got) != "/etc/catchment/catchment.yaml\n/etc/default/catchmentd\n" {
		t.Errorf("conffiles %q", got)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, "sh", "-n", filepath.Join(control, script))
	}
}

// install is what happens to a package on a Debian machine: here on a copy of
// this one's files, in namespaces of its own, which all end with it.
const install = `
set -eu
one=$1 two=$2 work=$3
mount -t tmpfs tmpfs "$work"
mkdir "$work/up" "$work/w" "$work/m"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/w" "$work/m"
mkdir -p "$work/m/proc" "$work/m/run" "$work/m/tmp"
mount -t proc proc "$work/m/proc"
mount -t tmpfs tmpfs "$work/m/run"
mount -t tmpfs tmpfs "$work/m/tmp"
cp "$one" "$work/m/tmp/one.deb"
cp "$two" "$work/m/tmp/two.deb"
exec chroot "$work/m" /bin/sh -euxc '
export DEBIAN_FRONTEND=noninteractive
rm -f /var/lib/man-db/auto-update # nobody looks for a page here, and its index takes seconds each time
cd /tmp
fail() { echo "FAILED: $*"; exit 1; }
dpkg -i one.deb
getent passwd catchment | grep -q ":/var/lib/catchment:/usr/sbin/nologin$" || fail user
[ "$(stat -c "%U:%G %a" /etc/catchment/catchment.yaml)" = "root:catchment 640" ] || fail mode of the configuration
[ -z "$(dpkg --verify catchment)" ] || fail verify
if catchmentd --check-config; then fail "a configuration that says nothing is taken"; fi
[ ! -e /var/lib/catchment ] || fail state made
if [ -e /etc/systemd/system/multi-user.target.wants/catchmentd.service ]; then fail enabled; fi
if find /proc -maxdepth 2 -name comm -exec grep -l "^catchmentd$" {} + 2>/dev/null; then fail started; fi
catchment --version
echo "# mine" >>/etc/catchment/catchment.yaml
mkdir -p /var/lib/catchment/journal
dpkg -i two.deb
[ "$(dpkg-query -W -f "\${Version}" catchment)" = 1.2.4 ] || fail version
grep -q "^# mine" /etc/catchment/catchment.yaml || fail configuration lost by the upgrade
[ -d /var/lib/catchment/journal ] || fail state lost by the upgrade
dpkg -r catchment
[ ! -e /usr/bin/catchmentd ] || fail program stays
grep -q "^# mine" /etc/catchment/catchment.yaml || fail configuration lost by remove
[ -d /var/lib/catchment/journal ] || fail state lost by remove
dpkg -P catchment
for f in /etc/catchment /etc/default/catchmentd /var/lib/catchment /usr/share/doc/catchment; do
	[ ! -e $f ] || fail $f stays
done
echo ALL SEEN
'`

// TestInstall installs, upgrades, removes and purges.
func TestInstall(t *testing.T) {
	one, two := pack(t, "v1.2.3-0-g0123456789ab"), pack(t, "v1.2.4-0-g0123456789ab")
	if os.Geteuid() != 0 {
		t.Skip("dpkg gives files to several users, which takes root")
	}
	work := t.TempDir()
	cmd := exec.Command("sh", "-c", install, "sh", one, two, work)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	// The runtime makes mounts private before anything is mounted.
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nALL SEEN") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUnit has systemd's own checker read the unit.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not here")
	}
	build(t)
	tree := t.TempDir()
	unit := filepath.Join(tree, "catchmentd.service")
	text, err := os.ReadFile("../catchmentd.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program of the unit need not be installed on this machine.
	text = bytes.ReplaceAll(text, []byte("/usr/bin/catchmentd"), []byte(filepath.Join(dir, "catchmentd")))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "systemd-analyze", "verify", "--man=no", unit); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out := run(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=40", unit)
	if !strings.Contains(out, "OK") {
		t.Errorf("exposure: %s", out)
	}
}

// TestBashCompletes: the completion, loaded as bash loads it, completes.
func TestBashCompletes(t *testing.T) {
	const all = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(all); err != nil {
		t.Skip("bash-completion is not here")
	}
	build(t)
	cmd := exec.Command("bash", "-c", `set -e
. "$1"; . "$2"
COMP_LINE="catchment undr" COMP_POINT=14 COMP_WORDS=(catchment undr) COMP_CWORD=1 COMP_TYPE=9
compopt() { :; } # there is no command line here
__start_catchment
echo "${COMPREPLY[@]}"`, "bash", all, filepath.Join(dir, "docs/completions/catchment.bash"))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "undrain\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestStatic: no interpreter, no library.
func TestStatic(t *testing.T) {
	build(t)
	for _, p := range []string{"catchment", "catchmentd"} {
		f, err := elf.Open(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		libs, err := f.ImportedLibraries()
		interp := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		if err != nil || len(libs) > 0 || interp {
			t.Errorf("%s: libraries %v, interpreter %v, %v", p, libs, interp, err)
		}
	}
}

// TestImage runs the daemon in the tree of the image, with nothing else.
func TestImage(t *testing.T) {
	build(t)
	out := t.TempDir()
	run(t, "./image.sh", dir, out)
	tree := filepath.Join(out, "root")
	text, err := os.ReadFile("../minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "etc/catchment/catchment.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	docker, err := os.ReadFile(filepath.Join(out, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile(`(?m)^ENTRYPOINT \["(.*)"\]$`).FindSubmatch(docker)
	if entry == nil || !regexp.MustCompile(`(?m)^FROM scratch$`).Match(docker) {
		t.Fatalf("%s", docker)
	}
	// As every container has it, /proc is there.
	cmd := exec.Command("sh", "-euc", `mount --make-rprivate /; mkdir "$0/proc"; mount --rbind /proc "$0/proc"; exec chroot "$0" "$@"`,
		tree, string(entry[1]), "--check-config", "--config", "/etc/catchment/catchment.yaml")
	cmd.SysProcAttr = sandbox.Attr()
	got, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(got), "is right: POP LON") {
		t.Errorf("%v %s", err, got)
	}
}

// TestSBOM: the modules that were linked, their licences, and the program's own
// digest.
func TestSBOM(t *testing.T) {
	build(t)
	text, err := os.ReadFile(filepath.Join(dir, "catchmentd.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat, SerialNumber string
		Metadata                struct {
			Component struct {
				Name, Version string
				Hashes        []struct{ Content string }
			}
		}
		Components []struct {
			Name, Version, PURL string
			Licenses            []struct{ License struct{ ID string } }
		}
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	sum := strings.Fields(run(t, "sha256sum", filepath.Join(dir, "catchmentd")))[0]
	self := bom.Metadata.Component
	if bom.BOMFormat != "CycloneDX" || self.Name != "catchmentd" || self.Version != "v1.2.3-0-g0123456789ab" || len(self.Hashes) != 1 || self.Hashes[0].Content != sum {
		t.Errorf("%+v", self)
	}
	listed, licences := map[string]string{}, map[string]string{}
	for _, c := range bom.Components {
		listed[c.Name] = c.Version
		if !strings.HasPrefix(c.PURL, "pkg:golang/") || len(c.Licenses) == 0 {
			t.Errorf("%+v", c)
		}
		for _, l := range c.Licenses {
			licences[c.Name] += l.License.ID + " "
			if !slices.Contains([]string{"Apache-2.0", "MIT", "BSD-3-Clause", "BSD-2-Clause", "MPL-2.0", "ISC"}, l.License.ID) {
				t.Errorf("%s: may we link what is under %s?", c.Name, l.License.ID)
			}
		}
	}
	for name, want := range map[string]string{"std": "BSD-3-Clause ", "github.com/osrg/gobgp/v3": "Apache-2.0 "} {
		if licences[name] != want {
			t.Errorf("%s is under %q, want %q", name, licences[name], want)
		}
	}
	linked := run(t, "go", "version", "-m", filepath.Join(dir, "catchmentd"))
	texts, err := os.ReadFile(filepath.Join(dir, "catchmentd.licences"))
	if err != nil || bytes.Count(texts, []byte("\n==== ")) != len(bom.Components) || bytes.Count(texts, []byte("Copyright")) < len(bom.Components) {
		t.Errorf("the texts of the licences: %d bytes, %v", len(texts), err)
	}
	n := 1 // std
	for _, m := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(linked, -1) {
		n++
		if listed[m[1]] != m[2] {
			t.Errorf("%s %s is linked, %q is listed", m[1], m[2], listed[m[1]])
		}
	}
	if n < 20 || n != len(bom.Components) || listed["std"] == "" {
		t.Errorf("%d linked, %d listed", n, len(bom.Components))
	}
}
