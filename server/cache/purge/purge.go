package purge

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Epoch is the number of a purge, and at an object the newest purge there was
// when its fill started. Epochs only grow; they are microseconds since 1970
// where the clock allows.
type Epoch uint64

// Kind is what a purge names.
type Kind string

// Kinds.
const (
	URL    Kind = "url"    // one object with all its variants: Site and URL
	Prefix Kind = "prefix" // Host, and all paths that start with Path (as text: /a is /a, /a/b and /ab)
	Host   Kind = "host"   // all of Host
	Site   Kind = "site"   // all of Site
	Tag    Kind = "tag"    // all with Tag, of Site and of Host if they are given
	All    Kind = "all"
)

// Verdict is what a stored object still is.
type Verdict uint8

// Verdicts.
const (
	OK   Verdict = iota // not purged
	Soft                // stale from now on: to be revalidated
	Hard                // gone
)

// String is the word for logs.
func (v Verdict) String() string { return [...]string{"ok", "soft", "hard"}[v] }

// Request is a purge that somebody asks for.
type Request struct {
	Kind Kind   `json:"kind"`
	Site string `json:"site,omitempty"`
	Host string `json:"host,omitempty"` // as in site.Key: small letters, the port where it is in the key
	Path string `json:"path,omitempty"` // of a Prefix, normalized as in site.Key
	URL  string `json:"url,omitempty"`  // as in site.Key
	Tag  string `json:"tag,omitempty"`  // compared exactly
	Soft bool   `json:"soft,omitempty"`
	Who  string `json:"who,omitempty"`
	Why  string `json:"why,omitempty"`
}

// Entry is a purge that was done.
type Entry struct {
	ID   Epoch     `json:"id"`
	Time time.Time `json:"time"`
	Request
}

// Object is what a stored object goes by. The slices are only read.
type Object struct {
	Site            string
	Host, Path, URL []byte
	Tags            []string
}

// maxText bounds each text of a request; one of maxLine in all fits in a line.
const maxText = 16 << 10

var errEmpty = errors.New("purge: names nothing")

// Validate says whether the request names what its kind needs, and nothing that
// the kind would leave unread.
func (r *Request) Validate() error {
	need := map[Kind][]string{
		URL: {r.URL}, Prefix: {r.Host, r.Path}, Host: {r.Host}, Site: {r.Site}, Tag: {r.Tag}, All: {},
	}
	parts, ok := need[r.Kind]
	if !ok {
		return fmt.Errorf("purge: kind %q: want url, prefix, host, site, tag or all", r.Kind)
	}
	for _, p := range parts {
		if p == "" {
			return fmt.Errorf("%w of kind %s", errEmpty, r.Kind)
		}
	}
	for _, s := range []string{r.Site, r.Host, r.Path, r.URL, r.Tag, r.Who, r.Why} {
		if len(s) > maxText {
			return fmt.Errorf("purge: a text of %d bytes; at most %d", len(s), maxText)
		}
	}
	if r.Kind == Prefix && !strings.HasPrefix(r.Path, "/") {
		return fmt.Errorf("purge: prefix %q: want a path such as /video/", r.Path)
	}
	return r.extra()
}

// extra refuses what would be read as narrower than it is done.
func (r *Request) extra() error {
	over := map[string]bool{
		"site": r.Site != "" && r.Kind != URL && r.Kind != Site && r.Kind != Tag,
		"host": r.Host != "" && r.Kind != Prefix && r.Kind != Host && r.Kind != Tag,
		"path": r.Path != "" && r.Kind != Prefix,
		"url":  r.URL != "" && r.Kind != URL,
		"tag":  r.Tag != "" && r.Kind != Tag,
	}
	for _, name := range []string{"site", "host", "path", "url", "tag"} {
		if over[name] {
			return fmt.Errorf("purge: kind %s does not look at %s", r.Kind, name)
		}
	}
	return nil
}
