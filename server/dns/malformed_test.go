package dns

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// message builds a message by hand: counts, then parts in hex or as they are.
func message(flags uint16, counts [4]uint16, parts ...string) []byte {
	b := []byte{0xab, 0xcd}
	b = binary.BigEndian.AppendUint16(b, flags)
	for _, c := range counts {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	for _, p := range parts {
		raw, err := hex.DecodeString(strings.ReplaceAll(p, " ", ""))
		if err != nil {
			panic(err)
		}
		b = append(b, raw...)
	}
	return b
}

const (
	mailA = "046d61696c 076578616d706c65 036f7267 00 0001 0001" // mail.example.org A IN
	cdnA  = "0363646e 076578616d706c65 036f7267 00 0001 0001"
	plain = "00 0029 04d0 00000000" // OPT up to its length
)

type odd struct {
	name string
	msg  []byte
	want string // code, "silence", or an ordinary answer
}

// oddMessages are malformed and odd questions, and what becomes of them.
func oddMessages() []odd {
	one, opt := [4]uint16{1, 0, 0, 0}, [4]uint16{1, 0, 0, 1}
	return []odd{
		{"nothing", nil, "silence"},
		{"half a header", message(0, one)[:7], "silence"},
		{"an answer", message(0x8000, one, mailA), "silence"},
		{"an answer of the wrong kind", message(0xa800, one, mailA), "silence"},
		{"header alone", message(0, [4]uint16{}), "FORMERR"},
		{"question missing", message(0, one), "FORMERR"},
		{"inverse query", message(0x0800, one, mailA), "NOTIMP"},
		{"status", message(0x1000, one, mailA), "NOTIMP"},
		{"notify", message(0x2000, one, mailA), "NOTIMP"},
		{"update", message(0x2800, one, mailA), "NOTIMP"},
		{"opcode 15", message(0x7800, one, mailA), "NOTIMP"},
		{"two questions", message(0, [4]uint16{2, 0, 0, 0}, mailA, mailA), "FORMERR"},
		{"counts too high", message(0, [4]uint16{1, 0, 0, 9}, mailA), "FORMERR"},
		{"an answer record", message(0, [4]uint16{1, 1, 0, 0}, mailA, "c00c 0001 0001 00000000 0004 01020304"), "FORMERR"},
		{"an authority record", message(0, [4]uint16{1, 0, 1, 0}, mailA, "c00c 0001 0001 00000000 0004 01020304"), "FORMERR"},
		{"octets after the end", message(0, one, mailA, "00"), "FORMERR"},
		{"type missing", message(0, one, "046d61696c 00"), "FORMERR"},
		{"class missing", message(0, one, "046d61696c 00 0001"), "FORMERR"},
		{"label past the end", message(0, one, "3f6d61"), "FORMERR"},
		{"pointer in the question", message(0, one, "c00c 0001 0001"), "FORMERR"},
		{"pointer after a label", message(0, one, "0161 c00c 0001 0001"), "FORMERR"},
		{"label of type 01", message(0, one, "41 6d61696c 00 0001 0001"), "FORMERR"},
		{"label of type 10", message(0, one, "81 6d61696c 00 0001 0001"), "FORMERR"},
		{"name of 255", message(0, one, strings.Repeat("3f"+strings.Repeat("61", 63), 3)+"3d"+strings.Repeat("61", 61)+"00 0001 0001"), "REFUSED"},
		{"name of 256", message(0, one, strings.Repeat("3f"+strings.Repeat("61", 63), 3)+"3e"+strings.Repeat("61", 62)+"00 0001 0001"), "FORMERR"},
		{"127 labels", message(0, one, strings.Repeat("0161", 127)+"00 0001 0001"), "REFUSED"},
		{"the root", message(0, one, "00 0001 0001"), "REFUSED"},
		{"class ANY", message(0, one, mailA[:len(mailA)-4]+"00ff"), "REFUSED"},
		{"class HS", message(0, one, mailA[:len(mailA)-4]+"0004"), "REFUSED"},
		{"class NONE", message(0, one, mailA[:len(mailA)-4]+"00fe"), "REFUSED"},
		{"type 0", message(0, one, mailA[:len(mailA)-9]+"0000 0001"), "NOTIMP"},
		{"type OPT", message(0, one, mailA[:len(mailA)-9]+"0029 0001"), "NOTIMP"},
		{"type TSIG", message(0, one, mailA[:len(mailA)-9]+"00fa 0001"), "NOTIMP"},
		{"flags in Z", message(0x0070, one, mailA), "NOERROR"},
		{"TC, AA and RA set", message(0x0680, one, mailA), "NOERROR"},
		{"a code set", message(0x000f, one, mailA), "NOERROR"},

		{"OPT cut", message(0, opt, mailA, plain), "FORMERR"},
		{"OPT with a length too long", message(0, opt, mailA, plain, "0004 0000"), "FORMERR"},
		{"two OPT", message(0, [4]uint16{1, 0, 0, 2}, mailA, plain, "0000", plain, "0000"), "FORMERR"},
		{"OPT with an owner", message(0, opt, mailA, "0161"+plain, "0000"), "FORMERR"},
		{"OPT in the answer", message(0, [4]uint16{1, 1, 0, 0}, mailA, plain, "0000"), "FORMERR"},
		{"option cut", message(0, opt, mailA, plain, "0003 000300"), "FORMERR"},
		{"option too long", message(0, opt, mailA, plain, "0004 0003 0001"), "FORMERR"},
		{"option unknown", message(0, opt, mailA, plain, "0006 fde9 0002 1234"), "NOERROR"},
		{"version 1", message(0, opt, mailA, "00 0029 04d0 00010000 0000"), "BADVERS"},
		{"version 255 with a bad option", message(0, opt, mailA, "00 0029 04d0 00ff0000 0003 000300"), "BADVERS"},
		{"another additional record", message(0, opt, mailA, "c00c 0001 0001 00000000 0004 01020304"), "NOERROR"},
		{"TSIG before OPT", message(0, [4]uint16{1, 0, 0, 2}, mailA, "00 00fa 00ff 00000000 0000", plain, "0000"), "FORMERR"},
		{"TSIG that is garbage", message(0, opt, mailA, "00 00fa 00ff 00000000 0002 0000"), "FORMERR"},

		{"cookie of 7", message(0, opt, mailA, plain, "000b 000a 0007 01020304050607"), "FORMERR"},
		{"cookie of 12", message(0, opt, mailA, plain, "0010 000a 000c 010203040506070809101112"), "FORMERR"},
		{"cookie of 41", message(0, opt, mailA, plain, "002d 000a 0029"+strings.Repeat("01", 41)), "FORMERR"},
		{"cookie of 8", message(0, opt, mailA, plain, "000c 000a 0008 0102030405060708"), "NOERROR"},
		{"cookie without a question", message(0, [4]uint16{0, 0, 0, 1}, plain, "000c 000a 0008 0102030405060708"), "NOERROR"},

		{"subnet", message(0, opt, cdnA, plain, "000b 0008 0007 0001 18 00 0b0102"), "NOERROR"},
		{"subnet empty", message(0, opt, cdnA, plain, "0004 0008 0000"), "FORMERR"},
		{"subnet of family 3", message(0, opt, cdnA, plain, "000b 0008 0007 0003 18 00 0b0102"), "FORMERR"},
		{"subnet of family 0 with length", message(0, opt, cdnA, plain, "0009 0008 0005 0000 08 00 0b"), "FORMERR"},
		{"subnet 0/0 of family 0", message(0, opt, cdnA, plain, "0008 0008 0004 0000 00 00"), "NOERROR"},
		{"subnet with a fourth octet", message(0, opt, cdnA, plain, "000c 0008 0008 0001 18 00 0b010203"), "FORMERR"},
		{"subnet too short", message(0, opt, cdnA, plain, "000a 0008 0006 0001 18 00 0b01"), "FORMERR"},
		{"subnet with bits after the prefix", message(0, opt, cdnA, plain, "000b 0008 0007 0001 17 00 0b0101"), "FORMERR"},
		{"subnet /33", message(0, opt, cdnA, plain, "000d 0008 0009 0001 21 00 0b01020304"), "FORMERR"},
		{"subnet /129", message(0, opt, cdnA, plain, "0019 0008 0015 0002 81 00"+strings.Repeat("01", 17)), "FORMERR"},
		{"subnet with a scope", message(0, opt, cdnA, plain, "000b 0008 0007 0001 18 18 0b0102"), "FORMERR"},
		{"two subnets", message(0, opt, cdnA, plain, "0016 0008 0007 0001 18 00 0b0102 0008 0007 0001 18 00 0b0102"), "FORMERR"},
	}
}

func TestOddMessages(t *testing.T) {
	for _, udp := range []bool{true, false} {
		w := testWorker(newServer(t, nil), udp)
		for _, c := range oddMessages() {
			out := w.answer(nil, c.msg)
			got := "silence"
			if len(out) > 0 {
				m := new(dns.Msg)
				if err := m.Unpack(out); err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				if m.Id != 0xabcd || !m.Response || m.Zero || m.RecursionAvailable || m.AuthenticatedData {
					t.Errorf("%s: header %v", c.name, m.MsgHdr)
				}
				code := m.Rcode
				if o := m.IsEdns0(); o != nil {
					code = o.ExtendedRcode()&^15 | m.Rcode&15
				}
				got = dns.RcodeToString[code]
				if code == dns.RcodeBadVers {
					got = "BADVERS"
				}
			}
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	}
}

// Whatever comes, there is an answer that can be read or none, and both paths
// say the same.
func FuzzAnswer(f *testing.F) {
	for _, c := range oddMessages() {
		f.Add(c.msg, true)
	}
	names, err := os.ReadFile("testdata/example.zone")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(names)) {
		if name, _, ok := strings.Cut(line, " "); ok && name != "" && name[0] != ';' && name[0] != '$' {
			for i, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeANY} {
				q := new(dns.Msg)
				q.SetQuestion(strings.TrimSpace(strings.ToUpper(name[:1])+name[1:])+".example.org.", typ)
				if i%2 == 1 {
					q.SetEdns0(uint16(500*i), i == 3)
				}
				if b, err := q.Pack(); err == nil {
					f.Add(b, i != 2)
				}
			}
		}
	}
	fast := newServer(f, nil)
	slow := newServer(f, func(o *Options) { o.Slow = true; o.Secrets = fast.secrets })
	f.Fuzz(func(t *testing.T, msg []byte, udp bool) {
		a, b := testWorker(fast, udp), testWorker(slow, udp)
		got, want := a.answer(nil, slices.Clone(msg)), b.answer(nil, slices.Clone(msg))
		again := a.answer(nil, slices.Clone(msg))
		if a.stats.panics.Load()+b.stats.panics.Load() > 0 {
			t.Fatal("a panic")
		}
		if (len(got) == 0) != (len(want) == 0) || (len(again) == 0) != (len(want) == 0) {
			t.Fatalf("%x: %x, %x, slow %x", msg, got, again, want)
		}
		if len(want) == 0 {
			return
		}
		sameAnswer(t, msg, got, want)
		sameAnswer(t, msg, again, want)
		parsedLikeTheLibrary(t, msg)
	})
}

// sameAnswer compares what two answers say; names may be compressed
// differently.
func sameAnswer(t *testing.T, msg, a, b []byte) {
	t.Helper()
	var x, y dns.Msg
	if err := x.Unpack(a); err != nil {
		t.Fatalf("%x: %v", a, err)
	}
	if err := y.Unpack(b); err != nil {
		t.Fatalf("%x: slow: %v", b, err)
	}
	if !strings.EqualFold(x.String(), y.String()) { // names are spelled as asked or as in the file
		t.Fatalf("%x:\n%v\nslow:\n%v", msg, &x, &y)
	}
}

// parsedLikeTheLibrary holds our parser to the library: what ours takes, the
// library takes too and reads the same.
func parsedLikeTheLibrary(t *testing.T, msg []byte) {
	t.Helper()
	var r request
	if r.parse(msg) != 0 || len(r.question) == 0 || r.signed {
		return
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		if strings.Contains(err.Error(), "OPT") || len(m.Question) == 1 {
			return // data of options and records that mean nothing to us
		}
		t.Fatalf("%x: the library: %v", msg, err)
	}
	name, _, _ := dns.UnpackDomainName(r.question, 0)
	o := m.IsEdns0()
	if len(m.Question) != 1 || m.Question[0].Name != name || m.Question[0].Qtype != r.typ || m.Question[0].Qclass != r.class || (o != nil) != r.edns {
		t.Fatalf("%x: %v, ours %s", msg, &m, name)
	}
	if o != nil && (o.Do() != r.do || o.UDPSize() != r.size || o.Version() != r.version) {
		t.Fatalf("%x: %v", msg, o)
	}
}
