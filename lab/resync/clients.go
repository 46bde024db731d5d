package resync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/pop/api"
)

// storySize is how long the object of stories is. Until what a story is about
// has happened the line carries no more than slowly, so that no download is over
// before that, however long a busy machine takes.
const (
	storySize = 6_000_000
	slowly    = "4mbit"
)

// begun is how much of it each client has before anything happens.
const begun = 100_000

// throttle makes the line towards the client slow; release takes that back.
func (w *lab) throttle(ctx context.Context) error {
	_, err := w.sh(ctx, "r", "tc qdisc replace dev eth3 root tbf rate "+slowly+" burst 32k latency 200ms")
	return err
}

func (w *lab) release(ctx context.Context) error {
	_, err := w.sh(ctx, "r", "tc qdisc del dev eth3 root 2>/dev/null; true")
	return err
}

// program is a client as users run it. In its script $URL is what to download,
// to the file $OUT, and $PART where it is before it is whole.
type program struct {
	name, script, part string
}

var (
	catchmentGet = program{"catchment get", `catchment get -j -o $OUT "$URL" >$OUT.json 2>$OUT.says`, "$OUT.part"}
	inParts      = program{"catchment get --parallel 3", `catchment get -j --parallel 3 -o $OUT "$URL" >$OUT.json 2>$OUT.says`, "$OUT.part"}
	// A script's loop: curl itself begins anew on --retry (7.88), and ends
	// without.
	curlLoop = program{"curl -C -", `for i in 1 2 3 4 5 6 7 8 9; do curl -sSf -C - $CURL -o $OUT "$URL" && exit 0; sleep 0.2; done; exit 1`, "$OUT"}
	wget     = program{"wget", `wget -q --ca-certificate=/etc/keys/ca.pem -O $OUT "$URL"`, "$OUT"}
	aria2    = program{"aria2", `aria2c -q --ca-certificate=/etc/keys/ca.pem --file-allocation=none -d / -o ${OUT#/} "$URL"`, "$OUT"}
	chromium = program{"Chromium", `lab-chromium --url "$URL" --out $OUT`, "$OUT.dir/*"}
	apt      = program{"apt", `mkdir -p $OUT.apt/lists/partial $OUT.apt/archives/partial; : >$OUT.apt/status
a() { apt-get -qq -o APT::Sandbox::User=root -o Dir::State=$OUT.apt -o Dir::State::status=$OUT.apt/status -o Dir::Cache=$OUT.apt -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::SourceList=$OUT.apt/sources.list "$@"; }
echo "deb [trusted=yes check-valid-until=no] ${URL%/*}/repo ./" >$OUT.apt/sources.list
a update && a install -y --download-only film && cp $OUT.apt/archives/film_*.deb $OUT`, "$OUT.apt/archives/partial/film*"}
)

// download is a program at work.
type download struct {
	program
	url, out string
	p        *netlab.Process
	errs     strings.Builder
}

// what it is called in what is seen.
func (d *download) String() string {
	switch {
	case strings.Contains(d.url, "["):
		return d.name + " (IPv6)"
	case strings.HasPrefix(d.url, "https"):
		return d.name + " (TLS)"
	}
	return d.name
}

// begin starts programs, each with each URL, and waits until all have some
// bytes of the object. The line is slow from then on, until finish.
func (w *lab) begin(ctx context.Context, programs []program, urls ...string) ([]*download, error) {
	if _, err := w.sh(ctx, "client", "rm -rf /run/dl; mkdir -p /run/dl"); err != nil {
		return nil, err
	}
	if err := w.throttle(ctx); err != nil {
		return nil, err
	}
	return w.add(ctx, nil, programs, urls...)
}

// add starts more programs beside those that are at work.
func (w *lab) add(ctx context.Context, all []*download, programs []program, urls ...string) ([]*download, error) {
	for _, p := range programs {
		for _, u := range urls {
			d := &download{program: p, url: u, out: fmt.Sprintf("/run/dl/%d", len(all))}
			var err error
			d.p, err = w.Start("client", netlab.Command{Args: []string{"sh", "-c", p.script}, Stdout: &d.errs, Stderr: &d.errs,
				Env: []string{"URL=" + u, "OUT=" + d.out, "SSL_CERT_FILE=/etc/keys/ca.pem", "CURL="}})
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
	}
	for _, d := range all {
		if err := eventually(ctx, d.String()+" has begun", func(ctx context.Context) error {
			select {
			case <-d.p.Done():
				return fmt.Errorf("%w: %v: %s", await.ErrOver, d.p.Wait(ctx), &d.errs)
			default:
			}
			out, err := w.sh(ctx, "client", fmt.Sprintf("test $(%s) -ge %d || ls -lR /run/dl", w.has(d), begun))
			if err == nil && out != "" {
				err = errors.New(out)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// has is a script that says how many bytes a download has.
func (w *lab) has(d *download) string {
	return "cat " + strings.ReplaceAll(d.part, "$OUT", d.out) + " 2>/dev/null | wc -c"
}

// finish waits for all and compares what they have with the origin's file.
func (w *lab) finish(ctx context.Context, all []*download, file string) (seen string, err error) {
	want, err := w.sum(ctx, "origin", "/run/www/"+file)
	if err != nil {
		return "", err
	}
	if err := w.release(ctx); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var parts []string
	var bad []error
	for _, d := range all {
		if err := d.p.Wait(within); err != nil {
			state, _ := w.sh(ctx, "client", "echo $("+w.has(d)+") bytes; ss -tnoi '( dport = :80 or dport = :443 )'")
			bad = append(bad, fmt.Errorf("%s: %w: %s\nthe client has %s", d, err, &d.errs, state))
			continue
		}
		sum, err := w.sum(ctx, "client", d.out)
		switch {
		case err != nil:
			bad = append(bad, err)
		case sum != want:
			bad = append(bad, fmt.Errorf("%s: says that it is done, and has other bytes", d))
		default:
			parts = append(parts, d.String()+w.how(ctx, d))
		}
	}
	return strings.Join(parts, ", ") + ": whole, byte by byte", errors.Join(bad...)
}

// how is what a program says of itself: `catchment get` by -j, and what had to be
// done to Chromium.
func (w *lab) how(ctx context.Context, d *download) string {
	switch d.name {
	case chromium.name:
		out, err := w.sh(ctx, "client", "cat "+d.out+".says")
		if err != nil {
			return " (says nothing of itself)"
		}
		return " [" + out + "]"
	case catchmentGet.name, inParts.name:
	default:
		return ""
	}
	out, err := w.sh(ctx, "client", "cat "+d.out+".json")
	var r struct {
		Resyncs int
		POPs    []string
	}
	if err != nil || json.Unmarshal([]byte(out), &r) != nil {
		return " (says nothing of itself)"
	}
	return fmt.Sprintf(" [%s, %d resyncs]", strings.Join(r.POPs, " > "), r.Resyncs)
}

// known waits until FRA has been told of so many flows.
func (w *lab) known(ctx context.Context, n int) error {
	if !w.kind.resync {
		return nil
	}
	return eventually(ctx, "FRA knows of LON's flows", func(ctx context.Context) error {
		out, err := w.sh(ctx, "fra", "catchment resync -j")
		if err != nil {
			return err
		}
		var st api.ResyncStatus
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			return err
		}
		for _, p := range st.POPs {
			if p.POP == "LON" && int(p.Known) >= n {
				return nil
			}
		}
		return fmt.Errorf("%+v", st.POPs)
	})
}

// survive has programs download while something happens.
func (w *lab) survive(ctx context.Context, programs []program, urls []string, happen func(context.Context) error) (string, error) {
	all, err := w.begin(ctx, programs, urls...)
	if err != nil {
		return "", err
	}
	return w.through(ctx, all, "f", happen)
}

// through has downloads go on while something happens.
func (w *lab) through(ctx context.Context, all []*download, file string, happen func(context.Context) error) (string, error) {
	if err := w.known(ctx, len(all)); err != nil {
		return "", err
	}
	if err := happen(ctx); err != nil {
		return "", err
	}
	return w.finish(ctx, all, file)
}
