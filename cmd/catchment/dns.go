package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) dnsCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:   "dns",
		Short: "The DNS server: its zones, and the POPs that names lead to",
		Long: `What the DNS server answers (dns in the configuration): its zones, the names
whose answers are chosen, and how the choice sees each POP. What one client is
answered, and why, is told by catchment explain dns.`,
		Args:    cobra.NoArgs,
		Example: "  catchment dns\n  catchment dns --watch\n  catchment explain dns www.example.net --client 203.0.113.9",
	}, whole((*api.Client).DNSStatus, writeDNS))
}

func (a *app) explainDNSCommand() *cobra.Command {
	var q api.DNSQuestion
	cmd := a.showing(&cobra.Command{
		Use:   "dns NAME",
		Short: "Which POP a client is sent to by the DNS server, step by step",
		Args:  cobra.ExactArgs(1),
		Example: `  catchment explain dns www.example.net --client 203.0.113.9
  catchment explain dns www.example.net --resolver 2001:db8::53 --v6   # a resolver that tells no client`,
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		q.Name = args[0]
		e, err := c.DNSExplain(ctx, q)
		return view{e, func(w io.Writer) { writeDNSExplanation(w, e) }}, err
	})
	f := cmd.Flags()
	f.StringVar(&q.Client, "client", "", "address or network of the client, as its resolver tells it (an address: its /24 or /56)")
	f.StringVar(&q.Resolver, "resolver", "", "address of the resolver; not given: the client's")
	f.StringVar(&q.Local, "local", "", "the address that is asked, where it is one of dns.unicast")
	f.BoolVar(&q.V6, "v6", false, "AAAA rather than A")
	return cmd
}

func writeDNS(w io.Writer, s api.DNSStatus) {
	say(w, "", fmt.Sprintf("%s answers on %s", s.POP, strings.Join(s.Listen, ", ")))
	if s.Error != "" {
		say(w, "", paint(w, bad, "files that have changed are not in force: "+s.Error))
	}
	t := newTable("ZONE", "SERIAL", "NAMES", "SIGNED")
	for _, z := range s.Zones {
		signed := "no"
		if z.Signed {
			signed = "yes"
		}
		t.row(z.Name, fmt.Sprint(z.Serial), fmt.Sprint(z.Names), signed)
	}
	fmt.Fprintln(w)
	t.write(w)
	if len(s.Names) == 0 {
		return
	}
	fmt.Fprintln(w)
	say(w, "", fmt.Sprintf("chosen for each client: %s; by %d ranges of networks", strings.Join(s.Names, ", "), s.Networks))
	fmt.Fprintln(w)
	t = newTable("POP", "HEALTH", "STANCE", "FREE", "LENDS", "CACHES", "NAME")
	for _, p := range s.POPs {
		free := "-"
		if p.Headroom != nil {
			free = fmt.Sprintf("%.0f %%", 100**p.Headroom)
		}
		lends := []string{}
		for _, x := range p.Lends {
			lends = append(lends, fmt.Sprintf("%.3g %% to %s", 100*x.Share, x.To))
		}
		stance := p.Stance.String()
		t.row(string(p.POP), paint(w, styles[p.Health.String()], p.Health.String()), paint(w, styles[stance], stance), free, cmp.Or(strings.Join(lends, ", "), "-"), cachesUp(&p), p.Name)
	}
	t.write(w)
}

func writeDNSExplanation(w io.Writer, e api.DNSExplanation) {
	t := facts()
	for _, s := range e.Steps {
		t.row(s.Name, s.Text)
	}
	t.write(w)
}

// cachesUp tells how many caches of a POP are answered.
func cachesUp(p *api.DNSPOP) string {
	if p.Down == 0 {
		return fmt.Sprint(p.Caches)
	}
	return fmt.Sprintf("%d of %d", p.Caches-p.Down, p.Caches)
}
