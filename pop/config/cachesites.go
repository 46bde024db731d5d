package config

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/server/cache/site"
)

// rawSites is the file that cache.sites-file names: the list sites, as it
// would stand under cache.
type rawSites struct {
	Sites []site.Config `mapstructure:"sites"`
}

// cacheSites checks the sites, wherever they are.
func (b *builder) cacheSites(o Options) {
	c := &b.out.Cache
	switch {
	case c.SitesFile != "" && len(c.Sites) > 0:
		b.refuse("cache.sites-file", "there are cache.sites too: want one of them")
		return
	case c.SitesFile == "" && len(c.Sites) == 0:
		b.refuse("cache.sites", "not set, and no cache.sites-file: a host that no site names is refused, so nothing would be served")
		return
	case c.SitesFile == "":
		judgeSites(b.problems, "cache.sites", c.Sites, o.Cache != nil)
		return
	}
	b.absolute("cache.sites-file", c.SitesFile)
	if o.SitesFile == nil || !filepath.IsAbs(c.SitesFile) {
		return
	}
	text, err := o.SitesFile(c.SitesFile)
	if err != nil {
		b.refuse("cache.sites-file", "%v", err)
		return
	}
	sites, problems := parseSites(c.SitesFile, text, o.Cache != nil)
	b.errs = append(b.errs, problems...)
	c.Sites = sites
}

// parseSites reads the text of a file of sites.
func parseSites(file string, text []byte, files bool) ([]site.Config, []*Error) {
	p, v, err := open(bytes.NewReader(text), strings.TrimPrefix(filepath.Ext(file), "."), file)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{File: file, Msg: err.Error()}
		}
		return nil, []*Error{e}
	}
	var raw rawSites
	settings, _ := plain(v.AllSettings()).(map[string]any)
	p.decode(settings, &raw)
	if len(raw.Sites) == 0 && len(p.errs) == 0 {
		p.refuse("sites", "not set: want a list of sites")
	}
	judgeSites(p, "sites", raw.Sites, files)
	byLine(p.errs)
	return raw.Sites, p.errs
}

// siteChanges says which sites of a file of their own are others, a line each.
func siteChanges(old, new *Cache) []string {
	if old.SitesFile == "" && new.SitesFile == "" || new.SitesFile != "" && new.Sites == nil {
		return nil // Diff sees them in the configuration, or nobody has read the file
	}
	was, is := sitesByName(old), sitesByName(new)
	var out []string
	for name, s := range is {
		switch w, ok := was[name]; {
		case !ok:
			out = append(out, "cache.sites["+name+"]: new")
		case !reflect.DeepEqual(w, s):
			out = append(out, "cache.sites["+name+"]: changed")
		}
	}
	for name := range was {
		if _, ok := is[name]; !ok {
			out = append(out, "cache.sites["+name+"]: gone")
		}
	}
	return out
}

func sitesByName(c *Cache) map[string]site.Config {
	m := map[string]site.Config{}
	for _, s := range c.Sites {
		m[s.Name] = s
	}
	return m
}

// judgeSites checks the sites, each by itself and beside the others. Files that
// they name are looked at where files is set.
func judgeSites(p *problems, path string, sites []site.Config, files bool) {
	if !files {
		sites = withoutFiles(sites)
	}
	_, err := site.NewTable(sites, nil)
	if err == nil {
		return
	}
	for _, e := range flat(err) {
		var s *site.Error
		if errors.As(e, &s) {
			p.refuse(join(path+"["+strconv.Itoa(s.Index)+"]", s.Path), "%s", s.Msg)
			continue
		}
		p.refuse(path, "%v", e)
	}
}

// withoutFiles are the sites as if what their files hold were right.
func withoutFiles(sites []site.Config) []site.Config {
	const right = "as-long-as-a-secret-has-to-be-0123456789"
	out := slices.Clone(sites)
	for i := range out {
		s := &out[i]
		s.Upstream.CA = ""
		s.Token.Keys = slices.Clone(s.Token.Keys)
		for k := range s.Token.Keys {
			if key := &s.Token.Keys[k]; key.SecretFile != "" && key.Secret == "" {
				key.Secret, key.SecretFile = right, ""
			}
		}
		for _, a := range []*site.Access{&s.Debug, &s.Purge} {
			if a.TokenFile != "" && a.Token == "" {
				a.Token, a.TokenFile = right, ""
			}
		}
	}
	return out
}
