// Package cli is a client of GoBGP's gRPC API that takes the words of the
// stock gobgp command, v3.37.0: the same subcommands, flags, output and exit
// statuses, so that people and scripts that drive gobgpd can drive a
// catchmentd without learning anything.
//
// It owns the command tree, the connection and all text that comes out. It
// decides nothing about routes: whether a change is allowed is the daemon's
// to say. It never falls back from one daemon to another: the target is
// settled before the first call.
//
// What is the same is held to the stock client byte for byte by this
// package's tests; what is not is listed, with the reason, in Differences.
// Three rules follow from that and look odd on their own:
//
//   - Errors are printed on stdout, and end with exit status 1. What we add
//     (which address was tried, what to do) goes to stderr.
//   - A command line that does not parse is explained on stderr and ends with
//     exit status 0.
//   - Words may be shortened as long as they are clear: "n" is "neighbor".
//
// Under the name gobgp (a symbolic link) the program's name in usage texts is
// gobgp and nothing at all is different; under its own name the help texts
// are ours.
package cli
