// Package fleet is the lab of a fleet that shares load: POPs with a control
// core, routers of FRR, and crowds of clients with real requests. One POP is
// overloaded and sheds in steps to those that reserved room, takes its slices
// back, and the control core is hurt in every way meanwhile. It prints what
// each second looked like from the clients, a table of the acts, and a goal a
// line.
//
// It decides nothing and changes nothing of Catchment: it does what operators
// and accidents do, and judges by what clients, routers, journals and the
// core's history say.
package fleet
