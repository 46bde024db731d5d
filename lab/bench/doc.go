// Package bench measures how long a router goes on sending traffic to a
// service that has died, with Catchment and with what operators use today, in
// the same lab on the same machine in one run.
//
// It decides what is measured and how: the POP, one FRR and one BIRD router in
// namespaces (netlab), the service killed with SIGKILL at phases spread evenly
// over the check interval, the time until the route is gone from the kernel of
// each router by netlink, and back. It owns the lab and all processes it
// starts. It never judges a run by its speed: a missed goal is a line of the
// report, only what could not be measured is an error.
//
// # Where the times come from
//
//	kill      the harness's clock just before kill(2), in its own process
//	probe     the SYN of a check on the POP's loopback, AF_PACKET
//	verdict   the time of catchmentd's log record "health: verdict"
//	update    the BGP UPDATE leaving the POP, AF_PACKET with the kernel's time
//	gone      the RTM_DELROUTE of the router's kernel, as read from netlink
//
// All are the clock of one machine.
//
// # Equal terms
//
// Every tool asks the same URL, has the same two eBGP sessions and no
// hold-down, damping or jitter. "polling" is Catchment without kernel
// assistance; where it says "counted", it has the interval, fast interval,
// rise and fall of the peer it is compared with and takes a refused connection
// for one fail of several, as the peers do, not for a verdict. ExaBGP runs with --withdraw-on-down: without it, its
// default, a dead service only gets a higher MED.
package bench
