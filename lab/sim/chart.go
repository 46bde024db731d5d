package sim

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is a picture of bars: groups of one bar a series.
type Chart struct {
	Title, Y string
	Series   []string
	Groups   []string
	Values   [][]float64 // [group][series]
	// Log is for values from 0 to very large: the axis goes in powers of ten,
	// and shows what is 0 as 0.
	Log bool
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

// height is a value's on the axis.
func (c *Chart) height(v float64) float64 {
	if c.Log {
		return math.Log10(1 + max(0, v))
	}
	return v
}

// plot makes the picture.
func (c *Chart) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = c.Title, c.Y
	p.Title.Padding, p.Y.Label.Padding = vg.Points(8), vg.Points(6)
	p.Legend.Top, p.Legend.Left = true, true // the text right of its colour: fonts differ in width
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(8), vg.Points(-4), vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xdd}
	p.Add(grid)
	width := vg.Points(64 / float64(len(c.Series)))
	top := 0.0
	for s, series := range c.Series {
		values := make(plotter.Values, len(c.Groups))
		for g := range values {
			values[g] = c.height(c.Values[g][s])
			top = max(top, values[g])
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return nil, err
		}
		bars.Color, bars.LineStyle.Width = colours[s%len(colours)], 0
		bars.Offset = width * vg.Length(float64(s)-float64(len(c.Series)-1)/2)
		p.Add(bars)
		p.Legend.Add(series, bars)
	}
	p.NominalX(c.Groups...)
	p.X.Min, p.X.Max = -0.5, float64(len(c.Groups))-0.5
	p.Y.Min, p.Y.Max = 0, max(top, 1e-9)*(1.08+0.07*float64(len(c.Series))) // room for the legend
	if c.Log {
		p.Y.Tick.Marker = powers(p.Y.Max)
	}
	return p, nil
}

// powers are marks at 0 and the powers of ten below a height.
func powers(top float64) plot.ConstantTicks {
	out := plot.ConstantTicks{{Value: 0, Label: "0"}}
	for n := 0; math.Log10(1+math.Pow10(n)) < top; n++ {
		out = append(out, plot.Tick{Value: math.Log10(1 + math.Pow10(n)), Label: fmt.Sprintf("%.0f", math.Pow10(n))})
	}
	return out
}

// Save writes the picture as SVG into a folder.
func (c *Chart) Save(folder, name string) (string, error) {
	p, err := c.plot()
	if err != nil {
		return "", fmt.Errorf("chart %s: %w", name, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	canvas := vgsvg.New(vg.Points(92*float64(max(6, len(c.Groups)))+60), vg.Points(360))
	area := vgdraw.New(canvas)
	area.SetColor(color.White)
	area.Fill(area.Rectangle.Path())
	p.BackgroundColor = nil
	p.Draw(vgdraw.Crop(area, vg.Points(10), vg.Points(-16), vg.Points(10), vg.Points(-10)))
	path := filepath.Join(folder, name+".svg")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if _, err := canvas.WriteTo(f); err != nil {
		f.Close()
		return "", fmt.Errorf("chart %s: %w", name, err)
	}
	return path, f.Close()
}
