package matrix

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

const byNetwork = `# measured: 2026-11-20T10:00:00Z
# by hand
network,weight,normal,LON=withdraw,LON=backup+FRA=backup
192.0.2.0/24,10,LON,FRA,AMS
198.51.100.0/24,30,LON,AMS,LON
2001:db8:7::/48,60,FRA,FRA,-
203.0.113.0/24,5,-,FRA,FRA
`

func TestReadNetworks(t *testing.T) {
	c, err := Read(strings.NewReader(byNetwork), "c.csv")
	if err != nil {
		t.Fatal(err)
	}
	if c.Networks != 4 || !c.Measured.Equal(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)) || !reflect.DeepEqual(c.POPs, []policy.POPID{"FRA", "LON"}) {
		t.Errorf("%+v", c)
	}
	if got := c.Share(); got["LON"] != 0.4 || got["FRA"] != 0.6 {
		t.Errorf("shares %v", got)
	}
	leave, to := c.Response(&c.Rows[0])
	if leave != 1 || to["FRA"] != 10 || to["AMS"] != 30 {
		t.Errorf("the withdraw: %v leaves to %v", leave, to)
	}
	want := []Setting{{POP: "LON", Rung: "backup"}, {POP: "FRA", Rung: "backup"}}
	if r := c.Rows[1]; !reflect.DeepEqual(r.Settings, want) || r.Moves["LON"]["AMS"] != 10 || r.Moves["LON"]["LON"] != 30 || len(r.Moves["FRA"]) != 0 || r.Line != 3 {
		t.Errorf("together: %+v", r)
	}
}

func TestReadCounts(t *testing.T) {
	text := "bgp;LON;FRA;AMS;unknown\nbaseline;400;300.0;300;90\n0xLON;0;500;500;1\n2xLON;100;450;450;9\n-1xFRA;200;700;100;0\n"
	c, err := Read(strings.NewReader(text), "c.csv")
	if err != nil {
		t.Fatal(err)
	}
	leave, to := c.Response(&c.Rows[1])
	if math.Abs(leave-0.75) > 1e-9 || math.Abs(to["FRA"]-0.15) > 1e-9 || math.Abs(to["AMS"]-0.15) > 1e-9 {
		t.Errorf("two prepends: %v leaves to %v", leave, to)
	}
	if want := []Setting{{POP: "LON", Prepend: 2}}; !reflect.DeepEqual(c.Rows[1].Settings, want) {
		t.Errorf("two prepends are %+v", c.Rows[1].Settings)
	}
	if want := []Setting{{POP: "AMS", Prepend: 1}, {POP: "LON", Prepend: 1}}; !reflect.DeepEqual(c.Rows[2].Settings, want) {
		t.Errorf("all but FRA are %+v", c.Rows[2].Settings)
	}
}

// TestReadMeasured reads the measurements of a public testbed as they are.
func TestReadMeasured(t *testing.T) {
	path := "../../../shared/data/tangled/catchments.csv"
	if _, err := os.Stat(path); err != nil {
		t.Skip("the measured catchments are not here:", err)
	}
	c, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 77 || len(c.POPs) != 7 || c.Measured.IsZero() {
		t.Errorf("%d rows of %v", len(c.Rows), c.POPs)
	}
	for i := range c.Rows {
		if leave, to := c.Response(&c.Rows[i]); c.Rows[i].Name == "1xIAD" && (leave > 0.05 || len(to) == 0) {
			t.Errorf("one prepend of IAD: %v leaves to %v", leave, to)
		}
	}
}

func TestReadErrors(t *testing.T) {
	head := "network,weight,normal,LON=withdraw\n"
	for text, want := range map[string]string{
		"":                                                                "f:1: the file is empty",
		"# only\n":                                                        "f:2: the file is empty",
		"network weight\n":                                                "f:1: the header has one column",
		"# measured: soon\na,b\n":                                         "f:1: measured: \"soon\"",
		"address,weight,normal\n":                                         "f:1: the header begins with \"address\"",
		"network,weight,normal\n":                                         "f:1: want the columns",
		"network,weight,FRA=x,LON=withdraw\n":                             "f:1: no column normal",
		"network,weight,normal,LON\n":                                     "f:1: configuration \"LON\": want normal, or POP=RUNG",
		"network,weight,normal,LON=a+LON=b\n":                             "names LON twice",
		"network,weight,normal,LON=prepend:0\n":                           "\"0\" prepends: want 1 to 255",
		"network,weight,normal,999xLON\n":                                 "999 prepends are not 0 to 255",
		"network,weight,normal,0xLON,LON=withdraw\n":                      "f:1: configuration \"LON=withdraw\" is there already",
		head + "10.0.0.0/8,1,LON\n":                                       "f:2: 3 columns, the header has 4",
		head + "# x\nten,1,LON,FRA\n":                                     "f:3: network \"ten\"",
		head + "10.0.0.0/8,-1,LON,FRA\n":                                  "f:2: weight \"-1\"",
		head + "10.0.0.0/8,1,L N,FRA\n":                                   "f:2: \"L N\" is no name of a POP",
		head + "10.0.0.0/8,1,\"LON,FRA\n":                                 "f:2: extraneous or missing",
		head + "10.0.0.0/8,1,-,FRA\n":                                     "f:1: no POP has any clients normally",
		head + "10.0.0.0/8,1,LON,-\n":                                     "f:1: configuration \"LON=withdraw\": no POP has any clients",
		"network,weight,normal,AMS=withdraw\n10.0.0.0/8,1,LON,FRA\n":      "of POP AMS, which the file does not have",
		"configuration,LON,FRA\nLON=withdraw,0,1\n":                       "f:1: no line normal",
		"configuration,LON,LON\n":                                         "f:1: POP LON is a column twice",
		"configuration,LON,FRA\nnormal,1,many\n":                          "f:2: FRA: \"many\": want a number",
		"configuration,LON,FRA\nnormal,1,2\nnormal,1,2\n":                 "f:3: configuration \"normal\" is there already",
		"# a\n\n# b\nconfiguration,LON,FRA\nnormal,1,2\nLON=withdraw,1\n": "f:6: 2 columns, the header has 3",
	} {
		_, err := Read(strings.NewReader(text), "f")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if !errors.As(err, new(*Error)) {
			t.Errorf("%q: %T", text, err)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(byNetwork)
	f.Add("bgp;LON;FRA\nbaseline;4;3\n0xLON;0;5\n-1xFRA;2;7\n")
	f.Add("configuration\tA\tunknown\nnormal\t1\t2\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Read(strings.NewReader(text), "f")
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		s := Seeds{POP: "LON", Weight: map[policy.POPID]float64{"LON": 1, "FRA": 2, "AMS": 1}, Catchments: c}
		m := s.matrix(Ladder{{Name: "normal"}, {Name: "backup", Prepend: 1}})
		for p, row := range m.Rows {
			for l := range row.Levels {
				k := m.Lookup(p, uint8ToLevel(l), c.Measured)
				if math.IsNaN(k.Leave.Mean) || k.Leave.Mean < 0 || k.Leave.Mean > 1+1e-9 {
					t.Fatalf("%s at %d leaves %v", p, l, k.Leave.Mean)
				}
			}
		}
		s.Remarks()
	})
}
