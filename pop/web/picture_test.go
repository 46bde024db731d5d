package web

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "make the pictures of testdata anew")

// still stops the clock of the pages to come, so that every picture is the same.
func (u *tab) still() {
	u.t.Helper()
	_, err := chromedp.Call(u.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "Date.now = () => 1900000000000"})
	if err != nil {
		u.t.Fatal(err)
	}
}

// drawn waits until the page shows what the daemon says, outlines and all.
func (u *tab) drawn() {
	u.t.Helper()
	for _, what := range []string{"#feed.good", `#slices [data-pop="LON"]`, "#entries li", `.land[d^="M"]`, "#whatif:not([hidden]) select"} {
		u.until("document.querySelector(" + strconv.Quote(what) + ")")
	}
}

var pictures = []struct {
	name          string
	width, height int64
	scheme        string
	then          func(*tab)
}{
	{"page-light", 1280, 1340, "light", nil},
	{"page-dark", 1280, 1340, "dark", nil},
	{"page-phone", 360, 780, "light", nil},
	{"timeline-light", 1280, 640, "light", func(u *tab) {
		u.until(`document.querySelector("#lanes .lane")`)
		eval[bool](u, `(document.getElementById("timeline").scrollIntoView(), true)`)
	}},
	{"explain-dark", 1280, 900, "dark", func(u *tab) {
		u.do(chromedp.Click(chromedp.CSS(`#slices button[data-slice="2001:db8:5353::/48"]`)))
		u.until(`document.querySelector('#explain section[data-key="Journal"]')`)
	}},
}

// TestPicture makes the pictures of README.md with -update: the page as it is,
// with fixed data. Otherwise it looks that each can be made and shows something.
func TestPicture(t *testing.T) {
	d := start(t, atNight(), "", false)
	for _, p := range pictures {
		t.Run(p.name, func(t *testing.T) {
			u := open(t, p.width, p.height, p.scheme)
			u.still()
			u.visit(d.url())
			u.drawn()
			if p.then != nil {
				p.then(u)
			}
			shot, err := chromedp.Run(u.ctx, chromedp.CaptureScreenshot())
			if os.Getenv("FULL") != "" {
				shot, err = chromedp.Run(u.ctx, chromedp.FullScreenshot(100))
			}
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(shot))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(colours(img)); n < 50 {
				t.Errorf("%d colours: an empty picture", n)
			}
			if *update {
				save(t, p.name, img)
			}
		})
	}
}

func colours(img image.Image) map[color.Color]int {
	seen := map[color.Color]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			seen[img.At(x, y)]++
		}
	}
	return seen
}

// palette is the colours that there are most of, and then, one by one, those
// that would be missed most.
func palette(most []color.Color, seen map[color.Color]int) color.Palette {
	n := min(128, len(most))
	p := color.Palette(slices.Clone(most[:n]))
	far := make([]float64, len(most)) // from the nearest that is in, times how often
	miss := func(i int, c color.Color) float64 {
		r, g, b, _ := most[i].RGBA()
		r2, g2, b2, _ := c.RGBA()
		dr, dg, db := float64(r)-float64(r2), float64(g)-float64(g2), float64(b)-float64(b2)
		return (dr*dr + dg*dg + db*db) * float64(seen[most[i]])
	}
	for i := range most {
		far[i] = miss(i, p[p.Index(most[i])])
	}
	for len(p) < min(256, len(most)) {
		worst := 0
		for i := range far {
			if far[i] > far[worst] {
				worst = i
			}
		}
		p = append(p, most[worst])
		for i := range far {
			far[i] = min(far[i], miss(i, most[worst]))
		}
	}
	return p
}

// save writes a picture with 256 colours: a third of the size, and no eye sees it.
func save(t *testing.T, name string, img image.Image) {
	t.Helper()
	seen := colours(img)
	most := slices.SortedFunc(maps.Keys(seen), func(a, b color.Color) int {
		ra, ga, ba, _ := a.RGBA()
		rb, gb, bb, _ := b.RGBA()
		return cmp.Or(cmp.Compare(seen[b], seen[a]), cmp.Compare(ra, rb), cmp.Compare(ga, gb), cmp.Compare(ba, bb))
	})
	few := image.NewPaletted(img.Bounds(), palette(most, seen))
	near := map[color.Color]uint8{}
	for _, c := range most {
		near[c] = uint8(few.Palette.Index(c))
	}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			few.SetColorIndex(x, y, near[img.At(x, y)])
		}
	}
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".png"), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s.png: %d bytes", name, out.Len())
}
