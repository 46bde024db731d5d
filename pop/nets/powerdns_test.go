package nets

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var slowZone = PowerDNS{Name: "www.slow.example.net.", Server: "ns1.example.net", Default: "www.near.example.net", Serial: 7, TTL: 30}

func slowRows(yield func(Row) bool) {
	for _, n := range []string{"203.0.113.0/24", "2001:db8:5::/48"} {
		if !yield(Row{Network: n, Location: "www.cheap.example.net."}) {
			return
		}
	}
}

func TestPowerDNSZone(t *testing.T) {
	var b bytes.Buffer
	if err := slowZone.Write(&b, slowRows); err != nil {
		t.Fatal(err)
	}
	want := `domains:
- domain: slow.example.net
  ttl: 30
  records:
    slow.example.net:
    - soa: ns1.example.net hostmaster.slow.example.net 7 7200 3600 1209600 30
    - ns: ns1.example.net
  services:
    www.slow.example.net:
      default: www.near.example.net
      203.0.113.0/24: www.cheap.example.net
      2001:db8:5::/48: www.cheap.example.net
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// TestLikePowerDNS has a real PowerDNS read the zone (make steer).
func TestLikePowerDNS(t *testing.T) {
	server := os.Getenv("CATCHMENT_PDNS")
	if server == "" {
		t.Skip("CATCHMENT_PDNS names no PowerDNS: make steer")
	}
	dir := t.TempDir()
	var zone bytes.Buffer
	if err := slowZone.Write(&zone, slowRows); err != nil {
		t.Fatal(err)
	}
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	conf := fmt.Sprintf("launch=geoip\ngeoip-zones-file=%s/zone.yaml\nedns-subnet-processing=yes\nlocal-address=127.0.0.1\nlocal-port=%d\nsocket-dir=%s\ndaemon=no\nguardian=no\n", dir, addr.Port, dir)
	for name, text := range map[string]string{"zone.yaml": zone.String(), "pdns.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), server, "--config-dir="+dir)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	for client, want := range map[string]string{
		"203.0.113.9": "www.cheap.example.net.", "198.51.100.9": "www.near.example.net.", "2001:db8:5::9": "www.cheap.example.net.", "2001:db8:6::9": "www.near.example.net.",
	} {
		if got := ask(t, addr.String(), net.ParseIP(client)); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}

// ask asks for a client until there is an answer.
func ask(t *testing.T, server string, client net.IP) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(slowZone.Name, dns.TypeA)
	q.SetEdns0(1232, false)
	subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 128, Address: client}
	if client.To4() != nil {
		subnet.Family, subnet.SourceNetmask = 1, 32
	}
	q.IsEdns0().Option = append(q.IsEdns0().Option, subnet)
	for stop := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r, err := dns.Exchange(q, server)
		if err == nil && len(r.Answer) == 1 {
			if c, ok := r.Answer[0].(*dns.CNAME); ok {
				return c.Target
			}
		}
		if time.Now().After(stop) {
			t.Fatalf("%v: %v %v", client, r, err)
		}
	}
}
