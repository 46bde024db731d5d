package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed page
var files embed.FS

// contentPolicy is what a browser may do with the page: its own files and calls,
// nothing inline, nothing from or to elsewhere, in no frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file, ready to be sent.
type asset struct {
	text, kind, tag string
}

// Assets serves the files of the page, at / and below; everything else is 404.
// It adds the headers that go with them and asks nobody who they are.
func Assets() http.Handler {
	all := map[string]asset{}
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		sum := sha256.Sum256(text)
		all[strings.TrimPrefix(name, "page")] = asset{
			text: string(text), kind: kind(name), tag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		}
		return err
	})
	if err != nil {
		panic(err) // the files are in the program
	}
	all["/"] = all["/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers(w.Header())
		a, ok := all[r.URL.Path]
		switch {
		case !ok:
			http.Error(w, "the page has no such file", http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "a file can only be read", http.StatusMethodNotAllowed)
		default:
			w.Header().Set("Content-Type", a.kind)
			w.Header().Set("Etag", a.tag) // a newer daemon's page is seen at once
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(a.text))
		}
	})
}

// kind does not ask the host's table of types: a wrong one there would keep
// the page from working.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.FormatMediaType("application/octet-stream", nil)
}

func headers(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
}
