package main

import "testing"

func TestFolder(t *testing.T) {
	s := sources{modules: "/mod", root: "/go"}
	for _, c := range [][3]string{
		{"std", "1.26.0", "/go"},
		{"github.com/osrg/gobgp/v3", "v3.37.0", "/mod/github.com/osrg/gobgp/v3@v3.37.0"},
		{"github.com/BurntSushi/toml", "v1.5.0-RC1", "/mod/github.com/!burnt!sushi/toml@v1.5.0-!r!c1"},
	} {
		if got := s.folder(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}
