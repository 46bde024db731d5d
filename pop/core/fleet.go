package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catchment/catchment/pop/lapse"
)

// voters is what an engine with members can do; memory has none.
type voters interface {
	client() (*clientv3.Client, error)
	members(context.Context, *clientv3.Client) ([]Voter, error)
}

func (c *Core) voters() (voters, *clientv3.Client, error) {
	e := c.under()
	if e == nil {
		return nil, nil, &Error{Code: Unavailable, Err: errNotOpen}
	}
	v, ok := e.(voters)
	if !ok {
		return nil, nil, fail(Invalid, "this core has no members")
	}
	cli, err := v.client()
	return v, cli, err
}

// Voters lists the members of the core, as this one knows them.
func (c *Core) Voters(ctx context.Context) ([]Voter, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	v, cli, err := c.voters()
	if err != nil {
		return nil, about(err, "members", "")
	}
	list, err := v.members(ctx, cli)
	return list, about(err, "members", "")
}

// Admit adds a member that will reach the core under an address (host:port).
// It returns what the new member's Peers.First has to be, with Peers.Join; it
// gets everything first and votes once it has caught up. Who asked and why is
// kept as the last write of member/NAME's voter object.
func (c *Core) Admit(ctx context.Context, w Write, name, addr string) (map[string]string, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil || name == "" {
		return nil, about(fail(Invalid, "member %q at %q: want a name and host:port", name, addr), "admit", name)
	}
	list, err := c.Voters(ctx)
	if err != nil {
		return nil, about(err, "admit", name)
	}
	url := "https://" + addr
	first := map[string]string{name: addr}
	known := false
	for _, v := range list {
		if v.Name == name || v.Name == "" && contains(v.URLs, url) {
			if v.Name == name && !contains(v.URLs, url) {
				return nil, about(fail(Conflict, "there is a member of that name at %v", v.URLs), "admit", name)
			}
			known = true // asked before: the answer is the same
			continue
		}
		if v.Name == "" {
			return nil, about(fail(Conflict, "member %v was admitted and has not come yet: let it come, or remove it", v.URLs), "admit", name)
		}
		for _, u := range v.URLs {
			if strings.HasPrefix(u, "http://") {
				return nil, about(fail(Invalid, "member %s is alone and listens nowhere: restart it with Peers first", v.Name), "admit", name)
			}
			first[v.Name] = strings.TrimPrefix(u, "https://")
		}
	}
	if known {
		return first, nil
	}
	if err := c.voted(ctx, w, Op{Key: voterKey(name), Value: mustJSON(map[string]string{"address": addr, "state": "admitted"})}); err != nil {
		return nil, about(err, "admit", name)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	err = c.reconfigure(ctx, func(ctx context.Context, cli *clientv3.Client) error {
		_, err := cli.MemberAddAsLearner(ctx, []string{url})
		return err
	})
	return first, about(err, "admit", name)
}

func voterKey(name string) Key { return Key{KindMember, "voter/" + name} }

// voted writes down who changes the members and why, before it is done.
func (c *Core) voted(ctx context.Context, w Write, o Op) error {
	_, err := c.Txn(ctx, w, nil, []Op{o})
	return err
}

// reconfigure runs a change of the members, inside the engine's guard where
// there is one. The engine wants to have seen every voter for five seconds
// before it changes anything, so what it calls unhealthy is tried again.
func (c *Core) reconfigure(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	for {
		err := c.reconfigureOnce(ctx, f)
		if !errors.Is(err, rpctypes.ErrUnhealthy) || !lapse.Of(ctx, 250*time.Millisecond) {
			return err
		}
	}
}

func (c *Core) reconfigureOnce(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	_, cli, err := c.voters()
	if err != nil {
		return err
	}
	m, ok := c.under().(*embedded)
	if !ok {
		return translate(f(ctx, cli))
	}
	_, err = guard(ctx, m, func(ctx context.Context) (struct{}, error) { return struct{}{}, translate(f(ctx, cli)) })
	return err
}

// Remove takes a member out, also one that is dead or never came (by its
// name, or its host:port). What is left must be able to agree: the engine
// refuses a removal that would cost the quorum. To replace a member, remove
// it and admit another.
func (c *Core) Remove(ctx context.Context, w Write, name string) error {
	list, err := c.Voters(ctx)
	if err != nil {
		return about(err, "remove", name)
	}
	for _, v := range list {
		if v.Name != name && !(v.Name == "" && contains(v.URLs, "https://"+name)) {
			continue
		}
		if len(list) == 1 {
			return about(fail(Denied, "it is the last member"), "remove", name)
		}
		if err := c.voted(ctx, w, Op{Key: voterKey(name), Delete: true}); err != nil {
			return about(err, "remove", name)
		}
		ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
		defer cancel()
		err := c.reconfigure(ctx, func(ctx context.Context, cli *clientv3.Client) error {
			_, err := cli.MemberRemove(ctx, v.ID)
			return err
		})
		return about(err, "remove", name)
	}
	return &Error{Code: NotFound, Op: "remove", Key: name, Err: errors.New("no such member")}
}

// Leave takes this process's member out; Run then returns an error that says
// so, and its directory is of no more use. The leader's office goes first to
// another, so that nobody waits for an election.
func (c *Core) Leave(ctx context.Context, w Write) error {
	m, ok := c.under().(*embedded)
	if !ok {
		return about(fail(Invalid, "no member in this process"), "leave", "")
	}
	s := m.now.Load()
	if s != nil && s.etcd.Server.Leader() == s.etcd.Server.MemberID() {
		_, err := guard(ctx, m, func(context.Context) (any, error) { return nil, s.etcd.Server.TryTransferLeadershipOnShutdown() })
		if err != nil {
			m.log.Info("core: leader leaves without a successor", "err", err)
		}
	}
	err := c.Remove(ctx, w, m.cfg.Name)
	if e := (*Error)(nil); s == nil || !errors.As(err, &e) || !e.Uncertain {
		return err
	}
	// It may have stopped before it could say so; what it knows of the members
	// follows in a moment.
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	for !s.removed() {
		if !lapse.Of(ctx, 20*time.Millisecond) {
			return err
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func mustJSON(v any) []byte {
	b, err := Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("core: %v", err)) // of our own types only
	}
	return b
}
