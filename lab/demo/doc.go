// Package demo is `make demo`: a world of three POPs, two transit routers and
// a client in namespaces of this machine, and a story in five steps that is
// told on the terminal while it happens.
//
// It decides what is done to the world and what counts as observed; it owns
// the world until Run returns. What it shows is measured from outside the
// daemons: the routes of a router's kernel, the client's requests, and each
// POP's own journal. It changes nothing on the host but a temporary folder.
package demo
