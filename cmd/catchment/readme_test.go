package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// shown matches a block of README.md that repeats a file, or the part of it
// from one line to before another:
//
//	<!-- file configs/minimal.yaml -->
//	```yaml
//	...
//	```
//	<!-- /file -->
var shown = regexp.MustCompile(`(?s)<!-- file (\S+)(?: from "(.*?)")?(?: to "(.*?)")? -->\n(.*?)<!-- /file -->`)

// TestReadme keeps what README.md shows equal to the files that it shows.
func TestReadme(t *testing.T) {
	const path = "../../README.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	want := shown.ReplaceAllStringFunc(string(b), func(block string) string {
		blocks++
		m := shown.FindStringSubmatch(block)
		name := m[1]
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		part := string(text)
		if _, after, ok := strings.Cut(part, "\n"+m[2]); ok && m[2] != "" {
			part = m[2] + after
		}
		if before, _, ok := strings.Cut(part, "\n"+m[3]); ok && m[3] != "" {
			part = before
		}
		first, _, _ := strings.Cut(block, "\n")
		lang := "text"
		if strings.HasSuffix(name, ".yaml") {
			lang = "yaml"
		}
		return first + "\n```" + lang + "\n" + strings.TrimRight(part, "\n") + "\n```\n<!-- /file -->"
	})
	if blocks == 0 {
		t.Fatal("README.md shows no file")
	}
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatal("README.md shows other text than the files: go test ./cmd/catchment -run TestReadme -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
