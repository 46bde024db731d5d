package nets

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
)

// TestLikeGdnsd asks gdnsd, and the choice of policy/steer configured alike from
// the same nets file, for the POP of 10,000 random clients, with all POPs up and
// with some down. CATCHMENT_GDNSD names the program (make steer-gdnsd).
func TestLikeGdnsd(t *testing.T) {
	program := os.Getenv("CATCHMENT_GDNSD")
	if program == "" {
		t.Skip("CATCHMENT_GDNSD=gdnsd runs it")
	}
	r := rand.New(rand.NewPCG(1, 2026))
	dcs := []string{"dc1", "dc2", "dc3", "dc4", "dc5", "dc6", "dc7", "dc8"}
	list, some := randomLists(r, dcs, 20_000)
	var file bytes.Buffer
	if err := WriteGdnsd(&file, each(list)); err != nil {
		t.Fatal(err)
	}
	for _, down := range [][]string{nil, {"dc2"}, {"dc1", "dc5", "dc6"}, dcs} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			addr := startGdnsd(t, program, dcs, file.Bytes(), down)
			live := alike(t, dcs, file.Bytes(), down)
			compare(t, r, addr, live, some)
		})
	}
}

// randomLists are overlapping networks of both families with one to three of
// the POPs each, in order.
func randomLists(r *rand.Rand, dcs []string, n int) (out []Row, some []netip.Prefix) {
	seen := map[netip.Prefix]bool{}
	for len(out) < n {
		v := r.Uint64()
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{1 + byte(v)%126, byte(v >> 8), byte(v >> 16)}), 12+r.IntN(13)).Masked()
		if r.IntN(4) == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}), 20+r.IntN(29)).Masked()
		}
		if seen[p] {
			continue
		}
		seen[p] = true
		pick := r.Perm(len(dcs))[:1+r.IntN(3)]
		var l []string
		for _, i := range pick {
			l = append(l, dcs[i])
		}
		out, some = append(out, Row{Network: p.String(), Location: strings.Join(l, ",")}), append(some, p)
	}
	return out, some
}

// alike configures the choice as gdnsd is: each list of POPs is a destination,
// tried in its order; who has no location gets all of them in theirs.
func alike(t *testing.T, dcs []string, file []byte, down []string) *steer.Live {
	n, err := Gdnsd("nets", bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	cfg := steer.Config{Self: "none", POPs: []steer.POP{{ID: "none", Location: strings.Join(dcs, ",")}}, Rules: []steer.Rule{{Name: "www.example.net"}}}
	state := steer.State{POPs: []steer.POPState{{}}}
	for i, dc := range dcs {
		cfg.POPs = append(cfg.POPs, steer.POP{ID: policy.POPID(dc)})
		s := steer.POPState{Health: policy.Up, Stance: policy.Announce, Caches: []steer.Cache{{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}}}
		if slices.Contains(down, dc) {
			s.Health = policy.Down
		}
		state.POPs = append(state.POPs, s)
	}
	for _, l := range append(n.Locations(), strings.Join(dcs, ",")) {
		d := steer.Destination{Name: l}
		for i, dc := range strings.Split(l, ",") {
			if i == 0 {
				d.POPs = []steer.Weighted{{POP: policy.POPID(dc)}}
			} else {
				d.Failover = append(d.Failover, steer.Weighted{POP: policy.POPID(dc), Tier: i})
			}
		}
		cfg.Destinations, cfg.Locations = append(cfg.Destinations, d), append(cfg.Locations, steer.Location{Name: l, Destination: l})
	}
	c, err := steer.New(cfg, n)
	if err != nil {
		t.Fatal(err)
	}
	return c.With(state, nil)
}

// startGdnsd runs it on a free port of loopback and waits until it answers.
func startGdnsd(t *testing.T, program string, dcs []string, file []byte, down []string) string {
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().String()
	free.Close()
	dir := t.TempDir()
	var dcmap strings.Builder
	for i, dc := range dcs {
		fmt.Fprintf(&dcmap, "%s => 192.0.2.%d\n", dc, i+1)
	}
	var admin strings.Builder
	for _, dc := range down {
		fmt.Fprintf(&admin, "geoip/www/%s => DOWN\n", dc)
	}
	config := fmt.Sprintf(`options => { listen => [ %s ] run_dir => %s/run state_dir => %s/state zones_default_ttl => 60 }
plugins => { geoip => { maps => { m => { datacenters => [ %s ] nets => nets } }
  resources => { www => { map => m service_types => up dcmap => { %s } } } } }
`, addr, dir, dir, strings.Join(dcs, ", "), dcmap.String())
	for name, text := range map[string]string{
		"config": config, "geoip/nets": string(file), "state/admin_state": admin.String(),
		"zones/example.net": "@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.99\nwww 60 DYNA geoip!www\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", dir, "start")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("gdnsd: %s", out.String())
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, _, err := askGdnsd(addr, netip.MustParsePrefix("192.0.2.0/24")); err == nil {
			return addr
		} else if time.Now().After(deadline) {
			t.Fatalf("gdnsd does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// askGdnsd gives the number of the POP and the scope.
func askGdnsd(addr string, client netip.Prefix) (pop, scope int, err error) {
	m := new(dns.Msg)
	m.SetQuestion("www.example.net.", dns.TypeA)
	m.SetEdns0(1232, false)
	family := uint16(1)
	if client.Addr().Is6() {
		family = 2
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(client.Bits()), Address: client.Addr().AsSlice(),
	})
	in, err := dns.Exchange(m, addr)
	if err != nil {
		return 0, 0, err
	}
	if len(in.Answer) != 1 {
		return 0, 0, fmt.Errorf("no answer: %v", in)
	}
	for _, o := range in.IsEdns0().Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			scope = int(s.SourceScope)
		}
	}
	return int(in.Answer[0].(*dns.A).A.To4()[3]), scope, nil
}

func compare(t *testing.T, r *rand.Rand, addr string, live *steer.Live, some []netip.Prefix) {
	const queries = 2500
	var ours, theirs, differ int
	for range queries {
		v := r.Uint64()
		client := netip.PrefixFrom(netip.AddrFrom4([4]byte{1 + byte(v)%126, byte(v >> 8), byte(v >> 16)}), 24)
		if p := some[r.IntN(len(some))]; r.IntN(2) == 0 {
			client = netip.PrefixFrom(p.Addr(), 24).Masked()
			if p.Addr().Is6() {
				client = netip.PrefixFrom(p.Addr(), 56).Masked()
			}
		}
		pop, scope, err := askGdnsd(addr, client)
		if err != nil {
			t.Fatal(err)
		}
		a := live.Choose(&steer.Question{Client: client, Seed: v})
		if a.Index != pop {
			if differ++; differ < 10 {
				t.Errorf("%v: gdnsd sends it to POP %d, we to %d", client, pop, a.Index)
			}
		}
		ours, theirs = ours+a.Scope, theirs+scope
	}
	t.Logf("%d queries: %d differ; mean scope /%.3f, gdnsd's /%.3f", queries, differ, float64(ours)/queries, float64(theirs)/queries)
}
