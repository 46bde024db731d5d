package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// words are the first words of the tree and what they are about.
var words = map[string]string{
	"global":    "The speaker itself, its table, and policy on all neighbors",
	"neighbor":  "Neighbors: state, routes in and out, resets, changes",
	"vrf":       "Virtual routing tables",
	"policy":    "Policies, their statements and the sets they refer to",
	"monitor":   "Routes and sessions as they change",
	"mrt":       "Routes from an MRT dump",
	"rpki":      "RPKI caches and what they say",
	"bmp":       "BMP stations",
	"log-level": "How much the speaker logs",
}

// helpText is what the help of a command says; the stock client's says nothing.
type helpText struct{ short, long, example string }

var helpTexts = map[string]helpText{
	"global": {long: "The AS and router ID of the speaker; with further words its table and its policy.",
		example: "global\nglobal rib\nglobal policy export"},
	"global rib": {short: "Show the table", long: `Show the table: all, the best match of an address, or a prefix with all that are
longer (more specific) or shorter.

*> is the best path, S a stale one; N, V and I are what RPKI says: not found,
valid, invalid.`,
		example: "global rib\nglobal rib -a ipv6\nglobal rib 192.0.2.1\nglobal rib 192.0.2.0/23 longer-prefixes\nglobal rib summary -a ipv6\nglobal rib -j | jq 'keys'"},
	"global rib add": {short: "Add a route", long: `Add a route. Where catchmentd runs, only prefixes of its services ever leave, and
those are its own: it refuses them, unless --force is said. Then the route is
announced with the attributes given, whatever health says, as an intent of the
operator: journaled, shown by explain, kept over restarts, until it is deleted
with --force or ended by catchment release --slice PREFIX.`,
		example: `global rib add 203.0.113.0/24 med 10 community 64500:100,no-export
global rib add -a ipv6 2001:db8:1::/48 nexthop 2001:db8::1 aspath "64500 64500"
global rib add 192.0.2.0/24 med 50 --force --why "ticket 4711"`},
	"global rib del": {short: "Delete a route", long: `Delete a route. Of a prefix of a service only with --force: it ends what add --force
began, and the controller decides again; where there is no such route it
withdraws the prefix, over the guards, until catchment release --slice PREFIX.`,
		example: "global rib del 203.0.113.0/24\nglobal rib del 192.0.2.0/24 --force --why \"ticket 4711\""},
	"global rib del all": {short: "Delete all routes that were added"},
	"global rib summary": {short: "Count routes"},
	"global policy":      {short: "Policies applied to all neighbors", example: "global policy\nglobal policy import add default-only default reject"},
	"global del":         {short: "Stop the speaker (del all)"},
	"neighbor": {long: `Neighbors in a table; all about one; and with a further word its routes and what can be
done to it:

  ADDRESS [adj-in|accepted|rejected|adj-out|local] [PREFIX [longer-prefixes|shorter-prefixes]]
  ADDRESS {adj-in|adj-out|local} summary
  ADDRESS adj-in PREFIX validation
  {ADDRESS|all} {reset|softreset|softresetin|softresetout} [--reason TEXT]
  ADDRESS {enable|disable}
  ADDRESS policy [{import|export} [{add|del|set} POLICY... [default {accept|reject}]]]`,
		example: `neighbor
neighbor 10.0.0.2
neighbor 10.0.0.2 adj-out -a ipv6
neighbor 10.0.0.2 softresetin
neighbor 10.0.0.2 reset --reason "new line card"
neighbor add 10.0.0.9 as 64509 family ipv4,ipv6`},
	"neighbor add":    {short: "Add a neighbor", example: "neighbor add 2001:db8::9 as 64509 family ipv6"},
	"neighbor del":    {short: "Delete a neighbor", example: "neighbor del 10.0.0.9"},
	"neighbor update": {short: "Change a neighbor", example: "neighbor update 10.0.0.9 as 64510"},
	"policy": {long: "Policies with their statements; one, if it is named. See the words below for what they are made of.",
		example: `policy
policy prefix add ours 192.0.2.0/24 24..32
policy statement add st1
policy statement st1 add condition prefix ours any
policy statement st1 add action med set 10
policy add p1 st1`},
	"policy prefix":          {short: "Sets of prefixes", example: "policy prefix\npolicy prefix add ours 192.0.2.0/24 24..32\npolicy prefix del ours"},
	"policy neighbor":        {short: "Sets of neighbors", example: "policy neighbor add transits 10.0.0.2 10.0.1.2"},
	"policy as-path":         {short: "Sets of AS path expressions", example: "policy as-path add from64501 _64501$"},
	"policy community":       {short: "Sets of communities", example: "policy community add learned 64500:1[0-9]*"},
	"policy ext-community":   {short: "Sets of extended communities", example: "policy ext-community add customers rt:64500:1"},
	"policy large-community": {short: "Sets of large communities", example: "policy large-community add sites 64500:1:.*"},
	"policy statement": {short: "Statements: conditions and actions", example: `policy statement st1
policy statement st1 add condition as-path-length 3 ge
policy statement st1 add action as-prepend 64500 3
policy statement st1 del condition prefix ours`},
	"policy add": {short: "Add a policy, or statements to it"},
	"policy del": {short: "Delete a policy, or statements from it"},
	"vrf": {long: "VRFs in a table; NAME rib [summary|add|del], NAME neighbor. catchmentd has none.",
		example: "vrf\nvrf add red rd 64500:1 rt both 64500:1\nvrf red rib"},
	"vrf add":         {short: "Add a VRF"},
	"vrf del":         {short: "Delete a VRF"},
	"monitor":         {example: "monitor global rib --current\nmonitor neighbor 10.0.0.2\nmonitor adj-in -j"},
	"monitor global":  {short: "Best routes"},
	"monitor adj-in":  {short: "Routes as neighbors send them"},
	"mrt":             {example: "mrt inject global rib.20261121.0000.gz 1000\nmrt inject global rib.bz2 --no-ipv6 --nexthop 10.0.0.1"},
	"mrt inject":      {short: "Add the routes of a dump"},
	"rpki":            {example: "rpki server\nrpki server 10.0.0.9 add\nrpki table -a ipv6"},
	"rpki server":     {short: "Caches: show, add, delete, enable, disable, reset, softreset"},
	"rpki table":      {short: "What the caches say"},
	"bmp":             {example: "bmp\nbmp add 10.0.0.9:11019 post"},
	"bmp add":         {short: "Add a station"},
	"bmp del":         {short: "Delete a station"},
	"log-level":       {example: "log-level debug"},
	"log-level debug": {short: "Everything that is said about sessions and routes"},
}

// describe gives the commands below root their descriptions.
func describe(root *cobra.Command) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), root.CommandPath()+" ")
		if h, ok := helpTexts[path]; ok {
			cmd.Short, cmd.Long = h.short, h.long
			var l []string
			for _, e := range strings.Split(h.example, "\n") {
				if e != "" {
					l = append(l, "  "+root.CommandPath()+" "+e)
				}
			}
			cmd.Example = strings.Join(l, "\n")
		}
		cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = false })
		if s, ok := words[path]; ok {
			cmd.Short = s
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func sortedWords() []string { return slices.Sorted(maps.Keys(words)) }
