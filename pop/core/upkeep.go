package core

import (
	"cmp"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/catchment/catchment/pop/lapse"
)

// Upkeep is what a member does for itself. Zero fields take the defaults.
type Upkeep struct {
	Every time.Duration // default 1 min
	// Defragment when the database is larger than DefragSize and less than
	// DefragShare of it is in use; 64 MiB and 0.5. The member answers nobody
	// while it does, so members take turns.
	DefragSize  int64
	DefragShare float64
}

func (u Upkeep) withDefaults() Upkeep {
	u.Every = cmp.Or(u.Every, time.Minute)
	u.DefragSize = cmp.Or(u.DefragSize, 64<<20)
	u.DefragShare = cmp.Or(u.DefragShare, 0.5)
	return u
}

// upkeep makes the member known under its address and a voter, calls ready,
// and then keeps its database in order.
func (m *embedded) upkeep(ctx context.Context, s *session, ready func()) {
	for !m.settle(ctx, s) {
		if !lapse.Of(ctx, m.cfg.Heartbeat*2) {
			return
		}
	}
	ready()
	for lapse.Of(ctx, m.cfg.Upkeep.Every-rand.N(m.cfg.Upkeep.Every/4+1)) {
		m.defragment(ctx, s)
		m.disarm(ctx, s)
		if now := m.trusted(); now != s.trusted && m.take(ctx, time.Minute) {
			// The engine reads the authority's certificates at its start only.
			m.log.Info("core: the trusted certificates have changed, the member starts again")
			close(s.again)
			return
		}
	}
}

// trusted is a digest of the authority's certificates on disk.
func (m *embedded) trusted() [sha256.Size]byte {
	if m.cfg.Peers == nil {
		return [sha256.Size]byte{}
	}
	b, err := os.ReadFile(m.cfg.Peers.TLS.CA)
	if _, bad := certificates(b); err != nil || bad != nil {
		return [sha256.Size]byte{} // not to be started with
	}
	return sha256.Sum256(b)
}

// settle corrects the address the others know (a member that was alone, or
// moved), and asks to be a voter where it was admitted as a learner.
func (m *embedded) settle(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	// A read that all agree to: the engine's own word of being ready can come
	// seconds later, when its first try met no leader.
	if _, err := m.read(ctx, RawQuery{From: turn, Limit: 1}); err != nil {
		return false
	}
	own := uint64(s.etcd.Server.MemberID())
	list, err := m.members(ctx, s.cli)
	if err != nil {
		return false
	}
	for _, v := range list {
		if v.ID != own {
			continue
		}
		if want := []string{m.cfg.advertise()}; !slices.Equal(v.URLs, want) {
			m.log.Info("core: the member's address changes", "from", v.URLs, "to", want)
			if _, err := guard(ctx, m, func(ctx context.Context) (any, error) { return s.cli.MemberUpdate(ctx, own, want) }); err != nil {
				m.log.Warn("core: address not changed", "err", err)
				return false
			}
		}
		if !v.Learner {
			return v.Name != ""
		}
		if _, err := guard(ctx, m, func(ctx context.Context) (any, error) { return s.cli.MemberPromote(ctx, own) }); err != nil {
			m.log.Debug("core: not a voter yet", "err", err)
			return false
		}
		m.log.Info("core: the member votes from now on")
		return true
	}
	return false
}

// turn is the object of the member whose turn it is to be away for a moment.
const turn = "upkeep/turn"

// take takes the turn, for a time that cannot be shortened: the next member
// should find this one back.
func (m *embedded) take(ctx context.Context, d time.Duration) bool {
	id, _, err := m.grant(ctx, d)
	if err != nil {
		return false
	}
	got, err := m.commit(ctx, []RawCond{{Key: turn}}, []RawOp{{Key: turn, Value: []byte(m.cfg.Name), Lease: id}})
	if err != nil || got.Failed != nil {
		m.revoke(context.WithoutCancel(ctx), id)
		return false
	}
	return true
}

func (m *embedded) defragment(ctx context.Context, s *session) {
	b := s.etcd.Server.Backend()
	size, used := b.Size(), b.SizeInUse()
	// While writes fail for the quota, what a compaction freed does not show
	// in the numbers: no transaction comes to count it.
	deleted, alarmed := s.deleted(), s.alarmed()
	full := alarmed && deleted != s.cleaned
	if !full && (size < m.cfg.Upkeep.DefragSize || float64(used) > m.cfg.Upkeep.DefragShare*float64(size)) {
		return
	}
	if free, err := freeBytes(m.cfg.Dir); err == nil && free < used+m.cfg.MinFree/2 {
		m.log.Warn("core: no room on the disk to defragment", "free", free, "in-use", used)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	// With the quota used up no turn is granted; then that is why to do it.
	if !alarmed && !m.take(ctx, time.Minute) {
		return
	}
	began := time.Now()
	_, err := guard(ctx, m, func(context.Context) (any, error) { return nil, s.etcd.Server.Defragment() })
	if err == nil {
		s.cleaned = deleted
	}
	m.log.Info("core: defragmented", "took", time.Since(began), "before", size, "after", b.Size(), "err", err)
}

// deleted is up to which revision compactions have deleted what they forgot.
// FirstRev is of no use for that: it grows when a compaction begins, and a
// defragmentation in its middle gives back nothing.
func (s *session) deleted() int64 {
	tx := s.etcd.Server.Backend().ReadTx()
	tx.RLock()
	defer tx.RUnlock()
	revision, _ := mvcc.UnsafeReadFinishedCompact(tx)
	return revision
}

// alarmed: this member has no room for writes.
func (s *session) alarmed() bool {
	for _, a := range s.etcd.Server.Alarms() {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE && a.MemberID == uint64(s.etcd.Server.MemberID()) {
			return true
		}
	}
	return false
}

// disarm takes the quota's alarm back once there is room again.
func (m *embedded) disarm(ctx context.Context, s *session) {
	b := s.etcd.Server.Backend()
	for _, a := range s.etcd.Server.Alarms() {
		if a.Alarm != etcdserverpb.AlarmType_NOSPACE || a.MemberID != uint64(s.etcd.Server.MemberID()) {
			m.log.Error("core: alarm", "alarm", a.Alarm.String(), "of", a.MemberID)
			continue
		}
		if b.Size() > m.cfg.Quota*8/10 {
			m.log.Error("core: the quota is used up, writes fail", "size", b.Size(), "in-use", b.SizeInUse(), "quota", m.cfg.Quota)
			continue
		}
		_, err := guard(ctx, m, func(ctx context.Context) (any, error) {
			return s.cli.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a))
		})
		m.log.Info("core: room again, the quota's alarm is taken back", "err", err)
	}
}
