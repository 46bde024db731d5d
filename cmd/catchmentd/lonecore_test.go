package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

// TestCoreByDefault: a POP whose configuration says nothing of a core has one of
// its own, small and on no socket of the network: with history and rollback,
// and asked by its own name.
func TestCoreByDefault(t *testing.T) {
	w := newWorld(t)
	w.sections["web"] = `{listen: ""}`
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	d := &node{w: w, name: "LON", p: p, c: w.client()}
	d.core("of this POP alone", func(s api.CoreStatus) bool { return voters(1)(s) && s.Alone })
	for _, at := range listeners(t, p.cmd.Process.Pid) {
		if at.Port != 179 && at.String() != w.metrics() {
			t.Errorf("it listens at %v", at)
		}
	}
	if used := usedBy(t, filepath.Join(w.file("state"), "core")); used > 10<<20 {
		t.Errorf("the core takes %d bytes of the disk", used)
	}

	for _, text := range []string{"log: {level: info}", "log: {level: warn}"} {
		if r := d.do("put", api.CoreChange{Name: "fleet", Text: text}); !strings.Contains(r.Text, "core.config is not set") {
			t.Errorf("put: %+v", r)
		}
	}
	if list, err := d.c.CoreHistory(soon(t), api.CoreQuery{Key: "config/fleet"}); err != nil || len(list) != 2 {
		t.Errorf("history: %+v, %v", list, err)
	}
	d.do("rollback", api.CoreChange{Name: "fleet", Version: 1})
	if o, err := d.c.CoreShow(soon(t), api.CoreQuery{Key: "fleet"}); err != nil || o.Text != "log: {level: info}" {
		t.Errorf("after the rollback: %+v, %v", o, err)
	}
	if _, err := d.c.Drain(soon(t), api.Change{POP: "FRA", Service: "web", Why: "x"}); err == nil || !strings.Contains(err.Error(), "of this POP alone") {
		t.Errorf("drain of another POP: %v", err)
	}
	if r, err := d.c.Drain(soon(t), api.Change{POP: "LON", Service: "web", Why: "x"}); err != nil {
		t.Errorf("drain by its own name: %+v, %v", r, err)
	}
	w.r4.await(0, "announce "+web4, "withdraw "+web4)
	if r, err := d.c.Undrain(soon(t), api.Change{Service: "web", Why: "x"}); err != nil {
		t.Errorf("undrain: %+v, %v", r, err)
	}

	// With the first service of a daemon that had none, nothing has to restart.
	p.signal(syscall.SIGKILL)
	<-p.done
	w.sections["fib"] = "{install: true, table: " + strconv.Itoa(1000+w.n) + "}"
	w.configure()
	p = w.start(nil)
	p.says("msg=ready")
	w.configure(w.web())
	from := len(w.r4.heard())
	p.signal(syscall.SIGHUP)
	w.r4.await(from, "announce "+web4)
}

// listeners are the TCP sockets on which a process listens.
func listeners(t *testing.T, pid int) []*net.TCPAddr {
	t.Helper()
	own := map[string]bool{}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if to, err := os.Readlink(filepath.Join(fds, f.Name())); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to[len("socket:"):], "[]")] = true
		}
	}
	var out []*net.TCPAddr
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			field := strings.Fields(lines.Text()) // sl local remote state ... inode is the tenth
			if len(field) < 10 || field[3] != "0A" || !own[field[9]] {
				continue
			}
			host, port, _ := strings.Cut(field[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, &net.TCPAddr{IP: kernelIP(t, host), Port: int(n)})
		}
	}
	if len(out) == 0 {
		t.Fatal("it listens nowhere, not even for BGP: this reads the wrong thing")
	}
	return out
}

// kernelIP reads an address of /proc/net/tcp: words of the host's order, which
// is little endian wherever this runs.
func kernelIP(t *testing.T, s string) net.IP {
	t.Helper()
	out := make(net.IP, len(s)/2)
	for i := range out {
		b, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		out[i-i%4+3-i%4] = byte(b)
	}
	return out
}

// usedBy is how many bytes of the disk the files below a directory take.
func usedBy(t *testing.T, dir string) (used int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // renamed meanwhile
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			used += st.Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}
