package nets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/catchment/catchment/policy/steer"
)

// Gdnsd reads a nets file of gdnsd's plugin geoip: `network => datacenters`
// pairs, with or without braces around them all, with commas or without; the
// datacenters are one word or a list in brackets, and the location is the list
// with commas between; the empty list makes a hole. # begins a comment. Files
// included from there are refused. The name is for errors.
func Gdnsd(name string, r io.Reader) (*steer.Nets, error) {
	f, s := newFile(name), &scanner{r: bufio.NewReaderSize(r, 64<<10), line: 1}
	if err := s.pairs(f); err != nil && len(f.errs) < maxErrors {
		if s.read != nil {
			return nil, readError(name, s.read)
		}
		f.fail(s.line, err)
	}
	return f.done()
}

// token is a word or a sign of the file.
type token struct {
	text string
	word bool
}

var (
	endOfFile = token{}
	arrow     = token{text: "=>"}
)

func (t token) String() string {
	switch {
	case t == endOfFile:
		return "the end of the file"
	case t.word:
		return fmt.Sprintf("%q", t.text)
	}
	return t.text
}

// scanner cuts a file into tokens.
type scanner struct {
	r    *bufio.Reader
	line int
	read error // of the reader
}

func (s *scanner) next() (token, error) {
	for {
		c, err := s.byte()
		switch {
		case errors.Is(err, io.EOF):
			return endOfFile, nil
		case err != nil:
			return token{}, err
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '#':
			if err := s.comment(); err != nil {
				return token{}, err
			}
		case strings.IndexByte("{}[],;", c) >= 0:
			return token{text: string(c)}, nil
		case c == '"':
			return s.quoted()
		default:
			return s.bare(c)
		}
	}
}

func (s *scanner) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if c == '\n' && err == nil {
		s.line++
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.read = err
	}
	return c, err
}

func (s *scanner) comment() error {
	for {
		c, err := s.byte()
		if errors.Is(err, io.EOF) || c == '\n' {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *scanner) quoted() (token, error) {
	var b strings.Builder
	for b.Len() < maxLine {
		c, err := s.byte()
		if err != nil {
			return token{}, errors.New("a quote is not closed")
		}
		switch c {
		case '"':
			return token{b.String(), true}, nil
		case '\\':
			if c, err = s.byte(); err != nil {
				return token{}, errors.New("a quote is not closed")
			}
		}
		b.WriteByte(c)
	}
	return token{}, errTooLong
}

// bare reads a word up to a sign; "=>" is a sign, "=" alone is not.
func (s *scanner) bare(c byte) (token, error) {
	if c == '=' {
		if next, err := s.r.Peek(1); err == nil && next[0] == '>' {
			_, err = s.byte()
			return arrow, err
		}
	}
	b := []byte{c}
	for len(b) < maxLine {
		next, err := s.r.Peek(2)
		if len(next) == 0 || strings.IndexByte(" \t\r\n{}[],;#\"", next[0]) >= 0 || len(next) == 2 && string(next) == "=>" {
			if err != nil && !errors.Is(err, io.EOF) {
				s.read = err
				return token{}, err
			}
			return token{string(b), true}, nil
		}
		b = append(b, next[0])
		_, _ = s.r.Discard(1)
	}
	return token{}, errTooLong
}

// pairs reads the whole file.
func (s *scanner) pairs(f *file) error {
	t, err := s.next()
	braces := t.text == "{" && !t.word
	if braces && err == nil {
		t, err = s.next()
	}
	for ; err == nil; t, err = s.next() {
		switch {
		case t.text == "," && !t.word || t.text == ";" && !t.word:
		case t.text == "}" && !t.word && braces:
			if t, err = s.next(); err == nil && t != endOfFile {
				err = fmt.Errorf("%v after the last brace", t)
			}
			return err
		case t == endOfFile && !braces:
			return nil
		case !t.word:
			return fmt.Errorf("%v where a network is wanted", t)
		case strings.HasPrefix(t.text, "$include"):
			return errors.New("$include: files in files are not read")
		default:
			line := s.line
			location, err := s.value(t.text)
			if err != nil {
				return err
			}
			if !f.add(line, t.text, location) {
				return nil
			}
		}
	}
	return err
}

// value reads `=> x` or `=> [ x, y ]`.
func (s *scanner) value(network string) (string, error) {
	t, err := s.next()
	if err != nil {
		return "", err
	}
	if t != arrow {
		return "", fmt.Errorf("%v after %s: want =>", t, network)
	}
	if t, err = s.next(); err != nil || t.word {
		return t.text, err
	}
	if t.text != "[" {
		return "", fmt.Errorf("%v after =>: want a datacenter or a list", t)
	}
	var out []string
	for size := 0; size <= maxLocation; size += len(t.text) + 1 {
		switch t, err = s.next(); {
		case err != nil:
			return "", err
		case t.word:
			out = append(out, t.text)
		case t.text == "]":
			return strings.Join(out, ","), nil
		case t.text != ",":
			return "", fmt.Errorf("%v in the list of %s", t, network)
		}
	}
	return "", fmt.Errorf("list of %s: more than %d bytes", network, maxLocation)
}

// WriteGdnsd writes rows for gdnsd; a location with commas is a list.
func WriteGdnsd(w io.Writer, rows func(yield func(Row) bool)) error {
	b := bufio.NewWriter(w)
	for r := range rows {
		list := strings.Split(r.Location, ",")
		for i, s := range list {
			if strings.ContainsAny(s, " \t{}[];#\"=>\\$") || s == "" && len(list) > 1 {
				list[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
			}
		}
		if _, err := fmt.Fprintf(b, "%s => [ %s ]\n", r.Network, strings.Join(list, ", ")); err != nil {
			return err
		}
	}
	return b.Flush()
}
