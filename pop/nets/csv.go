package nets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/catchment/catchment/policy/steer"
)

// CSV reads lines of a network and a location (RFC 4180, quotes within a line
// only). A first line that names columns may put them elsewhere: those called
// network and location (or reason) count then. The name is for errors.
func CSV(name string, r io.Reader) (*steer.Nets, error) {
	f := newFile(name)
	c := columns{0, 1}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	line, first := 0, true
	for lines.Scan() {
		line++
		text := strings.TrimSpace(lines.Text())
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text == "" || text[0] == '#' {
			continue
		}
		fields, err := split(text)
		if first {
			first = false
			if at, ok := header(fields); ok && err == nil {
				c = at
				continue
			}
		}
		if err == nil && len(fields) <= max(c.network, c.location) {
			err = fmt.Errorf("%d fields: want a network and a location", len(fields))
		}
		if err != nil {
			if !f.fail(line, err) {
				break
			}
			continue
		}
		if !f.add(line, fields[c.network], fields[c.location]) {
			break
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		f.fail(line+1, errTooLong)
	case err != nil:
		return nil, readError(name, err)
	}
	return f.done()
}

// columns are the places of the two that count.
type columns struct{ network, location int }

func header(fields []string) (columns, bool) {
	at := func(name string) int {
		return slices.IndexFunc(fields, func(s string) bool { return strings.EqualFold(s, name) })
	}
	c := columns{at("network"), at("location")}
	if c.location < 0 {
		c.location = at("reason") // in lists of slow networks
	}
	return c, c.network >= 0 && c.location >= 0
}

// split cuts a line into fields.
func split(s string) ([]string, error) {
	var out []string
	for {
		if s = strings.TrimLeft(s, " \t"); strings.HasPrefix(s, `"`) {
			field, rest, err := quoted(s[1:])
			if err != nil {
				return nil, err
			}
			out, s = append(out, field), strings.TrimLeft(rest, " \t")
			if s == "" {
				return out, nil
			}
			if s[0] != ',' {
				return nil, errors.New("text after a quoted field")
			}
			s = s[1:]
			continue
		}
		field, rest, more := strings.Cut(s, ",")
		out = append(out, strings.TrimSpace(field))
		if !more {
			return out, nil
		}
		s = rest
	}
}

// quoted reads to the closing quote; two of them stand for one.
func quoted(s string) (field, rest string, err error) {
	var b strings.Builder
	for {
		part, after, ok := strings.Cut(s, `"`)
		if !ok {
			return "", "", errors.New("a quote is not closed")
		}
		b.WriteString(part)
		if !strings.HasPrefix(after, `"`) {
			return b.String(), after, nil
		}
		b.WriteByte('"')
		s = after[1:]
	}
}

// Row is one line of a file to write.
type Row struct {
	Network  string
	Location string
	More     []string // further columns
}

// WriteCSV writes rows below a header; more names the further columns.
func WriteCSV(w io.Writer, more []string, rows func(yield func(Row) bool)) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, strings.Join(append([]string{"network", "location"}, more...), ","))
	for r := range rows {
		b.WriteString(r.Network)
		for _, s := range append([]string{r.Location}, r.More...) {
			b.WriteByte(',')
			if strings.ContainsAny(s, "\",# \t") {
				s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
			}
			b.WriteString(s)
		}
		if err := b.WriteByte('\n'); err != nil {
			return err
		}
	}
	return b.Flush()
}
