// Command dns measures what a question costs a DNS server: CPU time of its
// process (user and system, from /proc) a question, Catchment's server beside
// gdnsd, Knot and CoreDNS, in one run, the server on one core and the client
// (dnsperf) on another. One set is static names, the other one name whose
// address depends on the client subnet, by a map of 20,000 networks.
//
// It decides the order: in each round each set goes to each server in turn, so
// that what else the machine does hits all, and takes medians over the rounds.
// It owns the servers it starts in a network namespace of its own and judges
// ratios only; a missed goal is a line, not a failure. It also looks at memory
// with 1,000,000 networks, at questions lost while 500,000 are loaded, and
// whether gdnsd and ours choose the same.
package main
