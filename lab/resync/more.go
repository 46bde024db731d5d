package resync

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

func (w *lab) tls(ctx context.Context) (string, error) {
	secure := []string{"https://" + vip4 + "/f", "https://[" + vip6 + "]/f"}
	h2 := curlLoop
	h2.name, h2.script = "curl --http2", strings.Replace(h2.script, "$CURL", "--http2", 1)
	h1 := curlLoop
	h1.name, h1.script = "curl --http1.1", strings.Replace(h1.script, "$CURL", "--http1.1", 1)
	programs := []program{catchmentGet, h1, h2}
	version, err := w.sh(ctx, "client", "curl -s --cacert /etc/keys/ca.pem -o /dev/null -r 0-9 -w '%{http_version}' "+secure[0])
	if err != nil || version != "2" {
		return "", fmt.Errorf("the version of HTTP is %q, %w", version, err)
	}
	drained, err := w.survive(ctx, programs, secure, func(ctx context.Context) error {
		_, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("drain: %w", err)
	}
	if err := w.restore(ctx); err != nil {
		return "", err
	}
	died, err := w.survive(ctx, programs, secure, func(ctx context.Context) error { return w.Crash("lon") })
	return "drain: " + drained + "\ndeath: " + died, err
}

// timed has programs download while LON dies, and says how long after the route
// each first got on again.
func (w *lab) timed(ctx context.Context, programs []program) (string, error) {
	all, err := w.begin(ctx, programs, plain[0])
	if err != nil {
		return "", err
	}
	if err := w.known(ctx, len(all)); err != nil {
		return "", err
	}
	moved, err := w.moved(ctx)
	if err != nil {
		return "", err
	}
	died := time.Now()
	if err := w.Crash("lon"); err != nil {
		return "", err
	}
	route, err := moved(ctx)
	if err != nil {
		return "", err
	}
	after := map[*download]time.Duration{}
	had := map[*download]string{}
	for _, d := range all {
		if had[d], err = w.sh(ctx, "client", w.has(d)); err != nil {
			return "", err
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(route) < 4*time.Second && len(after) < len(all) {
		for _, d := range all {
			now, err := w.sh(ctx, "client", w.has(d))
			if err == nil && after[d] == 0 && now != had[d] {
				after[d] = time.Since(route)
			}
		}
		<-tick.C
	}
	var parts []string
	for _, d := range all {
		word := "hangs after 4 s"
		if after[d] > 0 {
			word = fmt.Sprintf("goes on %v after the route", after[d].Round(10*time.Millisecond))
		}
		parts = append(parts, d.String()+" "+word)
	}
	said, err := w.finish(ctx, all, "f")
	return fmt.Sprintf("the route moves %v after the death; ", ms(route.Sub(died))) + strings.Join(parts, ", ") + "; " + said, err
}

// nat hides the client as home routers do, which lets nothing through that its
// table of connections does not take for part of one.
func (w *lab) nat(ctx context.Context) (string, error) {
	if _, err := w.sh(ctx, "home", `nft 'table ip home {
	chain s { type nat hook postrouting priority 100; oifname eth1 masquerade; };
	chain f { type filter hook forward priority 0; ct state invalid drop; iifname eth1 ct state new drop; };
}'`); err != nil {
		return "", err
	}
	seen, err := w.timed(ctx, []program{catchmentGet, curlLoop})
	if err == nil && strings.Contains(seen, "hangs") {
		err = fmt.Errorf("a client that is woken through its NAT hears nothing: %s", seen)
	}
	return seen, err
}

// firewall hides the client as nat does, and lets data, ends and the first answer
// to a SYN through, and nothing that would be a probe.
func (w *lab) firewall(ctx context.Context) (string, error) {
	if _, err := w.sh(ctx, "home", `nft 'table ip translate { chain s { type nat hook postrouting priority 100; oifname eth1 masquerade; }; }
table inet home {
	chain f { type filter hook forward priority 0;
		iifname eth2 tcp flags & (syn|ack) == ack ct mark set 1;
		iifname eth1 tcp flags & (syn|ack) == syn|ack ct mark 1 counter drop;
		iifname eth1 ip length <= 60 tcp flags & (syn|rst|fin) == 0 counter drop; };
}'`); err != nil {
		return "", err
	}
	seen, err := w.timed(ctx, []program{catchmentGet, curlLoop})
	if err != nil {
		return "", err
	}
	dropped, err := w.counters(ctx, "home", "home")
	if err == nil && slices.Max(dropped) == 0 {
		err = errors.New("no probe has come")
	}
	seen += fmt.Sprintf("; %d SYN-ACK and %d bare ACK dropped", dropped[0], dropped[1])
	if err == nil && strings.Contains(seen, "catchment get hangs") {
		err = fmt.Errorf("catchment get does not help itself: %s", seen)
	}
	return seen, err
}

// everybody: all kinds of clients that are installed here; those that take long
// to begin do so first.
func (w *lab) everybody(ctx context.Context) (string, error) {
	slow, quick, missing := []program{}, []program{catchmentGet, curlLoop, wget}, ""
	for _, c := range []struct {
		tool string
		program
		list *[]program
	}{{"chromium", chromium, &slow}, {"apt-get", apt, &slow}, {"aria2c", aria2, &quick}} {
		if _, err := exec.LookPath(c.tool); err != nil {
			missing += "; " + c.name + " is not installed: left out"
			continue
		}
		*c.list = append(*c.list, c.program)
	}
	if err := w.repository(ctx); err != nil {
		return "", err
	}
	url := "http://" + vip4 + "/film"
	var seen []string
	for _, e := range []struct {
		name   string
		happen func(context.Context) error
	}{
		{"drain", func(ctx context.Context) error {
			_, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'")
			return err
		}},
		{"death", func(context.Context) error { return w.Crash("lon") }},
	} {
		all, err := w.begin(ctx, nil)
		for _, some := range append(slices.Collect(slices.Chunk(slow, 1)), quick) {
			if err == nil {
				all, err = w.add(ctx, all, some, url)
			}
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", e.name, err)
		}
		said, err := w.through(ctx, all, "film", e.happen)
		if err == nil && e.name == "drain" {
			err = w.restore(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", e.name, err)
		}
		seen = append(seen, e.name+": "+said+missing)
	}
	return strings.Join(seen, "\n"), nil
}

// repository makes the origin one of Debian packages with a larger object as
// one: what apt fetches is the same bytes.
func (w *lab) repository(ctx context.Context) error {
	if err := w.file(ctx, "film", 3*storySize); err != nil {
		return err
	}
	if _, err := w.sh(ctx, "origin", `set -e; cd /run/www; mkdir -p repo; cp film repo/film_1_all.deb; cd repo
sum() { sha256sum $1 | cut -d' ' -f1; }
printf 'Package: film\nVersion: 1\nArchitecture: all\nMaintainer: lab\nFilename: ./film_1_all.deb\nSize: %s\nSHA256: %s\nDescription: a film\n' $(wc -c <film_1_all.deb) $(sum film_1_all.deb) >Packages
printf 'Suite: lab\nDate: %s\nSHA256:\n %s %s Packages\n' "$(LC_ALL=C date -Ru)" $(sum Packages) $(wc -c <Packages) >Release`); err != nil {
		return err
	}
	return w.warm(ctx, "repo/film_1_all.deb")
}
