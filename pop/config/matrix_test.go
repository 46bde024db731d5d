package config

import (
	"errors"
	"strings"
	"testing"
)

const matrixBase = `pop: LON
bgp: {global: {config: {as: 64500, router-id: 10.0.0.1}}, neighbors: [{config: {neighbor-address: 10.0.0.2, peer-as: 64501}}]}
fleet: {secret-file: /etc/s, peers: [{pop: FRA, url: "http://10.9.0.2:9799/"}, {pop: AMS, url: "http://10.9.0.3:9799/"}]}
services:
  - {name: web, prefixes: [192.0.2.0/24], always: true}
`

// TestMatrix: receivers and the file of catchments, and what is wrong with them.
func TestMatrix(t *testing.T) {
	judge := func(file string) error {
		if strings.Contains(file, "bad") {
			return errors.New(file + ":7: weight \"x\"")
		}
		return nil
	}
	read := func(section string) (*Config, error) {
		return Parse(strings.NewReader(matrixBase+section), "yaml", Options{Matrix: judge})
	}
	c, err := read("matrix: {file: /etc/c.csv, receivers: [{pop: FRA, share: 0.6}, {pop: AMS, share: 2}, {of: FRA, pop: LON, share: 1}]}")
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Matrix; m.File != "/etc/c.csv" || len(m.Receivers) != 3 || m.Receivers[0] != (Receiver{Of: "LON", POP: "FRA", Share: 0.6}) || m.Receivers[2].Of != "FRA" {
		t.Errorf("%+v", m)
	}
	if c, err := read("matrix: {receivers: [{pop: ZRH, share: 1}]}"); err != nil || !strings.Contains(strings.Join(c.Warnings, "\n"), "ZRH is not a POP of the fleet section") {
		t.Errorf("a POP that is not there: %v", err)
	}
	for section, want := range map[string]string{
		"{file: c.csv}":                                                      "matrix.file: \"c.csv\": want an absolute path",
		"{file: /etc/bad.csv}":                                               "matrix.file: /etc/bad.csv:7: weight",
		"{receivers: [{pop: LON, share: 1}]}":                                "matrix.receivers[0].pop: LON cannot receive its own load",
		"{receivers: [{pop: FRA}]}":                                          "matrix.receivers[0].share: 0: want more than zero",
		"{receivers: [{share: 1}]}":                                          "matrix.receivers[0].pop: not set",
		"{receivers: [{pop: FRA, share: 1}, {pop: FRA, share: 2}]}":          "matrix.receivers[1].pop: FRA is in the list already",
		"{receivers: [{pop: FRA, share: 1}, {of: LON, pop: FRA, share: 2}]}": "matrix.receivers[1].pop: FRA is in the list already",
		"{receivers: [{pop: FRA, share: .inf}]}":                             "want a number",
		"{receivers: [{pop: FRA, shar: 1}]}":                                 "shar",
	} {
		if _, err := read("matrix: " + section); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", section, err, want)
		}
	}
}
