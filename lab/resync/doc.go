// Package resync is the lab of downloads that go on while routes move: two POPs
// with the same addresses behind a router of FRR, an origin, and clients 40 ms
// away behind a router of their own. A POP is drained, loses the route, dies
// with its host, flaps, is asked packet by packet in turn; what clients of all
// kinds make of it is compared byte by byte with the origin. The same is done
// with BIRD and nginx in the POPs, for what there is without Catchment.
//
// Tell plays the stories, Bench a thousand downloads at once with a goal a
// line. It decides nothing and changes nothing of Catchment; what happens to
// the world are links, routes and processes of network namespaces.
package resync
