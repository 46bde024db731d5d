package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Difference is something that is not as in the stock client.
type Difference struct{ What, How, Why string }

// Differences lists all that is known. "Left out" answers with an error that
// says so, and exit status 1.
var Differences = []Difference{
	{"rib add, rib del with -a evpn, flowspec, mup, ls, rtc, opaque, encap, vpls", "left out",
		"Catchment announces unicast routes; VPN and labelled ones can be added, all families can be shown"},
	{"the word pmsi in rib add", "left out", "it belongs to EVPN"},
	{"--pprof-port", "left out", "a client that lives for milliseconds has no use for a profiler's HTTP server"},
	{"-c, --bash-cmpl-file, --version", "only under the name gobgp", "catchment completion, catchment version"},
	{"default target", "unix://" + DefaultSocket + " (or CATCHMENT_GOBGP_SOCKET) where that is, else 127.0.0.1:50051",
		"so that no flag is needed beside catchmentd; -u, -p, --target, --tls mean what they always did"},
	{"help texts (--help, or a word that needs another)", "ours, unless the name is gobgp", "the stock client's describe nothing"},
	{"completion, help", "need no daemon", "the stock client connects first and fails without one"},
	{"--force, --why TEXT with global rib add and del", "ours",
		"a prefix of a service is the controller's, and refused. With --force catchmentd takes the change as the operator's intent: journaled " +
			"with who and why, shown by status and explain, kept over restarts, over the guards against withdrawing, until " +
			"catchment release --slice PREFIX. add announces with the attributes given in place of the service's (fleet.site, and what single " +
			"neighbors are withheld, stay); del ends such an add, or else withdraws. The origin is igp, the AS path our own AS only; " +
			"what cannot be sent is refused"},
	{"stderr after a failed command", "up to three lines more, unless the name is gobgp",
		"which address was tried and how to start the daemon; which argument is no prefix; why a change is refused"},
	{"rpki server, bmp when the daemon refuses", "the reason, on stderr", "the stock client says nothing; the exit status stays 0"},
	{"mrt inject", "waits for the daemon's answer", "the stock client may lose the last routes and never hears of a refusal"},
	{"mrt inject of a dump with GEO_PEER_TABLE, cut records, or attributes that cannot be sent on",
		"skips the first two, an error for the third", "the stock client crashes"},
	{"aggregator or lb with too few values, mup without a colon, a neighbor by interface without -a, policy with null parts",
		"an error, or what was meant", "the stock client crashes"},
	{"error texts with a % in the argument", "printed as they are", "the stock client takes them for format strings"},
	{"several mistakes in one command line", "the first is reported", "the stock client picks one at random"},
	{"Ctrl-C, SIGTERM", "exit status 130, 143", "the stock client is killed by the signal, which shells show so"},
}

// wrap breaks s into lines of at most 80 columns, each after the margin.
func wrap(margin, s string) string {
	var b strings.Builder
	line := margin
	for _, w := range strings.Fields(s) {
		if len(line)+1+len(w) > 80 && line != margin {
			b.WriteString(line + "\n")
			line = margin
		}
		if line != margin {
			line += " "
		}
		line += w
	}
	return b.String() + line + "\n"
}

// differencesTopic is the name of the help topic.
const differencesTopic = "gobgp-differences"

// DifferencesHelp is a help topic: a command that only has a text.
func DifferencesHelp() *cobra.Command {
	var b strings.Builder
	b.WriteString(wrap("", "The commands "+strings.Join(sortedWords(), ", ")+" take the words, flags and abbreviations of gobgp v"+
		stockVersion()+" and print what it prints; errors go to stdout, with exit status 1, and a command line that does not parse "+
		"ends with 0, as there. Under the name gobgp (ln -s catchment gobgp) the whole program is that client. What catchmentd "+
		"refuses (policies and routes of its own, VRFs, stopping BGP) it refuses to every client.") + "\nNot the same:\n")
	for _, d := range Differences {
		fmt.Fprintf(&b, "\n%s%s", wrap("  ", d.What), wrap("      ", d.How+": "+d.Why))
	}
	return &cobra.Command{Use: differencesTopic, Short: "How the gobgp commands differ from the stock client's", Long: b.String()}
}
