package jump

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
)

// child names the directory of pins in a process without capabilities.
const child = "CATCHMENT_JUMP_PINS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		os.Exit(unprivileged(dir))
	}
	sandbox.Main(m)
}

// loaded is one that ends with the test.
func loaded(t *testing.T) *Jumper {
	t.Helper()
	j, err := Load()
	if errors.Is(err, unix.EPERM) {
		t.Skip("this user may load nothing into the kernel (CAP_BPF): ", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// connection is one to ourselves, and its sender's file descriptor.
func connection(host, control string) (c *net.TCPConn, fd int, done func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, 0, nil, err
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, 0, nil, err
	}
	a, err := l.Accept()
	if err != nil {
		return nil, 0, nil, err
	}
	c = a.(*net.TCPConn)
	f, err := c.File()
	if err != nil {
		return nil, 0, nil, err
	}
	if control != "" {
		err = unix.SetsockoptString(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
	}
	return c, int(f.Fd()), func() { f.Close(); d.Close(); c.Close() }, err
}

func info(fd int) (*unix.TCPInfo, string, error) {
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return nil, "", err
	}
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return i, name, err
}

// check applies a hint and says what is wrong afterwards.
func check(j *Jumper, fd int) error {
	_, before, err := info(fd)
	if err != nil {
		return err
	}
	i, _, _ := info(fd)
	mss := uint64(i.Snd_mss)
	if err := j.Apply(fd, Hint{Window: 100*mss - 1, Threshold: 200 * mss, Rate: 5e6}); err != nil {
		return err
	}
	i, after, err := info(fd)
	if err != nil {
		return err
	}
	paced, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
	buffer, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	switch {
	case i.Snd_cwnd != 100 || after != before:
		return fmt.Errorf("%s with a window of %d, want %s with 100", after, i.Snd_cwnd, before)
	case i.Snd_ssthresh != 200 && before != "bbr": // bbr has none
		return fmt.Errorf("threshold %d, want 200", i.Snd_ssthresh)
	case err != nil || paced != 5e6:
		return fmt.Errorf("paced at %d, %v, want 5e6", paced, err)
	case uint64(buffer) < 2*99*mss:
		return fmt.Errorf("a send buffer of %d", buffer)
	}
	// The hint was used up: who selects the congestion control again keeps
	// what has become of the window.
	if err := j.Apply(fd, Hint{}); err != nil {
		return err
	}
	if i, _, _ := info(fd); i.Snd_cwnd != 100 {
		return fmt.Errorf("no hint makes the window %d", i.Snd_cwnd)
	}
	if err := Pace(fd, 0); err != nil {
		return err
	}
	paced, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
	if err != nil || paced != ^uint64(0) {
		return fmt.Errorf("the bound of the pace is lifted to %d, %v", paced, err)
	}
	return nil
}

// TestApply: the window is there at once, and the congestion control that was
// there goes on with it, in both families.
func TestApply(t *testing.T) {
	j := loaded(t)
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, control := range []string{"cubic", "bbr", "reno"} {
			t.Run(host+" "+control, func(t *testing.T) {
				_, fd, done, err := connection(host, control)
				if errors.Is(err, unix.ENOENT) {
					t.Skip("this kernel has no ", control)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer done()
				if err := check(j, fd); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestNoSocket: what is no TCP socket, or none any more, is an error.
func TestNoSocket(t *testing.T) {
	j := loaded(t)
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, fd := range []int{int(f.Fd()), -1} {
		if err := j.Apply(fd, Hint{Window: 1e6}); err == nil {
			t.Errorf("descriptor %d: no error", fd)
		}
	}
}

// TestTwo: two processes on one host have one each, with names of their own.
func TestTwo(t *testing.T) {
	one, two := loaded(t), loaded(t)
	if one.Name() == two.Name() || !strings.HasPrefix(two.Name(), Name[:11]) || len(two.Name()) > 15 {
		t.Errorf("named %q and %q", one.Name(), two.Name())
	}
	for _, j := range []*Jumper{two, one} {
		_, fd, done, err := connection("127.0.0.1", "reno")
		if err != nil {
			t.Fatal(err)
		}
		if err := check(j, fd); err != nil {
			t.Errorf("%s: %v", j.Name(), err)
		}
		done()
	}
}

// TestPinned: a process without any capability gives hints by the pin, also
// when the one that loaded it has let go; where the kernel would not let it
// select the socket's own congestion control again, nothing is changed.
func TestPinned(t *testing.T) {
	j := loaded(t)
	fs := t.TempDir()
	if err := os.Chmod(filepath.Dir(fs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", fs, "bpf", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(fs, unix.MNT_DETACH)
	dir := filepath.Join(fs, "catchment")
	const nobody = 65534
	if err := j.Pin(dir, nobody); err != nil {
		t.Fatal(err)
	}
	j.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reach(t, self)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), child+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := Unpin(dir); err != nil {
		t.Error(err)
	}
	if _, err := Open(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open of no pin: %v", err)
	}
}

// reach lets every user run a file in a temporary directory.
func reach(t *testing.T, path string) {
	for dir := filepath.Dir(path); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// unprivileged is the child of TestPinned.
func unprivileged(dir string) int {
	if err := func() error {
		if may(unix.CAP_NET_ADMIN) || may(unix.CAP_BPF) {
			return errors.New("it has capabilities")
		}
		j, err := Open(dir)
		if err != nil {
			return err
		}
		defer j.Close()
		_, fd, done, err := connection("127.0.0.1", "reno")
		if err != nil {
			return err
		}
		defer done()
		if err := check(j, fd); err != nil {
			return err
		}
		allowed, err := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
		if err != nil {
			return err
		}
		_, fd, done, err = connection("127.0.0.1", "")
		if err != nil {
			return err
		}
		defer done()
		i, name, _ := info(fd)
		err = j.Apply(fd, Hint{Window: 1e6})
		if strings.Contains(" "+strings.TrimSpace(string(allowed))+" ", " "+name+" ") {
			return err
		}
		if now, _, _ := info(fd); !errors.Is(err, ErrRestricted) || now.Snd_cwnd != i.Snd_cwnd {
			return fmt.Errorf("%s is not allowed: %v, window %d, was %d", name, err, now.Snd_cwnd, i.Snd_cwnd)
		}
		return nil
	}(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
