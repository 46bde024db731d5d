package sim

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Chart is a picture of bars: groups of one bar a series.
type Chart struct {
	Title, Y string
	Series   []string
	Groups   []string
	Values   [][]float64 // [group][series]
	Stacked  bool        // a group's bars are one above the other
}

// Add appends a group.
func (c *Chart) Add(group string, values ...float64) {
	c.Groups = append(c.Groups, group)
	c.Values = append(c.Values, values)
}

// colours are told apart by most eyes, also in grey (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0x99, 0x99, 0x99, 0xff},
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff},
}

// Save writes the picture as SVG into a folder.
func (c *Chart) Save(folder, name string) (string, error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = c.Title, c.Y
	p.Y.Min = 0
	p.Legend.Top = true
	width := vg.Points(60 / float64(len(c.Series)))
	if c.Stacked {
		width = vg.Points(36)
	}
	var below *plotter.BarChart
	for s, series := range c.Series {
		values := make(plotter.Values, len(c.Groups))
		for g := range values {
			values[g] = c.Values[g][s]
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return "", fmt.Errorf("chart %s: %w", name, err)
		}
		bars.Color, bars.LineStyle.Width = colours[s%len(colours)], 0
		switch {
		case !c.Stacked:
			bars.Offset = width * vg.Length(float64(s)-float64(len(c.Series)-1)/2)
		case below != nil:
			bars.StackOn(below)
		}
		below = bars
		p.Add(bars)
		p.Legend.Add(series, bars)
	}
	p.NominalX(c.Groups...)
	path := filepath.Join(folder, name+".svg")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if err := p.Save(vg.Points(90*float64(max(6, len(c.Groups)))), vg.Points(320), path); err != nil {
		return "", fmt.Errorf("chart %s: %w", name, err)
	}
	return path, nil
}
