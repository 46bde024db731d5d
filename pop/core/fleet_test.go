package core

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// trio is a core of real members on loopback, over mutual TLS.
type trio struct {
	t     *testing.T
	host  string
	port  int // the first
	ca    *CA
	addr  map[string]string
	first map[string]string
	dirs  map[string]string
	cores map[string]*Core
	stops map[string]func()
}

func newTrio(t *testing.T, port int) *trio {
	ca, err := OpenCA(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return &trio{t: t, host: "127.0.0.1", port: port, ca: ca, addr: map[string]string{}, first: map[string]string{}, dirs: map[string]string{},
		cores: map[string]*Core{}, stops: map[string]func(){}}
}

// begin starts three members.
func (f *trio) begin(before func(name string)) {
	for _, n := range []string{"a", "b", "c"} {
		f.first[n] = f.address(n)
	}
	for n := range f.first {
		before(n)
		f.up(n, f.first, false)
	}
	for n := range f.first {
		waitReady(f.t, f.cores[n])
	}
}

// address gives a member an address, a directory and a certificate. The ports
// are below those the kernel gives away, in the tests' own namespace.
func (f *trio) address(name string) string {
	f.addr[name] = net.JoinHostPort(f.host, strconv.Itoa(f.port+len(f.addr)))
	f.dirs[name] = f.t.TempDir()
	f.identity(name)
	return f.addr[name]
}

func (f *trio) files(name string) Files {
	d := f.dirs[name]
	return Files{Cert: filepath.Join(d, "crt.pem"), Key: filepath.Join(d, "key.pem"), CA: filepath.Join(d, "ca.pem"), CRL: filepath.Join(d, "crl")}
}

// identity gives a member a certificate.
func (f *trio) identity(name string) {
	f.certify(Subject{Name: name, Hosts: []string{f.host}, Voter: true})
}

func (f *trio) certify(s Subject) {
	name := s.Name
	key, text := someKey(f.t)
	cert, err := f.ca.Issue(key.Public(), s, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	trust, err := f.ca.Trust()
	if err != nil {
		f.t.Fatal(err)
	}
	files := f.files(name)
	for path, b := range map[string][]byte{files.Cert: cert, files.Key: text, files.CA: trust.Bundle, files.CRL: trust.CRL} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *trio) config(name string, first map[string]string, join bool) Embedded {
	return Embedded{
		Dir: filepath.Join(f.dirs[name], "core"), Name: name, noSync: true, MinFree: 1,
		Upkeep: Upkeep{Every: 500 * time.Millisecond},
		Peers:  &Peers{Listen: f.addr[name], First: first, Join: join, TLS: f.files(name)},
	}
}

// up starts a member.
func (f *trio) up(name string, first map[string]string, join bool) *Core {
	c, err := NewEmbedded(f.config(name, first, join), Options{Limits: wide, Timeout: 20 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	f.cores[name] = c
	f.stops[name] = sync.OnceFunc(func() { cancel(); <-done })
	f.t.Cleanup(f.stops[name])
	return c
}

// leader waits until the given members agree on one.
func (f *trio) leader(names ...string) string {
	ctx := deadline(f.t)
	for {
		seen := map[string]bool{}
		for _, n := range names {
			if s, err := f.cores[n].Status(ctx); err == nil && s.Quorum {
				seen[s.Leader] = true
			} else {
				seen[""] = true
			}
		}
		if len(seen) == 1 && !seen[""] {
			for l := range seen {
				return l
			}
		}
		if !lapse.Of(ctx, 20*time.Millisecond) {
			f.t.Fatalf("no leader: %v", seen)
		}
	}
}

// write repeats a write until it passes: leaders are lost and found here.
func (f *trio) write(name, key string) Object {
	ctx := deadline(f.t)
	for {
		o, err := f.cores[name].Put(ctx, ann, intent(key), raw(`1`), Any)
		if err == nil {
			return o
		}
		if !errors.Is(err, Unavailable) {
			f.t.Fatal(err)
		}
		if !lapse.Of(ctx, 50*time.Millisecond) {
			f.t.Fatalf("write through %s: %v", name, err)
		}
	}
}

func others(list []string, not string) []string {
	var out []string
	for _, n := range list {
		if n != not {
			out = append(out, n)
		}
	}
	return out
}

// TestThreeMembers: one story, because members take seconds to start.
func TestThreeMembers(t *testing.T) {
	t.Parallel()
	f := newTrio(t, 21000)
	f.begin(func(string) {})
	all := []string{"a", "b", "c"}
	ctx := deadline(t)
	for _, n := range all {
		f.write(n, "from "+n)
	}
	lead := f.leader(all...)
	rest := others(all, lead)
	h := listen(t, f.cores[rest[0]], All(KindIntent), 0)
	if b := h.next(t); !b.Snapshot || len(b.Events) != 3 {
		t.Fatalf("snapshot at a follower: %+v", b)
	}

	t.Log("the leader is lost: the others go on, and a watch does")
	f.stops[lead]()
	o := f.write(rest[1], "without "+lead)
	if b := h.next(t); b.Snapshot || b.Revision != o.Revision {
		t.Errorf("heard %+v, want revision %d", b, o.Revision)
	}
	f.noQuorum(rest)

	t.Log("they come back, and know everything")
	for _, n := range []string{lead, rest[1]} {
		waitReady(t, f.up(n, f.first, false))
	}
	f.leader(all...)
	f.write(lead, "again")
	b := h.next(t)
	want := 5
	if len(b.Events) == 1 && b.Events[0].Key == intent("lost") { // it was uncertain, and has come true
		want, b = 6, h.next(t)
	}
	if len(b.Events) != 1 || b.Events[0].Key != intent("again") {
		t.Errorf("heard %+v", b)
	}
	for _, n := range all {
		if s, err := f.cores[n].List(ctx, All(KindIntent)); err != nil || len(s.Objects) != want {
			t.Errorf("%s knows %d objects, want %d: %v", n, len(s.Objects), want, err)
		}
	}
	f.replace(lead, rest)
}

// noQuorum stops one of two that are left: old reads go on, writes fail.
func (f *trio) noQuorum(two []string) {
	t, c := f.t, f.cores[two[0]]
	f.stops[two[1]]()
	ctx, cancel := context.WithTimeout(deadline(t), 3*time.Second)
	defer cancel()
	var e *Error
	if _, err := c.Put(ctx, ann, intent("lost"), raw(`1`), Absent); !errors.Is(err, Unavailable) || !errors.As(err, &e) || !e.Uncertain {
		t.Errorf("write without a quorum: %v", err)
	}
	if s, err := c.List(deadline(t), All(KindIntent), Stale()); err != nil || len(s.Objects) != 4 {
		t.Errorf("old read without a quorum: %d, %v", len(s.Objects), err)
	}
	if s, err := c.Status(deadline(t)); err != nil || len(s.Members) != 3 {
		t.Errorf("status without a quorum: %+v, %v", s, err)
	}
}

// replace removes a dead member and admits another, then lets one leave.
func (f *trio) replace(dead string, rest []string) {
	t, ctx, c := f.t, deadline(f.t), f.cores[rest[0]]
	t.Log("a member dies for good and is replaced")
	f.stops[dead]()
	f.leader(rest...)
	f.write(rest[0], "before the replacement")
	if err := c.Remove(ctx, ann, dead); err != nil {
		t.Fatal(err)
	}
	addr := f.address("d")
	first, err := c.Admit(ctx, ann, "d", addr)
	if err != nil || len(first) != 3 || first["d"] != addr {
		t.Fatalf("admitted with %v: %v", first, err)
	}
	if again, err := c.Admit(ctx, ann, "d", addr); err != nil || len(again) != 3 {
		t.Errorf("admitted twice: %v, %v", again, err)
	}
	waitReady(t, f.up("d", first, true))
	for { // it votes once it has caught up, which the others notice in their time
		s, err := f.cores["d"].Status(ctx)
		if err != nil || len(s.Members) != 3 {
			t.Fatalf("the new member: %+v, %v", s, err)
		}
		if !s.Learner {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s, err := f.cores["d"].List(ctx, All(KindIntent), Stale()); err != nil || len(s.Objects) < 6 {
		t.Errorf("the new member knows %d objects: %v", len(s.Objects), err)
	}

	t.Log("a member leaves")
	if err := f.cores["d"].Leave(ctx, ann); err != nil {
		t.Fatal(err)
	}
	f.write(rest[1], "after it left")
	if list, err := c.Voters(ctx); err != nil || len(list) != 2 {
		t.Errorf("left are %v, %v", list, err)
	}
}

// TestStranger: a certificate of another authority, or a revoked one, opens
// no connection to a member.
func TestStranger(t *testing.T) {
	t.Parallel()
	f := newTrio(t, 22000)
	f.first["a"] = f.address("a")
	waitReady(t, f.up("a", f.first, false))
	try := func(name string) error {
		cfg, err := peerTLS(f.files(name))
		if err != nil {
			t.Fatal(err)
		}
		return knock(deadline(t), f.addr["a"], cfg)
	}
	f.address("friend")
	if err := try("friend"); err != nil {
		t.Errorf("a certificate of ours: %v", err)
	}
	f.address("pop")
	f.certify(Subject{Name: "pop", Hosts: []string{"127.0.0.1"}})
	if err := try("pop"); err == nil {
		t.Error("a POP that is no voter was let in")
	}
	f.address("revoked")
	list, err := certificates(mustRead(t, f.files("revoked").Cert))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.ca.Revoke(ann, list[0].SerialNumber); err != nil {
		t.Fatal(err)
	}
	trust, err := f.ca.Trust()
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.write(f.files("a")); err != nil { // no restart
		t.Fatal(err)
	}
	if err := try("revoked"); err == nil {
		t.Error("a revoked certificate was let in")
	}
	if err := try("friend"); err != nil {
		t.Errorf("the others suffer: %v", err)
	}
	ours := f.ca
	if f.ca, err = OpenCA(t.TempDir(), "evil"); err != nil {
		t.Fatal(err)
	}
	f.address("evil")
	bundle, err := ours.Trust()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.files("evil").CA, bundle.Bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try("evil"); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	f.ca = ours
	f.rotate(try)
}

// rotate: members learn of a new authority by themselves.
func (f *trio) rotate(try func(string) error) {
	t := f.t
	if err := f.ca.Rotate("test"); err != nil {
		t.Fatal(err)
	}
	trust, err := f.ca.Trust()
	if err != nil {
		t.Fatal(err)
	}
	f.address("new")
	if err := try("new"); err == nil {
		t.Error("a new authority is known before anybody told of it")
	}
	if err := trust.write(f.files("a")); err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); try("new") != nil; {
		if !lapse.Of(ctx, 50*time.Millisecond) {
			t.Fatalf("the new authority is not known: %v", try("new"))
		}
	}
	if err := try("friend"); err != nil {
		t.Errorf("certificates of the former authority: %v", err)
	}
	f.write("a", "after the rotation")
}
