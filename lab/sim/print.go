package sim

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// Print writes the table, the notes and the goals.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", r.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  "+strings.Join(r.Head, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintln(t, "  "+strings.Join(row, "\t"))
	}
	t.Flush()
	for _, n := range r.Notes {
		fmt.Fprintln(w, "  -", n)
	}
	for _, g := range r.Goals {
		fmt.Fprintln(w, g)
	}
}

// Save writes the table as CSV and the picture, if there is one, as SVG.
func (r *Report) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, r.Name+".csv"))
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	if err := w.WriteAll(append([][]string{r.Head}, r.Rows...)); err != nil {
		f.Close()
		return fmt.Errorf("report %s: %w", r.Name, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if r.Chart == nil {
		return nil
	}
	_, err = r.Chart.Save(folder, r.Name)
	return err
}
