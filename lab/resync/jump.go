package resync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/pop/api"
)

// errNoBPF: this machine lets us load nothing into its kernel.
var errNoBPF = errors.New("this machine lets us load no BPF program")

// film is a longer object than that of other stories: so long that a flow has a
// rate that is worth something when it moves.
const (
	film     = "feature" // no story has another of that name: POPs keep what they have
	filmSize = 48_000_000
	quick    = 1_000_000 // bytes a second that a flow has at least, on a line of six times that
)

// pinned is where root in FRA pins the congestion control.
const pinned = "/sys/fs/bpf/catchment"

// jump is a way to run FRA's daemon.
type jump struct {
	section string // resync.jump of its configuration, in one line
	means   string // what it then says it does with flows from LON
}

var (
	jumps   = jump{"{services: [web], pin: " + pinned + ", stated: 2500KB}", "bpf"}
	off     = jump{"{services: [], pin: " + pinned + "}", "plain"}
	byRoute = jump{"{services: [web], pin: /run/nothing, initcwnd: 60}", "route"}
	bySlow  = jump{"{services: [web], pin: /run/nothing}", "plain"}
)

// jumping: flows that come to FRA skip slow start, by a congestion control that
// root has loaded and a daemon uses that is nobody and has no right to BPF. What
// they may use of their former rate grows with each that was right, outlives
// nothing but the daemon, and is halved by one that was not.
func (w *lab) jumping(ctx context.Context) (seen string, err error) {
	defer func() { err = errors.Join(err, w.usual(context.WithoutCancel(ctx))) }()
	if err := w.prepareJumps(ctx); errors.Is(err, errNoBPF) {
		return "left out: " + err.Error(), nil
	} else if err != nil {
		return "", err
	}
	var lines []string
	for _, part := range []func(context.Context) (string, error){
		func(ctx context.Context) (string, error) { return w.earns(ctx, 3) }, w.retreats, w.hears, w.remembersNothing, w.switchedOff, w.withoutBPF, w.plainly,
	} {
		line, err := part(ctx)
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

// prepareJumps has root load the congestion control in FRA, and the daemon start
// again as nobody.
func (w *lab) prepareJumps(ctx context.Context) error {
	if err := w.file(ctx, film, filmSize); err != nil {
		return err
	}
	if out, err := w.sh(ctx, "fra", "mount -t bpf bpf /sys/fs/bpf && catchment resync jump load --group nogroup 2>&1"); err != nil {
		if strings.Contains(out, "CAP_BPF") || !strings.Contains(out, "jump:") {
			return fmt.Errorf("%w: %s", errNoBPF, out)
		}
		return fmt.Errorf("%w: %s", err, out)
	}
	return w.again(ctx, jumps)
}

// rights are all that FRA's daemon has.
const rights = "-all,+net_admin,+net_raw,+net_bind_service"

// again ends FRA's daemon and starts it as nobody, with a way to jump.
func (w *lab) again(ctx context.Context, j jump) error {
	if err := w.leave(ctx); err != nil {
		return err
	}
	script := `rm -rf /run/keys && cp -r /etc/keys /run/keys && chown -R nobody:nogroup /run/keys
mkdir -p /run/catchment /var/lib/catchment && chown -R nobody:nogroup /run/catchment /var/lib/catchment
sed 's,/etc/keys,/run/keys,g' /etc/lab/` + w.kind.daemon + ` >/run/catchment.yaml && printf '  interval: 200ms\n  jump: ` + j.section + `\n' >>/run/catchment.yaml
exec setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --inh-caps ` + rights + ` --ambient-caps ` + rights + ` --bounding-set ` + rights + ` catchmentd --config /run/catchment.yaml`
	if err := w.run("fra", script); err != nil {
		return err
	}
	return w.ready(ctx, j.means)
}

// usual starts FRA's daemon as the other stories know it.
func (w *lab) usual(ctx context.Context) error {
	if err := w.leave(ctx); err != nil {
		return err
	}
	if _, err := w.sh(ctx, "fra", "catchment resync jump unload; umount /sys/fs/bpf; rm -rf /run/keys; chown -R root:root /run/catchment /var/lib/catchment"); err != nil {
		return err
	}
	return w.start(ctx, "fra")
}

// leave ends FRA's daemon, for a restart.
func (w *lab) leave(ctx context.Context) error {
	return eventually(ctx, "FRA's daemon ends", func(ctx context.Context) error {
		if out, err := w.sh(ctx, "fra", "pkill -USR2 -x catchmentd"); err == nil {
			return fmt.Errorf("it is still there %s", out)
		}
		return nil
	})
}

// ready waits until FRA and LON know of one another, and the routes lead to LON.
func (w *lab) ready(ctx context.Context, means string) error {
	if err := w.leads(ctx, "lon"); err != nil {
		return err
	}
	if err := w.both(ctx); err != nil {
		return err
	}
	st, err := w.fra(ctx)
	if err == nil && st.Jumps.Means != means {
		err = fmt.Errorf("FRA's flows begin by %q, not %q; it lacks %q", st.Jumps.Means, means, st.Lacks)
	}
	if err != nil {
		return err
	}
	return w.warmOne(ctx, "fra", film)
}

// fra is what FRA says of flows.
func (w *lab) fra(ctx context.Context) (st api.ResyncStatus, err error) {
	out, err := w.sh(ctx, "fra", "catchment resync -j")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	return st, err
}

// ended is how many flows from LON have begun at FRA, whatever way, to their
// end.
func ended(j *api.ResyncJumps) (n uint64) {
	n = j.Validated + j.Retreated + j.Ended + j.Failed
	for _, r := range j.Refused {
		n += r.Flows
	}
	return n
}

// told are LON's flows, as FRA knows of them.
func (w *lab) told(ctx context.Context) (flows []api.ResyncFlow, err error) {
	out, err := w.sh(ctx, "fra", "catchment resync flows LON -j")
	if err == nil {
		err = json.Unmarshal([]byte(out), &flows)
	}
	return flows, err
}

// moves lets a download of the film begin at LON, moves it to FRA once FRA knows
// that it is fast, and returns what FRA has noted of it. then, if not nil, is
// done before it moves.
func (w *lab) moves(ctx context.Context, then func(context.Context) error) (line string, st api.ResyncStatus, err error) {
	before, err := w.fra(ctx)
	if err != nil {
		return "", st, err
	}
	// LON goes on to tell of those that left it without a word.
	flows, err := w.told(ctx)
	if err != nil {
		return "", st, err
	}
	var old []string
	for _, f := range flows {
		old = append(old, f.Client)
	}
	var errs strings.Builder
	get, err := w.Start("client", netlab.Command{Args: []string{"sh", "-c", "rm -rf /run/dl; mkdir -p /run/dl; exec catchment get -j -o /run/dl/film http://" + vip4 + "/" + film}, Stderr: &errs})
	if err != nil {
		return "", st, err
	}
	flipped := false
	defer func() {
		_, e := w.sh(ctx, "client", "pkill -x catchment; true")
		_ = get.Wait(ctx) // it was ended in the middle
		if err = errors.Join(err, e); flipped {
			err = errors.Join(err, w.flip(ctx, "lon", true), w.leads(ctx, "lon"))
		}
	}()
	if err := eventually(ctx, "FRA knows how fast it is", func(ctx context.Context) error {
		select {
		case <-get.Done():
			return fmt.Errorf("%w: %s", await.ErrOver, &errs)
		default:
		}
		flows, err := w.told(ctx)
		if err == nil && !slices.ContainsFunc(flows, func(f api.ResyncFlow) bool {
			return !slices.Contains(old, f.Client) && f.Rate >= quick && f.Offset >= filmSize/20
		}) {
			err = fmt.Errorf("%+v", flows)
		}
		return err
	}); err != nil {
		return "", st, err
	}
	if then != nil {
		if err := then(ctx); err != nil {
			return "", st, err
		}
	}
	if err := w.flip(ctx, "fra", true); err != nil {
		return "", st, err
	}
	flipped = true
	err = eventually(ctx, "FRA notes how it began", func(ctx context.Context) error {
		if st, err = w.fra(ctx); err == nil && ended(&st.Jumps) == ended(&before.Jumps) {
			err = fmt.Errorf("%+v", st.Jumps)
		}
		return err
	})
	if err != nil {
		return "", st, err
	}
	line, err = w.sh(ctx, "fra", "catchment journal -n 0 | grep -o 'goes on from LON.*' | tail -n 1")
	return line, st, err
}
