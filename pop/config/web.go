package config

// web checks where the page is served. It asks nobody for a password, so it
// stays on this host.
func (b *builder) web() {
	r := b.raw.Web
	b.out.Web = Web{Listen: r.Listen, Change: r.Change, Default: b.defaulted["web.listen"]}
	b.listen("web.listen", r.Listen)
	if beyondLoopback(r.Listen) {
		b.refuse("web.listen", "%q is beyond loopback, where the page has no way to know who asks: "+
			"use api.listen with api.tls for the page under mutual TLS, or an SSH tunnel (ssh -L 9797:127.0.0.1:9797), "+
			"or a reverse proxy that asks who it is", r.Listen)
	}
}

// location checks where a POP is; nil where nobody says.
func (b *builder) location(path string, r rawLocation) *Location {
	switch {
	case r.Latitude == nil && r.Longitude == nil:
		return nil
	case r.Latitude == nil:
		b.refuse(path+".latitude", "not set: degrees from -90 (south) to 90, beside the longitude")
		return nil
	case r.Longitude == nil:
		b.refuse(path+".longitude", "not set: degrees from -180 (west) to 180, beside the latitude")
		return nil
	}
	b.within(path+".latitude", *r.Latitude, 90)
	b.within(path+".longitude", *r.Longitude, 180)
	return &Location{Latitude: *r.Latitude, Longitude: *r.Longitude}
}

func (b *builder) within(path string, degrees, bound float64) {
	if !(degrees >= -bound && degrees <= bound) {
		b.refuse(path, "%v: want degrees from %v to %v", degrees, -bound, bound)
	}
}
