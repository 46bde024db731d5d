package zone

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// MaxRecords bounds what one zone file may hold.
const MaxRecords = 5_000_000

// Source is a zone as its file says it, checked.
type Source struct {
	Apex    string // canonical
	SOA     *dns.SOA
	records []entry
}

type entry struct {
	rr   dns.RR
	wire string // owner, lower case
	line int
}

// counter counts lines as the parser takes bytes.
type counter struct {
	r     *bufio.Reader
	lines int
	last  byte
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		if b == '\n' {
			c.lines++
		}
		c.last = b
	}
	return b, err
}

func (c *counter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := c.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// line is where the last record ended.
func (c *counter) line() int {
	if c.last == '\n' {
		return c.lines
	}
	return c.lines + 1
}

// ReadFile reads the zone of apex from a file; $INCLUDE finds files in the
// same folder and below. Errors name file and line.
func ReadFile(path, apex string) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", apex, err)
	}
	defer f.Close()
	return Read(f, path, apex)
}

// Read is [ReadFile] of an open file; path is for messages and $INCLUDE.
func Read(r io.Reader, path, apex string) (*Source, error) {
	wire, canonical, err := Wire(apex)
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	s := &Source{Apex: canonical}
	c := &counter{r: bufio.NewReader(r)}
	p := dns.NewZoneParser(c, canonical, filepath.Base(path))
	p.SetDefaultTTL(3600)
	p.SetIncludeAllowed(true)
	p.SetIncludeFS(os.DirFS(filepath.Dir(path)))
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		e := entry{rr: rr, line: c.line()}
		if err := s.add(wire, &e); err != nil {
			return nil, fmt.Errorf("zone %s: %s:%d: %w", canonical, path, e.line, err)
		}
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("zone %s: %s:%d: %w", canonical, path, c.line(), err)
	}
	if err := s.check(path); err != nil {
		return nil, fmt.Errorf("zone %s: %w", canonical, err)
	}
	return s, nil
}

// refused are types that a file may not hold, and why.
var refused = map[uint16]string{
	dns.TypeDNAME:      "is not supported",
	dns.TypeRRSIG:      "is made by the server",
	dns.TypeNSEC:       "is made by the server",
	dns.TypeNSEC3:      "is not supported",
	dns.TypeNSEC3PARAM: "is not supported",
	dns.TypeDNSKEY:     "is made by the server",
	dns.TypeCDS:        "is made by the server",
	dns.TypeCDNSKEY:    "is made by the server",
	dns.TypeZONEMD:     "is not supported",
}

func (s *Source) add(apex string, e *entry) error {
	h := e.rr.Header()
	what := h.Name + " " + dns.TypeToString[h.Rrtype]
	if h.Class != dns.ClassINET {
		return fmt.Errorf("%s: class %s", what, dns.Class(h.Class))
	}
	if why := refused[h.Rrtype]; why != "" {
		return fmt.Errorf("%s %s", what, why)
	}
	if h.Rrtype == dns.TypeOPT || h.Rrtype >= 128 && h.Rrtype <= 255 {
		return fmt.Errorf("%s: no type of data", what)
	}
	var err error
	if e.wire, h.Name, err = Wire(h.Name); err != nil {
		return err
	}
	if !within(e.wire, apex) {
		return fmt.Errorf("%s is outside the zone", what)
	}
	if len(s.records) >= MaxRecords {
		return fmt.Errorf("more than %d records", MaxRecords)
	}
	if soa, ok := e.rr.(*dns.SOA); ok {
		if s.SOA != nil || e.wire != apex {
			return fmt.Errorf("%s: one SOA, at the apex", what)
		}
		s.SOA = soa
	}
	if h.Rrtype == dns.TypeNS && strings.HasPrefix(e.wire, "\x01*") {
		return fmt.Errorf("%s: no delegation by a wildcard", what)
	}
	if h.Rrtype == dns.TypeDS && e.wire == apex {
		return fmt.Errorf("%s stands in the parent zone", what)
	}
	var b [65535]byte
	if _, err := dns.PackRR(e.rr, b[:], 0, nil, false); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.records = append(s.records, *e)
	return nil
}

// check looks at what more than one record decides.
func (s *Source) check(path string) error {
	if s.SOA == nil {
		return fmt.Errorf("%s: no SOA record", path)
	}
	apex, _, _ := Wire(s.Apex)
	types := map[string][]uint16{}
	cname := map[string]string{}
	for _, e := range s.records {
		h := e.rr.Header()
		if c, ok := e.rr.(*dns.CNAME); ok {
			if old, ok := cname[e.wire]; ok && !strings.EqualFold(old, c.Target) {
				return fmt.Errorf("%s:%d: %s has two CNAME records", path, e.line, h.Name)
			}
			cname[e.wire] = c.Target
		}
		have := types[e.wire]
		if !slices.Contains(have, h.Rrtype) {
			types[e.wire] = append(have, h.Rrtype)
		}
		if _, ok := cname[e.wire]; ok && len(types[e.wire]) > 1 {
			return fmt.Errorf("%s:%d: %s has a CNAME and other records", path, e.line, h.Name)
		}
	}
	if !slices.Contains(types[apex], dns.TypeNS) {
		return fmt.Errorf("%s: no NS record at the apex", path)
	}
	var errs []error
	for _, e := range s.records {
		ns, ok := e.rr.(*dns.NS)
		if !ok {
			continue
		}
		target, _, err := Wire(ns.Ns)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, e.line, err))
			continue
		}
		if within(target, e.wire) && !slices.ContainsFunc(types[target], isAddress) {
			errs = append(errs, fmt.Errorf("%s:%d: %s NS %s: no address of it in the zone", path, e.line, e.rr.Header().Name, ns.Ns))
		}
	}
	return errors.Join(errs...)
}

func isAddress(t uint16) bool { return t == dns.TypeA || t == dns.TypeAAAA }

// within says whether a wire name is apex or below it.
func within(name, apex string) bool {
	for len(name) >= len(apex) {
		if name == apex {
			return true
		}
		if name[0] == 0 {
			return false
		}
		name = name[1+name[0]:]
	}
	return false
}
