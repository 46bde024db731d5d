// Package nets reads files that say where client networks are, for the first
// step of the choice of policy/steer:
//
//   - CSV: `network,location` a line, with or without a header; a location that
//     is empty makes a hole in a wider network; # begins a comment;
//   - gdnsd: the nets file of its plugin geoip, `network => [ dc1, dc2 ]`; the
//     location is the list, with commas between;
//   - MaxMind DB: databases of places, of providers, and the user's own.
//
// And it writes them. It opens what it is told to and keeps nothing open; the
// errors name the file, and the line where there are lines. It decides nothing.
package nets

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/catchment/catchment/policy/steer"
)

// Most that a file may hold. What is beyond them is a mistake or an attack.
const (
	maxLine     = 4 << 10 // bytes of a line
	maxLocation = 256     // bytes of a location
	maxErrors   = 10      // told of one file
	maxDatabase = 2 << 30 // bytes of a MaxMind DB
)

// Load reads a file of the format that its name ends in: .csv, .mmdb, and gdnsd
// with anything else. Known says which locations are looked for in a MaxMind
// DB, see Database; nil: countries and providers.
func Load(path string, known func(string) bool) (*steer.Nets, error) {
	if strings.EqualFold(filepath.Ext(path), ".mmdb") {
		return Database(path, known)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		return CSV(path, f)
	}
	return Gdnsd(path, f)
}

// file is one being read.
type file struct {
	name string
	b    *steer.Builder
	errs []error
}

func newFile(name string) *file { return &file{name: name, b: steer.NewBuilder()} }

// fail notes what is wrong with a line; false when that was the last one told.
func (f *file) fail(line int, err error) bool {
	f.errs = append(f.errs, fmt.Errorf("%s:%d: %w", f.name, line, err))
	return len(f.errs) < maxErrors
}

// add adds a network as it is written; false ends the reading.
func (f *file) add(line int, network, location string) bool {
	p, err := parse(network)
	if err == nil {
		err = checkLocation(location)
	}
	if err == nil {
		err = f.b.Add(p, location, line)
	}
	return err == nil || f.fail(line, err)
}

// parse reads a network, or an address that stands for itself alone.
func parse(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, fmt.Errorf("%q is no network", s)
		}
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no network", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func checkLocation(s string) error {
	if len(s) > maxLocation {
		return fmt.Errorf("location of %d bytes: more than %d", len(s), maxLocation)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		return fmt.Errorf("location %q: want printable characters", s)
	}
	return nil
}

// done gives the map, or all that was wrong.
func (f *file) done() (*steer.Nets, error) {
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	n, err := f.b.Build()
	if d, ok := errors.AsType[*steer.Duplicate](err); ok {
		return nil, fmt.Errorf("%s:%d: %w", f.name, d.Line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return n, nil
}

var errTooLong = fmt.Errorf("line longer than %d bytes", maxLine)

// readError is an error of the reader itself.
func readError(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file is cut off")
	}
	return fmt.Errorf("%s: %w", name, err)
}
