package dns

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// judged is the world of TestJudged: one signed zone, one that is not.
type judged struct {
	*running
	key        *zone.Key
	dir, plain string
	port       string
	signed     string // its file
	first      uint32 // serial of the signed zone
	log        lines
}

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// transfers counts those of a kind.
func (l *lines) transfers(apex, kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, "zone="+apex+" ") && strings.Contains(line, "kind="+kind+" ") {
			n++
		}
	}
	return n
}

// Others judge: clients and validators take what we answer, other servers take
// our zones and then answer the same. Run it by "make test-dns".
func TestJudged(t *testing.T) {
	if os.Getenv("CATCHMENT_DNS") == "" {
		t.Skip("needs dig, kdig, delv, ldns-verify-zone, NSD and Knot: make test-dns")
	}
	j := &judged{dir: t.TempDir()}
	j.plain = filepath.Join(j.dir, "plain.zone")
	zoneFile(t, j.plain, 1, "www 60 IN A 192.0.2.1")
	j.signed = filepath.Join(j.dir, "signed.zone")
	j.changeSigned(t, 0)
	var err error
	if j.key, err = zone.NewKey("example.org"); err != nil {
		t.Fatal(err)
	}
	j.running = start(t, func(o *Options) {
		keyed(o)
		o.Listen = append(o.Listen, Listen{Address: "127.0.0.1:0", TLS: certificate(t)})
		signed := exampleZone(t)
		signed.Key, signed.File = j.key, j.signed
		o.Logger = slog.New(slog.NewTextHandler(&j.log, nil))
		all := []Transfer{{Key: keyName}}
		told := []NotifyTarget{{Address: netip.MustParseAddrPort("127.0.0.1:5401")}, {Address: netip.MustParseAddrPort("127.0.0.1:5402")}}
		signed.Transfer, signed.Notify = all, told
		o.Zones = []Zone{signed, {Name: "plain.example", File: j.plain, Transfer: all, Notify: told}}
		o.Watch = 20 * time.Millisecond
	})
	j.first = exchange(t, "udp", j.at[0], question("example.org.", dns.TypeSOA)).Answer[0].(*dns.SOA).Serial
	j.port = j.at[0][strings.LastIndex(j.at[0], ":")+1:]
	t.Run("dig", func(t *testing.T) { j.dig(t, "dig") })
	t.Run("kdig", func(t *testing.T) { j.dig(t, "kdig") })
	t.Run("kdig over TLS", j.tls)
	t.Run("delv", j.delv)
	t.Run("ldns-verify-zone", j.ldns)
	t.Run("NSD", func(t *testing.T) { j.secondary(t, "nsd", "127.0.0.1:5401") })
	t.Run("Knot", func(t *testing.T) { j.secondary(t, "knotd", "127.0.0.1:5402") })
}

// tool runs a program and returns what it prints.
func tool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// dig asks with all options at once, for everything there is, and looks for
// complaints.
func (j *judged) dig(t *testing.T, program string) {
	options := []string{"@127.0.0.1", "-p", j.port, "+norecurse", "+dnssec", "+nsid", "+subnet=12.1.2.0/24"}
	if program == "dig" {
		options = append(options, "+cookie=0102030405060708", "+ednsopt=65001:1234")
	} else {
		options = append(options, "+cookie=0102030405060708")
	}
	for name, want := range map[string]string{
		"mail.example.org A": "NOERROR", "nothere.example.org A": "NXDOMAIN", "mail.example.org AAAA": "NOERROR", "host.sub.example.org A": "NOERROR",
		"cdn.example.org A": "NOERROR", "x.wild.example.org TXT": "NOERROR", "example.org DNSKEY": "NOERROR", "example.org ANY": "NOERROR",
		"other.example A": "REFUSED", "svc.example.org HTTPS": "NOERROR", "x.cust.example.org A": "NOERROR", "big.example.org TXT": "NOERROR",
	} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			out, err := tool(t, program, append(append(options, transport), strings.Fields(name)...)...)
			lower := strings.ToLower(out)
			if err != nil || !strings.Contains(out, "status: "+want) || strings.Contains(lower, "warning") || strings.Contains(lower, "malformed") || strings.Contains(lower, "mismatch") {
				t.Errorf("%s %s: %v\n%s", name, transport, err, out)
			}
			if program == "dig" && !strings.Contains(out, "(good)") {
				t.Errorf("%s %s: the cookie is not good\n%s", name, transport, out)
			}
		}
	}
}

func (j *judged) tls(t *testing.T) {
	port := j.at[2][strings.LastIndex(j.at[2], ":")+1:]
	out, err := tool(t, "kdig", "@127.0.0.1", "-p", port, "+tls", "+keepopen", "mail.example.org", "A", "www.example.org", "AAAA")
	if err != nil || strings.Count(out, "status: NOERROR") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// delv validates as a resolver does.
func (j *judged) delv(t *testing.T) {
	anchor := filepath.Join(j.dir, "anchors")
	k := j.key.DNSKEY
	text := fmt.Sprintf("trust-anchors { example.org. static-key %d %d %d %q; };\n", k.Flags, k.Protocol, k.Algorithm, k.PublicKey)
	if err := os.WriteFile(anchor, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"mail.example.org A": "; fully validated", "alias.example.org AAAA": "; fully validated", "x.wild.example.org A": "; fully validated",
		"cdn.example.org A": "; fully validated", "x.cust.example.org AAAA": "; fully validated", "x.walias.example.org A": "; fully validated",
		"nothere.example.org A": "; negative response, fully validated", "mail.example.org AAAA": "; negative response, fully validated",
		"c.ent.example.org A": "; negative response, fully validated", "x.wild.example.org MX": "; negative response, fully validated",
		"cdn.example.org TXT": "; negative response, fully validated", "x.y.www.example.org A": "; negative response, fully validated",
		"sub.example.org DS": "; negative response, fully validated", "secure.example.org DS": "; fully validated",
	} {
		out, err := tool(t, "delv", append([]string{"@127.0.0.1", "-p", j.port, "-a", anchor, "+root=example.org"}, strings.Fields(name)...)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, want %q\n%s", name, err, want, out)
		}
	}
}

func (j *judged) ldns(t *testing.T) {
	path := filepath.Join(j.dir, "transferred")
	all := transferred(t, j.at[0], new(dns.Msg).SetAxfr("example.org."), keyName)
	var b strings.Builder
	for _, rr := range all[:len(all)-1] {
		b.WriteString(rr.String() + "\n")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tool(t, "ldns-verify-zone", "-V2", path); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// changeSigned writes the file of the signed zone; each n is another version.
func (j *judged) changeSigned(t *testing.T, n int) {
	t.Helper()
	text, err := os.ReadFile("testdata/example.zone")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), " 2026112201 ", fmt.Sprintf(" %d ", 2026112201+n), 1)
	if n > 0 {
		changed = strings.Replace(changed, "192.0.2.25", fmt.Sprintf("192.0.2.%d", 100+n), 1) + fmt.Sprintf("\nnew%d.example.org. IN A 192.0.2.1\n", n)
	}
	if err := os.WriteFile(j.signed+".new", []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(j.signed+".new", j.signed); err != nil {
		t.Fatal(err)
	}
}

// secondary has another server transfer both zones, asks both servers the same
// thousands of questions, then changes the zones, waits for the differences to
// arrive, and asks again.
func (j *judged) secondary(t *testing.T, program, at string) {
	dir, err := os.MkdirTemp(j.dir, program)
	if err != nil {
		t.Fatal(err)
	}
	port := at[strings.LastIndex(at, ":")+1:]
	args, conf := []string{"-c", dir + "/conf"}, knotSecondary
	if program == "nsd" {
		args, conf = append(args, "-d"), nsdSecondary
	}
	conf = strings.NewReplacer("DIR", dir, "OURS", j.port, "PORT", port, "SECRET", keySecret).Replace(conf)
	if err := os.WriteFile(dir+"/conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:"+os.Getenv("PATH"))
	if p, err := exec.LookPath("/usr/sbin/" + program); err == nil {
		cmd.Path, cmd.Err = p, nil
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(dir + "/log")
			t.Logf("%s", text)
		}
	}()
	ours := exchange(t, "udp", j.at[0], question("example.org.", dns.TypeSOA)).Answer[0].(*dns.SOA).Serial
	serial := exchange(t, "udp", j.at[0], question("plain.example.", dns.TypeSOA)).Answer[0].(*dns.SOA).Serial
	if !arrives(t, at, "example.org.", ours) || !arrives(t, at, "plain.example.", serial) {
		t.Fatal("the zones were not transferred")
	}
	j.sameAnswers(t, at)
	zoneFile(t, j.plain, int(serial)+1, fmt.Sprintf("www 60 IN A 192.0.2.%d", serial+1))
	if !arrives(t, at, "plain.example.", serial+1) {
		t.Error("a change did not arrive after NOTIFY")
	}
	was := j.log.transfers("example.org.", "IXFR")
	j.changeSigned(t, int(ours-j.first)+1)
	if !arrives(t, at, "example.org.", ours+1) {
		t.Fatal("a change of the signed zone did not arrive after NOTIFY")
	}
	if is := j.log.transfers("example.org.", "IXFR"); is <= was {
		t.Errorf("the signed zone came by another kind of transfer: %d of its differences, then %d", was, is)
	}
	j.sameAnswers(t, at)
}

const nsdSecondary = `server:
  ip-address: 127.0.0.1@PORT
  username: ""
  chroot: ""
  zonesdir: "DIR"
  database: ""
  pidfile: "DIR/pid"
  xfrdfile: "DIR/xfrd"
  xfrdir: "DIR"
  zonelistfile: "DIR/zones"
  minimal-responses: yes
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "xfr"
  algorithm: hmac-sha256
  secret: "SECRET"
pattern:
  name: second
  request-xfr: 127.0.0.1@OURS xfr
  allow-notify: 127.0.0.1 NOKEY
zone:
  name: example.org
  include-pattern: second
zone:
  name: plain.example
  include-pattern: second
`

const knotSecondary = `server:
    listen: 127.0.0.1@PORT
    rundir: DIR
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: DIR
key:
  - id: xfr
    algorithm: hmac-sha256
    secret: SECRET
remote:
  - id: ours
    address: 127.0.0.1@OURS
    key: xfr
acl:
  - id: told
    address: 127.0.0.1
    action: notify
template:
  - id: default
    storage: DIR
    master: ours
    acl: told
zone:
  - domain: example.org
  - domain: plain.example
`

// arrives waits until a server has a serial.
func arrives(t *testing.T, at, name string, serial uint32) bool {
	c := &dns.Client{Timeout: 200 * time.Millisecond}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		m, _, err := c.Exchange(question(name, dns.TypeSOA), at)
		if err == nil && len(m.Answer) == 1 && m.Answer[0].(*dns.SOA).Serial == serial {
			return true
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// sameAnswers asks our server and the secondary the same and compares what they
// say, signatures by what they cover.
func (j *judged) sameAnswers(t *testing.T, at string) {
	labels := []string{"mail", "www", "alias", "chain1", "chain2", "gone", "nothere", "wild", "x.wild", "*.wild", "a.b.wild", "real.wild", "x.real.wild", "walias", "q.walias",
		"ent", "a.ent", "c.ent", "b.c.ent", "z.c.ent", "sub", "host.sub", "x.sub", "secure", "x.secure", "eight", "svc", "_tcp", "_sip._tcp", "cdn", "x.cdn", "cust", "y.cust",
		"out", "ns1", "ns.sub", "", "zzz", "a", "0", "todyn", `esc\.ape`, `\000\255`, "Upper", "*", "*.walias", "*.cust", "big"}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDS, dns.TypeDNSKEY, dns.TypeSRV, dns.TypeHTTPS, dns.TypeNSEC, 65280}
	asked, differ := 0, 0
	for _, l := range labels {
		for _, typ := range types {
			for _, do := range []bool{false, true} {
				name := strings.TrimPrefix(l+".example.org.", ".")
				q := question(name, typ)
				q.RecursionDesired = rand.IntN(2) == 0
				q.SetEdns0(4096, do)
				a, b := exchange(t, "tcp", j.at[0], q), exchange(t, "tcp", at, q)
				if typ == dns.TypeNSEC && expanded(a) {
					continue // Knot leaves out the proof, the answer being the same record
				}
				asked++
				if x, y := said(a), said(b); x != y {
					if differ++; differ <= 10 {
						t.Errorf("%s %s do=%v\nours:\n%s\ntheirs:\n%s", name, dns.TypeToString[typ], do, x, y)
					}
				}
			}
		}
	}
	t.Logf("%d questions, %d answered differently", asked, differ)
}

// expanded says whether an answer is made from a wildcard.
func expanded(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && int(sig.Labels) < dns.CountLabel(sig.Hdr.Name)
	})
}

// said is what an answer says, in an order of its own.
func said(m *dns.Msg) string {
	out := []string{fmt.Sprint(dns.RcodeToString[m.Rcode], " aa ", m.Authoritative, " tc ", m.Truncated)}
	for i, s := range [][]dns.RR{m.Answer, m.Ns} {
		var lines []string
		for _, rr := range s {
			if i == 1 && len(m.Answer) > 0 && rr.Header().Rrtype == dns.TypeNS {
				continue // a courtesy
			}
			if sig, ok := rr.(*dns.RRSIG); ok {
				sig.Signature = "" // made for each, of the same
			}
			lines = append(lines, strings.ToLower(rr.String()))
		}
		slices.Sort(lines)
		out = append(out, fmt.Sprint("section ", i))
		out = append(out, lines...)
	}
	return strings.Join(out, "\n")
}
