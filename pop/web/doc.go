// Package web serves the page: for a browser, what this POP and the others
// announce and why, live.
//
// It owns one listener on loopback and the files in page/, which are served
// as they are: HTML, CSS and JavaScript modules, no build step, nothing from
// elsewhere. All data comes from the control API (pop/api), which it is handed
// as an http.Handler and puts under /v1/. It decides nothing and holds no
// state of the POP; what may be asked for by whom is the API's to judge.
//
// What it keeps out:
//
//   - other sites: a Host that is no address and not localhost is refused
//     (DNS rebinding), changes from another origin are refused
//     (http.CrossOriginProtection), and no answer carries a CORS header;
//   - scripts and styles that are not ours: the Content-Security-Policy allows
//     files of this origin and nothing inline;
//   - changes, unless web.change says otherwise: there is no password here, so
//     whoever reaches the listener has the same rights, and every user of the
//     host does;
//   - load: of connections, and of answers that are being made, there are few
//     at a time, so that no reader takes the daemon the time for its checks.
//
// Beyond loopback the page is served by the API's own mutual-TLS listener,
// which takes the files from Assets.
//
// page/land.json is the outline of the continents from Natural Earth (1:50m,
// public domain, naturalearthdata.com), simplified to a quarter of a degree:
// longitude and latitude in turn, in tenths of a degree.
package web
