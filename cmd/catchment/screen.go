package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// screen is where a command writes, and what may be written there. On a pipe
// nothing is cut and nothing coloured.
type screen struct {
	io.Writer
	width, height int // in cells; 0: as wide or high as what is written
	colour        bool
	clear         bool // a terminal that can be drawn over
}

// Values of --color.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

// screen finds out what a.out is. It is asked again for each picture, because
// a terminal changes its size.
func (a *app) screen() screen { return a.screenOf(a.out) }

// screenOf is the same of another place to write.
func (a *app) screenOf(w io.Writer) screen {
	s := screen{Writer: w}
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.width, s.height, s.clear = int(size.Col), int(size.Row), true
		}
	}
	if a.size != nil {
		s.width, s.height = a.size()
		s.clear = true
	}
	plain := a.env("NO_COLOR") != "" || a.env("TERM") == "dumb"
	s.clear = s.clear && a.env("TERM") != "dumb"
	switch a.colour {
	case colourAlways:
		s.colour = true
	case colourAuto, "":
		s.colour = s.width > 0 && !plain
	}
	return s
}

// style says what a word means; how that looks is the terminal's business.
type style uint8

const (
	plain style = iota
	strong
	good
	warn
	bad
)

// SGR parameters (ECMA-48, 8.3.117) of the styles.
var sgr = [...]string{plain: "", strong: "1", good: "32", warn: "33", bad: "1;31"}

// say writes a line of text, broken at blanks where a terminal is too narrow;
// what goes on in the next line stands under the indent.
func say(w io.Writer, indent, text string) {
	wide := 0
	if s, ok := w.(screen); ok && s.width > 0 {
		wide = s.width - max(2, width(indent))
	}
	for i, line := range wrap(text, wide) {
		if i == 1 {
			indent = strings.Repeat(" ", max(2, width(indent)))
		}
		fmt.Fprintln(w, indent+line)
	}
}

// paint colours text where w takes colours.
func paint(w io.Writer, st style, text string) string {
	if s, ok := w.(screen); !ok || !s.colour || sgr[st] == "" || text == "" {
		return text
	}
	return "\x1b[" + sgr[st] + "m" + text + "\x1b[m"
}

// styles of the words that tables use for states.
var styles = map[string]style{
	"announce": good, "up": good, "established": good, "pass": good, "allow": good, "on": good, "always": good,
	"drain": warn, "degraded": warn, "unknown": warn, "warn": warn, "weaken": warn, "wait": warn, "cannot-tell": warn, "off": warn, "stale": warn,
	"withdraw": bad, "down": bad, "fail": bad, "veto": bad, "idle": bad, "active": bad, "connect": bad, "opensent": bad, "openconfirm": bad, "never": bad,
}
