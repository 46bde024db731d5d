// Command cache measures what a hit costs a cache: CPU time of the server's
// processes (user and system, from /proc) a request, Catchment's beside nginx
// with proxy_cache and Varnish, in one run, the server on one core and the
// client (wrk, h2load) on another.
//
// It decides the order: in each round each load goes to each cache in turn, so
// that what else the machine does hits all, and takes medians over the rounds.
// It owns the caches it starts in a network namespace of its own and judges
// ratios only; a missed goal is a line, not a failure. While it runs nothing
// reaches the origin: a load that was not served from the store is an error.
package main
