package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// server is one subject that runs.
type server struct {
	name string
	port int
	cmd  *exec.Cmd
	log  *os.File
}

// subjects in the order they are asked; the ports are theirs.
var subjects = []string{"catchment", "gdnsd", "knot", "coredns"}

// answers says whether a server has a set.
func answers(name, set string) bool { return set == "static" || name != "coredns" }

// start writes what a server needs into a folder and starts it on a core.
func (w *world) start(ctx context.Context, name, nets string, port int) (*server, error) {
	dir := filepath.Join(w.dir, name+strconv.Itoa(port))
	if err := os.MkdirAll(filepath.Join(dir, "zones"), 0o755); err != nil {
		return nil, err
	}
	var args []string
	var err error
	switch name {
	case "catchment":
		args = []string{w.self, serveWord, fmt.Sprintf("127.0.0.1:%d", port), w.dir, nets}
	case "gdnsd":
		args, err = w.gdnsd(dir, nets, port)
	case "knot":
		args, err = w.knot(dir, port)
	case "coredns":
		file := fmt.Sprintf("%s:%d {\n bind 127.0.0.1\n file %s/%szone\n}\n", staticZone, port, w.dir, staticZone)
		args, err = []string{w.coredns, "-conf", dir + "/Corefile"}, os.WriteFile(dir+"/Corefile", []byte(file), 0o600)
	}
	if err != nil {
		return nil, err
	}
	s := &server{name: name, port: port}
	if s.log, err = os.Create(dir + "/log"); err != nil {
		return nil, err
	}
	s.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(w.server)}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	return s, s.wait(ctx)
}

// wait asks until there is an answer.
func (s *server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	c := &dns.Client{Timeout: 200 * time.Millisecond}
	for {
		m, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion("n1."+staticZone, dns.TypeA), fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil && len(m.Answer) == 1 {
			return nil
		}
		if ctx.Err() != nil {
			text, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("%s does not answer: %v\n%s", s.name, err, text)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.log.Close()
}

// usage is CPU time so far and memory of the process.
func (s *server) usage() (cpu time.Duration, rss int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("%s has ended: %w", s.name, err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, pages * int64(os.Getpagesize()), nil
}

func (w *world) gdnsd(dir, nets string, port int) ([]string, error) {
	var dcs, addrs []string
	for i := range pops {
		dcs = append(dcs, popName(i))
		addrs = append(addrs, popName(i)+" => "+popAddr(i).String())
	}
	conf := fmt.Sprintf(`options => { listen => 127.0.0.1:%d, run_dir => %q, state_dir => %q, udp_threads => 1, tcp_threads => 1, edns_client_subnet => true }
plugins => { geoip => {
 maps => { m => { datacenters => [ %s ], nets => %q } },
 resources => { cdn => { map => m, service_types => up, dcmap => { %s } } }
} }
`, port, dir+"/run", dir+"/state", strings.Join(dcs, ", "), nets, strings.Join(addrs, ", "))
	static, err := os.ReadFile(w.dir + "/" + staticZone + "zone")
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"config": conf, "zones/bench.example": string(static), "zones/map.example": mapText + "cdn 30 DYNA geoip!cdn\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return []string{"/usr/sbin/gdnsd", "-c", dir, "start"}, nil
}

func (w *world) knot(dir string, port int) ([]string, error) {
	conf := fmt.Sprintf(`server:
    listen: 127.0.0.1@%d
    rundir: %[2]s
    udp-workers: 1
    tcp-workers: 1
    edns-client-subnet: on
database:
    storage: %[2]s
mod-geoip:
  - id: m
    config-file: %[2]s/geo.conf
    ttl: 30
    mode: subnet
template:
  - id: default
    storage: %[3]s
    zonefile-load: whole
    journal-content: none
zone:
  - domain: %[4]s
    file: %[4]szone
  - domain: %[5]s
    file: %[5]szone
    module: mod-geoip/m
`, port, dir, w.dir, staticZone, mapZone)
	err := write(dir+"/geo.conf", func(b *bufio.Writer) {
		fmt.Fprintf(b, "%s:\n", strings.TrimSuffix(mapName, "."))
		for _, n := range w.nets {
			fmt.Fprintf(b, "  - net: %v\n    A: %v\n", n.prefix, popAddr(n.pop))
		}
	})
	if err != nil {
		return nil, err
	}
	return []string{"/usr/sbin/knotd", "-c", dir + "/knot.conf"}, os.WriteFile(dir+"/knot.conf", []byte(conf), 0o600)
}
