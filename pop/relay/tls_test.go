package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// authority is the fleet's and POPs with its certificates, on loopback.
type authority struct {
	t  *testing.T
	ca *core.CA
}

func newFleet(t *testing.T) *authority {
	ca, err := core.OpenCA(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, ca}
}

// files are a POP's, with a certificate in the name given.
func (f *authority) files(name string) core.Files {
	f.t.Helper()
	d := f.t.TempDir()
	out := core.Files{Cert: filepath.Join(d, "crt.pem"), Key: filepath.Join(d, "key.pem"), CA: filepath.Join(d, "ca.pem"), CRL: filepath.Join(d, "crl")}
	key, text, err := core.NewKey()
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := f.ca.Issue(key.Public(), core.Subject{Name: name}, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	for path, b := range map[string][]byte{out.Cert: cert, out.Key: text} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.trust(out)
	return out
}

func (f *authority) trust(files core.Files) {
	trust, err := f.ca.Trust()
	if err != nil {
		f.t.Fatal(err)
	}
	for path, b := range map[string][]byte{files.CA: trust.Bundle, files.CRL: trust.CRL} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

// run starts a node, and ends it with the test or by the function returned.
func run(t *testing.T, o Options) (*Node, func()) {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := n.opt.id.(*certificates); ok {
		c.again = 100 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", o.POP, err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-n.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal(o.POP, "is not ready")
	}
	return n, stop
}

// soon waits for a condition among real connections.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
		lapse.Of(t.Context(), 5*time.Millisecond)
	}
}

// alone is a core with one member in this process.
func alone(t *testing.T, dir string) (*core.Core, func()) {
	c, err := core.NewEmbedded(core.Embedded{Dir: dir, MinFree: 1}, core.Options{Limits: wide})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return c, stop
}

const (
	lon = "127.0.0.1:9796"
	ams = "[::1]:9797"
)

// TestEmbedded: two hops by TLS over both families below a real member.
func TestEmbedded(t *testing.T) {
	f, dir := newFleet(t), t.TempDir()
	c, stop := alone(t, dir)
	top, endTop := run(t, Options{POP: "LON", Core: c, Listen: lon, Files: f.files("LON")})
	mid, _ := run(t, Options{POP: "AMS", Parents: []Parent{{"LON", lon}}, Listen: ams, Files: f.files("AMS")})
	low, _ := run(t, Options{POP: "FRA", Parents: []Parent{{"AMS", ams}}, Files: f.files("FRA"), Dir: t.TempDir()})
	here := core.NewFollower(low.Engine(), core.Options{Limits: wide})
	go here.Run(t.Context())
	soon(t, "the state is here", func() bool { return low.rep.position().core != "" })
	soon(t, "LON hears all", func() bool { return len(top.Fleet()) == 3 })
	var first core.Object
	soon(t, "a write through two hops", func() (ok bool) {
		var err error
		first, err = here.Put(t.Context(), ann, key("x"), []byte("1"), core.Absent)
		return err == nil
	})
	if o, err := c.Get(t.Context(), key("x")); err != nil || o.Revision != first.Revision || o.Who != "ann" {
		t.Errorf("at the member: %v, %v", o, err)
	}
	if _, err := here.Put(t.Context(), ann, key("x"), []byte("1"), core.Absent); !errors.Is(err, core.Conflict) {
		t.Errorf("the same condition again: %v", err)
	}
	large := `"` + strings.Repeat("x", 200<<10) + `"`
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		if _, err := here.Put(t.Context(), ann, key(k), []byte(large), core.Any); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := here.List(t.Context(), core.All(core.KindConfig)); err != nil || len(s.Objects) != 7 { // in pages of less than all
		t.Errorf("%d objects, %v", len(s.Objects), err)
	}
	soon(t, "all have the same", func() bool {
		return top.rep.position() == low.rep.position() && mid.rep.position() == low.rep.position() && low.rep.position().revision > first.Revision
	})
	soon(t, "LON knows", func() bool { st := top.Status(); return st.Below == 3 && st.Lowest == st.Revision })
	stop()
	soon(t, "the member is gone and FRA knows", func() bool { return low.Status().Standing == Anchored })
	if _, err := here.Get(t.Context(), key("x"), core.Stale()); err != nil {
		t.Errorf("stale read: %v", err)
	}
	if _, err := here.Put(t.Context(), ann, key("x"), []byte("2"), core.Any); !errors.Is(err, core.Unavailable) {
		t.Errorf("a write without a core: %v", err)
	}
	endTop()
	c, _ = alone(t, dir)
	run(t, Options{POP: "LON", Core: c, Listen: lon, Files: f.files("LON")})
	soon(t, "the core is back and FRA writes", func() bool {
		_, err := here.Put(t.Context(), ann, key("x"), []byte("2"), core.Any)
		return err == nil
	})
	soon(t, "FRA has it", func() bool {
		o, err := here.Get(t.Context(), key("x"), core.Stale())
		return err == nil && string(o.Value) == "2"
	})
	if st := low.Status(); st.Counts.Mismatches != 0 || st.Refused[Forged]+st.Refused[Malformed] != 0 {
		t.Errorf("%+v", st)
	}
}

// TestStrangers: whose certificate is of nobody, of another fleet, of another
// name, or revoked is not served and not followed.
func TestStrangers(t *testing.T) {
	f := newFleet(t)
	c := core.NewMemory(core.Options{Limits: wide})
	lonFiles := f.files("LON")
	top, _ := run(t, Options{POP: "LON", Core: c.Core, Listen: lon, Files: lonFiles})
	foreign, _ := run(t, Options{POP: "NYC", Parents: []Parent{{"LON", lon}}, Files: newFleet(t).files("NYC")})
	wrong, _ := run(t, Options{POP: "SFO", Parents: []Parent{{"FRA", lon}}, Files: f.files("SFO")})
	twin, _ := run(t, Options{POP: "TWN", Parents: []Parent{{"LON", lon}}, Files: f.files("LON")})
	amsFiles := f.files("AMS")
	good, _ := run(t, Options{POP: "AMS", Parents: []Parent{{"LON", lon}}, Files: amsFiles})
	soon(t, "AMS follows", func() bool { return good.Status().Standing == Rooted && len(top.Fleet()) == 2 })
	conn, err := grpc.NewClient("passthrough:///"+lon, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := pb.NewRelayClient(conn).Read(t.Context(), &pb.ReadRequest{}); err == nil {
		t.Error("somebody without a certificate was answered")
	}
	for _, n := range []*Node{foreign, wrong, twin} {
		if st := n.Status(); st.Parent != "" || st.Revision != 0 {
			t.Errorf("%s follows %s", st.POP, st.Parent)
		}
	}
	if st := top.Status(); len(st.Children) != 1 {
		t.Errorf("LON serves %v", st.Children)
	}
	b, err := os.ReadFile(amsFiles.Cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.ca.Revoke(ann, cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	f.trust(lonFiles)
	soon(t, "AMS is shut out, its open connection too", func() bool { return len(top.Status().Children) == 0 && good.Status().Parent == "" })
	soon(t, "AMS is not heard any more", func() bool { return slices.Equal(pops(top.Fleet()), []string{"LON"}) })
}

// TestSigned: statements by real keys; another's certificate does not help.
func TestSigned(t *testing.T) {
	f := newFleet(t)
	amsID, fraID := newCertificates(f.files("AMS")), newCertificates(f.files("FRA"))
	cert, sign, err := amsID.own()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sign([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if who, err := fraID.check(cert, []byte("text"), sig); who != "AMS" || err != nil {
		t.Errorf("%s, %v", who, err)
	}
	if _, err := fraID.check(cert, []byte("test"), sig); err == nil {
		t.Error("another text")
	}
	other, _, err := fraID.own()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fraID.check(other, []byte("text"), sig); err == nil {
		t.Error("another's certificate")
	}
	if _, err := newCertificates(newFleet(t).files("LON")).check(cert, []byte("text"), sig); err == nil {
		t.Error("of another fleet")
	}
	if _, err := fraID.check([]byte("no certificate"), []byte("text"), sig); err == nil {
		t.Error("no certificate")
	}
}

func TestCannotStart(t *testing.T) {
	f := newFleet(t)
	for what, o := range map[string]Options{
		"nobody to follow": {POP: "A", Files: f.files("A")},
		"its own parent":   {POP: "A", Parents: []Parent{{"A", lon}}, Files: f.files("A")},
		"no address":       {POP: "A", Parents: []Parent{{"B", "b"}}, Files: f.files("A")},
		"no name":          {Parents: []Parent{{"B", lon}}, Files: f.files("A")},
		"long beats":       {POP: "A", Parents: []Parent{{"B", lon}}, Beat: time.Minute},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	for what, o := range map[string]Options{
		"no certificate": {POP: "A", Parents: []Parent{{"B", lon}}},
		"no such place":  {POP: "A", Parents: []Parent{{"B", lon}}, Listen: "192.0.2.1:1", Files: f.files("A")},
	} {
		n, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Run(t.Context()); err == nil {
			t.Errorf("%s: runs", what)
		}
	}
}
