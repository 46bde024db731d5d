package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flags are those of all commands, with the stock client's names.
type flags struct {
	host               string
	port               int
	target             string
	json, quiet, debug bool
	completion         bool
	completionFile     string
	pprofPort          int

	tls                       bool
	certFile, keyFile, caFile string

	family    string // -a
	batchSize uint64
	reason    string
	transport string

	forcible bool   // ours: the command has --force
	force    bool   // ours
	why      string // ours
}

// Takes says whether a command line is in the stock client's words: its first
// word is one, or begins exactly one and is not one of ours. Flags before it
// are passed over.
func Takes(args []string, ours func(word string) bool, flags *pflag.FlagSet) bool {
	word := firstWord(args, flags)
	if word == "" || ours(word) {
		return false
	}
	if _, ok := words[word]; ok {
		return true
	}
	n := 0
	for w := range words {
		if strings.HasPrefix(w, word) {
			n++
		}
	}
	return n == 1
}

// firstWord passes over flags and their values.
func firstWord(args []string, others *pflag.FlagSet) string {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	addFlags(set, (&client{}).root())
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, long := strings.CutPrefix(a, "--")
		switch {
		case !strings.HasPrefix(a, "-"):
			return a
		case a == "--":
			return ""
		case strings.Contains(a, "="):
		case long:
			f := set.Lookup(name)
			if f == nil {
				f = others.Lookup(name)
			}
			if f != nil && f.NoOptDefVal == "" {
				i++
			}
		case len(a) == 2:
			if f := set.ShorthandLookup(a[1:]); f != nil && f.NoOptDefVal == "" {
				i++
			}
		}
	}
	return ""
}

// addFlags collects the flags of cmd and all below; they may stand before the
// words.
func addFlags(set *pflag.FlagSet, cmd *cobra.Command) {
	set.AddFlagSet(cmd.PersistentFlags())
	for _, sub := range cmd.Commands() {
		addFlags(set, sub)
	}
}

// Commands returns the tree's first words with descriptions, to be shown and
// completed by another program's root. They do not run; see Run.
func Commands(name string) []*cobra.Command {
	c := &client{name: name}
	root := c.root()
	describe(root)
	all := slices.Clone(root.Commands())
	for _, cmd := range all {
		root.RemoveCommand(cmd)
		cmd.Run = func(*cobra.Command, []string) {} // all count as runnable
		cmd.PersistentFlags().AddFlagSet(root.PersistentFlags())
	}
	slices.SortFunc(all, func(a, b *cobra.Command) int { return cmp.Compare(a.Name(), b.Name()) })
	return all
}

func (c *client) root() *cobra.Command {
	root := &cobra.Command{
		Use:           c.name,
		SilenceErrors: true, SilenceUsage: true,
		Run: func(cmd *cobra.Command, _ []string) {
			if c.flags.completion {
				c.failed = cmd.GenBashCompletionFile(c.flags.completionFile)
				return
			}
			cmd.HelpFunc()(cmd, nil)
		},
	}
	c.helpTo(root, func(cmd *cobra.Command) {
		if c.name != StockName {
			describe(cmd.Root())
		}
	})
	c.commonFlags(root)
	root.AddCommand(c.globalCommand(), c.neighborCommand(), c.vrfCommand(), c.policyCommand(), c.monitorCommand(),
		c.mrtCommand(), c.rpkiCommand(), c.bmpCommand(), c.logLevelCommand())
	c.connectFirst(root)
	return root
}

// helpTo prepares and prints help on our output. That is not set for good:
// cobra would print mistakes there, too.
func (c *client) helpTo(root *cobra.Command, prepare func(*cobra.Command)) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		prepare(cmd)
		root.SetOut(c.out)
		defer root.SetOut(nil)
		help(cmd, args)
	})
}

// connectFirst makes each command connect before it looks at its arguments,
// as the stock client does: a daemon that does not answer is said first.
func (c *client) connectFirst(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.connectFirst(sub)
	}
	run := cmd.Run
	if run == nil {
		return
	}
	cmd.Run = func(cmd *cobra.Command, args []string) {
		if c.flags.pprofPort > 0 {
			c.failed = leftOut("--pprof-port")
			return
		}
		if c.api == nil && !c.flags.completion {
			if c.failed = c.connect(); c.failed != nil {
				return
			}
		}
		run(cmd, args)
	}
}

func (c *client) commonFlags(root *cobra.Command) {
	f, set := &c.flags, root.PersistentFlags()
	set.StringVarP(&f.host, "host", "u", "127.0.0.1", "host")
	set.IntVarP(&f.port, "port", "p", 50051, "port")
	set.StringVarP(&f.target, "target", "", "", "alternative to host/port when using UDS. Ex: unix:///var/run/go-bgp.sock if running gobgpd with a UDS socket.")
	set.BoolVarP(&f.json, "json", "j", false, "use json format to output format")
	set.BoolVarP(&f.debug, "debug", "d", false, "use debug")
	set.BoolVarP(&f.quiet, "quiet", "q", false, "use quiet")
	set.BoolVarP(&f.completion, "gen-cmpl", "c", false, "generate completion file")
	set.StringVarP(&f.completionFile, "bash-cmpl-file", "", "gobgp-completion.bash", "bash cmpl filename")
	set.IntVarP(&f.pprofPort, "pprof-port", "r", 0, "pprof port")
	set.BoolVarP(&f.tls, "tls", "", false, "connection uses TLS if true, else plain TCP")
	set.StringVarP(&f.certFile, "tls-client-cert-file", "", "", "Optional file path to TLS client certificate")
	set.StringVarP(&f.keyFile, "tls-client-key-file", "", "", "Optional file path to TLS client key")
	set.StringVarP(&f.caFile, "tls-ca-file", "", "", "The file containing the CA root cert file")
	c.targetGiven = func() bool { return set.Changed("host") || set.Changed("port") || set.Changed("target") || f.tls }
}

// familyFlag adds -a to cmd and all below.
func (c *client) familyFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&c.flags.family, "address-family", "a", "", "address family")
}
