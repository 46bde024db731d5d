package matrix

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// Limits on a file. They bound memory; the largest mapping of the internet by
// /24 has about 12 million networks, which are added up as they are read.
const (
	maxColumns = 1000
	maxPOPs    = 1000
)

// Error is a mistake in a file of catchments.
type Error struct {
	File string
	Line int // 0: the file as a whole
	Msg  string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// ReadFile reads a file of catchments. A mistake is an *Error with its line.
func ReadFile(path string) (*Catchments, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := Read(f, path)
	if err != nil {
		return nil, err
	}
	if c.Measured.IsZero() {
		if st, err := f.Stat(); err == nil {
			c.Measured = st.ModTime()
		}
	}
	return c, nil
}

// Read is ReadFile for text from anywhere; name is what errors call it.
func Read(r io.Reader, name string) (*Catchments, error) {
	rd := &reader{out: &Catchments{Source: name}, line: 1}
	if err := rd.read(bufio.NewReaderSize(r, 1<<16)); err != nil {
		var e *csv.ParseError
		switch {
		case errors.As(err, &e):
			return nil, &Error{name, e.Line + rd.skipped, e.Err.Error()}
		case errors.As(err, new(*Error)):
			return nil, err
		}
		return nil, &Error{name, 0, err.Error()}
	}
	if err := rd.whole(); err != nil {
		return nil, err
	}
	return rd.out, nil
}

// reader is a file that is being read.
type reader struct {
	out     *Catchments
	csv     *csv.Reader
	skipped int // lines before the header
	line    int // of the record at hand
	header  int // its line
	rows    []Row
	normal  int // index of the normal row; -1: none yet
	columns []policy.POPID
	known   map[policy.POPID]bool
}

func (r *reader) fail(format string, args ...any) error {
	return &Error{r.out.Source, r.line, fmt.Sprintf(format, args...)}
}

func (r *reader) read(in *bufio.Reader) error {
	separator, err := r.begin(in)
	if err != nil {
		return err
	}
	r.known, r.normal = map[policy.POPID]bool{}, -1
	r.csv = csv.NewReader(in)
	r.csv.Comma, r.csv.Comment, r.csv.ReuseRecord, r.csv.FieldsPerRecord, r.csv.TrimLeadingSpace = separator, '#', true, -1, true
	head, err := r.next()
	if err != nil {
		return err
	}
	head = slices.Clone(head) // the next record takes its place
	r.header = r.line
	if len(head) > maxColumns {
		return r.fail("%d columns, more than %d", len(head), maxColumns)
	}
	switch strings.ToLower(head[0]) {
	case "network":
		return r.networks(head)
	case "configuration", "bgp":
		return r.counts(head)
	}
	return r.fail("the header begins with %q: want network (one line a client network) or configuration (one line a configuration)", head[0])
}

// begin skips the comments before the header, and finds the separator.
func (r *reader) begin(in *bufio.Reader) (separator rune, err error) {
	for {
		peek, err := in.Peek(1)
		if errors.Is(err, io.EOF) {
			return 0, r.fail("the file is empty")
		} else if err != nil {
			return 0, err
		}
		if peek[0] != '#' && peek[0] != '\n' && peek[0] != '\r' {
			break
		}
		text, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(text, "#"), ":")
		if strings.TrimSpace(key) == "measured" {
			if r.out.Measured, err = parseTime(strings.TrimSpace(value)); err != nil {
				return 0, r.fail("%v", err)
			}
		}
		r.skipped++
		r.line++
	}
	head, _ := in.Peek(in.Size()) // shorter at the end of the file
	line, _, _ := strings.Cut(string(head), "\n")
	for _, c := range ";\t," {
		if strings.ContainsRune(line, c) {
			return c, nil
		}
	}
	return 0, r.fail("the header has one column only: want columns with , or ; or a tab between them")
}

func parseTime(s string) (time.Time, error) {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("measured: %q: want a time such as 2026-11-20T10:00:00Z", s)
}

// next is the next record; its cells are trimmed and valid until the next.
func (r *reader) next() ([]string, error) {
	cells, err := r.csv.Read()
	if err != nil {
		return nil, err
	}
	line, _ := r.csv.FieldPos(0)
	r.line = line + r.skipped
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells, nil
}

// networks reads a file with a line for each client network.
func (r *reader) networks(head []string) error {
	if len(head) < 4 || strings.ToLower(head[1]) != "weight" {
		return r.fail("want the columns network, weight, normal and at least one configuration such as LON=withdraw")
	}
	for _, name := range head[2:] {
		if err := r.row(name); err != nil {
			return err
		}
	}
	if r.normal < 0 {
		return r.fail("no column normal: what differs is told against it")
	}
	n := len(head)
	for {
		cells, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(cells) != n {
			return r.fail("%d columns, the header has %d", len(cells), n)
		}
		if err := r.network(cells); err != nil {
			return err
		}
	}
}

func (r *reader) network(cells []string) error {
	if _, err := netip.ParsePrefix(cells[0]); err != nil {
		if _, err := netip.ParseAddr(cells[0]); err != nil {
			return r.fail("network %q: want a prefix such as 198.51.100.0/24", cells[0])
		}
	}
	weight, err := number(cells[1])
	if err != nil {
		return r.fail("weight %q: want a number, zero or more", cells[1])
	}
	r.out.Networks++
	base, err := r.pop(cells[2+r.normal])
	if err != nil || base == "" {
		return err // whoever did not answer normally tells nothing
	}
	for i := range r.rows {
		p, err := r.pop(cells[2+i])
		if err != nil {
			return err
		}
		if p == "" {
			continue
		}
		row := &r.rows[i]
		row.Clients[p] += weight
		to := row.Moves[base]
		if to == nil {
			to = map[policy.POPID]float64{}
			row.Moves[base] = to
		}
		to[p] += weight
	}
	return nil
}

// pop is the POP of a cell; empty: there was no answer.
func (r *reader) pop(cell string) (policy.POPID, error) {
	if cell == "" || cell == "-" || strings.EqualFold(cell, "unknown") {
		return "", nil
	}
	p := policy.POPID(cell)
	if r.known[p] {
		return p, nil
	}
	if len(cell) > 63 || strings.ContainsAny(cell, "=+ ") {
		return "", r.fail("%q is no name of a POP", cell)
	}
	if len(r.known) >= maxPOPs {
		return "", r.fail("more than %d POPs", maxPOPs)
	}
	p = policy.POPID(strings.Clone(cell))
	r.known[p] = true
	return p, nil
}

// counts reads a file with a line for each configuration.
func (r *reader) counts(head []string) error {
	for _, name := range head[1:] {
		if _, twice := r.known[policy.POPID(name)]; twice {
			return r.fail("POP %s is a column twice", name)
		}
		p, err := r.pop(name)
		if err != nil {
			return err
		}
		r.columns = append(r.columns, p)
	}
	n := len(head)
	for {
		cells, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if len(cells) != n {
			return r.fail("%d columns, the header has %d", len(cells), n)
		}
		if err := r.row(cells[0]); err != nil {
			return err
		}
		row := &r.rows[len(r.rows)-1]
		row.Moves = nil
		for i, p := range r.columns {
			v, err := number(cells[i+1])
			if err != nil {
				return r.fail("%s: %q: want a number, zero or more", head[i+1], cells[i+1])
			}
			if p != "" {
				row.Clients[p] += v
			}
		}
	}
	if r.normal < 0 {
		r.line = r.header
		return r.fail("no line normal: what differs is told against it")
	}
	return nil
}

func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, errors.New("no count")
	}
	return v, nil
}

// row begins a configuration.
func (r *reader) row(name string) error {
	if len(r.rows) >= maxColumns {
		return r.fail("more than %d configurations", maxColumns)
	}
	settings, others, err := parseConfiguration(name)
	if err != nil {
		return r.fail("%v", err)
	}
	if others != nil { // of every other POP; with networks which those are is not known yet
		settings = []Setting{{POP: allBut + others.POP, Prepend: others.Prepend}}
	}
	for i := range r.rows {
		if slices.Equal(r.rows[i].Settings, settings) {
			return r.fail("configuration %q is there already", name)
		}
	}
	if len(settings) == 0 {
		r.normal = len(r.rows)
	}
	r.rows = append(r.rows, Row{
		Name: strings.Clone(name), Settings: settings, Line: r.line,
		Clients: map[policy.POPID]float64{}, Moves: map[policy.POPID]map[policy.POPID]float64{},
	})
	return nil
}

// allBut marks a setting of all POPs but one.
const allBut = "all but "

// whole checks what only the whole file shows, and sorts it.
func (r *reader) whole() error {
	c := r.out
	c.Normal = r.rows[r.normal]
	if r.line = c.Normal.Line; sum(c.Normal.Clients) <= 0 {
		return r.fail("no POP has any clients normally")
	}
	for p, n := range c.Normal.Clients {
		if n > 0 {
			c.POPs = append(c.POPs, p)
		}
	}
	slices.Sort(c.POPs)
	for i := range r.rows {
		row := &r.rows[i]
		if i == r.normal {
			continue
		}
		if s := row.Settings[0]; strings.HasPrefix(string(s.POP), allBut) {
			row.Settings = nil
			for _, p := range c.POPs {
				if string(p) != strings.TrimPrefix(string(s.POP), allBut) {
					row.Settings = append(row.Settings, Setting{POP: p, Prepend: s.Prepend})
				}
			}
		}
		r.line = row.Line
		for _, s := range row.Settings {
			if !r.known[s.POP] {
				return r.fail("configuration %q is of POP %s, which the file does not have", row.Name, s.POP)
			}
		}
		if sum(row.Clients) <= 0 {
			return r.fail("configuration %q: no POP has any clients", row.Name)
		}
		c.Rows = append(c.Rows, *row)
	}
	return nil
}
