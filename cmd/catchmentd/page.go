package main

import "github.com/catchment/catchment/pop/web"

// page makes the page's server; nil where there is to be none. Whoever reaches
// it may read, and change things only with web.change.
func (d *parts) page() (task, error) {
	c := d.cfg.Web
	if c.Listen == "" {
		return nil, nil
	}
	return web.New(web.Options{Listen: c.Listen, Optional: c.Default, API: d.server.PageHandler(c.Change), Logger: d.log})
}
