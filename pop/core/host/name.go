package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// A POP's name is that of one daemon: what it reserves, where it stands in the
// queue of drains and what is asked of it are objects of that name. The daemon
// that runs keeps presence/POP under a lease. One that finds it kept by another
// is a twin: it announces, and writes nothing of the POP's until the other is
// gone.

// nameLife is how long the name stays with a daemon that is not heard of.
const nameLife = 10 * time.Second

// keeper is the value of presence/POP.
type keeper struct {
	Instance string    `json:"instance"`
	Host     string    `json:"host"`
	Since    time.Time `json:"since"`
}

// ErrTwin: another daemon has this POP's name.
var ErrTwin = errors.New("another daemon runs under this POP's name")

// naming is what is known of the name.
type naming struct {
	looked chan struct{} // closed when it was seen for the first time who has it
	lease  core.Lease
	other  *keeper   // the daemon that has it; nil: this one, or nobody knows
	seen   time.Time // since when other is there
}

// Named is closed once it is known whose the POP's name is.
func (h *Host) Named() <-chan struct{} { return h.name.looked }

// Sole is nil, or an ErrTwin that tells where the daemon is that has this POP's
// name. It does not block.
func (h *Host) Sole() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.name.other; o != nil {
		return fmt.Errorf("%w (%s): at %s since %s", ErrTwin, h.pop, o.Host, o.Since.UTC().Format(time.RFC3339))
	}
	return nil
}

// keepName keeps the POP's name until ctx ends.
func (h *Host) keepName(ctx context.Context) {
	host, _ := os.Hostname()
	me := keeper{Instance: h.instance(), Host: host, Since: time.Now().UTC().Truncate(time.Second)}
	for {
		pause := nameLife / 3
		switch err := h.claimName(ctx, me); {
		case errors.Is(err, core.NotFound), errors.Is(err, core.Conflict):
			pause = 100 * time.Millisecond // it changed meanwhile: look again
		case err != nil && ctx.Err() == nil:
			h.log.Debug("the POP's name is not kept", "err", err)
		}
		if !lapse.Of(ctx, pause) {
			break
		}
	}
	if h.name.lease.ID == 0 {
		return
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := h.core.Revoke(end, h.name.lease.ID); err != nil {
		h.log.Debug("the POP's name is free when its lease has run out", "err", err)
	}
}

// claimName renews the hold on the name, or takes it if nobody else has it.
func (h *Host) claimName(ctx context.Context, me keeper) error {
	ctx, cancel := context.WithTimeout(ctx, nameLife/3)
	defer cancel()
	if h.name.lease.ID != 0 {
		next, err := h.core.Renew(ctx, h.name.lease)
		if h.name.lease = next; errors.Is(err, core.NotFound) {
			h.name.lease = core.Lease{}
		}
		return err
	}
	k, when := core.Key{Kind: core.KindPresence, Name: h.pop}, core.Absent
	o, err := h.core.Get(ctx, k)
	var now keeper
	switch {
	case err == nil:
		if err := o.Into(&now); err == nil && now.Instance != me.Instance {
			h.twin(&now)
			return nil
		}
		when = core.If(o.Revision) // of a former life
	case !errors.Is(err, core.NotFound):
		return err
	}
	l, err := h.core.Grant(ctx, nameLife)
	if err != nil {
		return err
	}
	v, err := core.Marshal(me)
	if err != nil {
		return err
	}
	if _, err := h.core.Txn(ctx, h.Write("runs at "+me.Host), []core.Cond{{Key: k, If: when}}, []core.Op{{Key: k, Value: v, Lease: l.ID}}); err != nil {
		return errors.Join(err, h.core.Revoke(ctx, l.ID))
	}
	h.name.lease = l
	h.twin(nil)
	return nil
}

// twin takes in who else has the name; nil: nobody. A daemon that died without
// a word has it until its lease has run out, which is nothing to tell.
func (h *Host) twin(other *keeper) {
	h.mu.Lock()
	before := h.name.other
	h.name.other = other
	if before == nil {
		h.name.seen = time.Now()
	}
	long := other != nil && time.Since(h.name.seen) > nameLife
	select {
	case <-h.name.looked:
	default:
		close(h.name.looked)
	}
	h.mu.Unlock()
	if other == nil {
		h.right("name")
		return
	}
	if err := h.Sole(); err != nil && long {
		h.wrong("name", err.Error()+"; this one announces, and moves no load, waits for no turn and is asked nothing until the other is gone")
		h.log.Error("two daemons have the same POP's name", "err", err)
	}
}

// instance tells this daemon from all others, also from a copy of its host: of
// the state directory, which one daemon has at a time, and of the running
// kernel. A restart is no other instance.
func (h *Host) instance() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	path := filepath.Join(h.cfg.Dir, "instance")
	id, err := os.ReadFile(path)
	if h.cfg.Dir == "" || err != nil || len(id) != 32 {
		var salt [16]byte
		rand.Read(salt[:])
		id = []byte(hex.EncodeToString(salt[:]))
		if h.cfg.Dir != "" {
			if err := errors.Join(os.MkdirAll(h.cfg.Dir, 0o700), writeFile(path, id)); err != nil {
				h.log.Warn("after a restart the POP's name is free only when a lease has run out", "err", err)
			}
		}
	}
	return string(id) + "/" + strings.TrimSpace(string(boot))
}
