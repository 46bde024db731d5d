// Package matrix is what a POP knows of how load moves: for each service a
// response matrix (shed.Matrix) that says how much of a POP's load leaves at
// each rung, and to which POPs, with uncertainty and age.
//
// It decides what that knowledge is made of, and in which order: that load
// spreads by size where nothing better is known, receivers that the operator
// names, a file of measured catchments, and above all events that were seen to
// happen. It owns the file of those events in the state directory; the matrix
// is made anew from all of it whenever one part changes, so that a configuration
// that is corrected corrects the matrix too. It plans nothing and moves nothing.
//
// # Files of catchments
//
// Text of columns with one header line; the separator is a comma, a semicolon
// or a tab, whichever the header has. Lines that begin with # are comments;
// "# measured: 2026-11-20T10:00:00Z" says when (otherwise the time of the file
// counts). There are two forms.
//
// By network, the header's first word is network: which POP each client network
// reached under each configuration of the announcements. The weight is its part
// of the load (bytes, requests, or 1). An empty cell or - is no answer.
//
//	network,weight,normal,LON=withdraw,LON=backup,FRA=withdraw
//	198.51.100.0/24,12.5,LON,FRA,LON,LON
//	2001:db8:7::/48,3,FRA,FRA,FRA,AMS
//
// By count, the header's first word is configuration (or bgp): how many clients,
// or how much load, each POP had under each configuration. The column unknown is
// left out. This is what mapping tools such as Verfploeter's are summed up to;
// the files of SIDN's BGP anycast tuner are read as they are.
//
//	configuration;LON;FRA;AMS;unknown
//	normal;420;310;270;90
//	LON=withdraw;0;560;440;95
//
// A configuration is normal (or baseline), or what differs from it: POP=RUNG,
// several with + between them. RUNG is withdraw, the name of a rung of a
// ladder, or prepend:N for the rung that prepends N times more than the normal
// announcement. The tuner's own words mean the same: 0xLON is LON=withdraw,
// 2xLON is LON=prepend:2, and -1xLON is every other POP at prepend:1.
//
// What a ladder has no rung for is not used with it. A configuration of one
// POP says what its rung does; one of several says what they do together.
package matrix
