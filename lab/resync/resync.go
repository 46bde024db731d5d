package resync

import "io"

// Options of Tell and Bench.
type Options struct {
	Topology string    // resync.clab.yml
	Bin      string    // folder with catchmentd and catchment
	Only     string    // names of stories, with commas; "": all
	Out      io.Writer // tables and goals
	Progress io.Writer // a line as it happens
}
