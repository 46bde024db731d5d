package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
)

// order is what an operator asks of another POP: the object intent/POP/ID. It
// goes when the POP has carried it out, or after orderLife: a POP that comes
// back after a day must not do what was meant for yesterday.
type order struct {
	Call   string     `json:"call"` // drain, undrain, hold, pin, release
	By     string     `json:"by"`   // who, and at which POP
	Change api.Change `json:"change"`
}

// outcome is what became of an order: the object report/POP/order/ID.
type outcome struct {
	order
	Text string `json:"text,omitempty"`
	// Code and Error are those of one that was refused.
	Code  api.Code `json:"code,omitempty"`
	Error string   `json:"error,omitempty"`
}

const (
	orderLife   = time.Hour
	outcomeLife = 24 * time.Hour
	// orderWait is how long an answer is waited for; the order goes on.
	orderWait = 10 * time.Second
)

func orderKey(pop, id string) core.Key {
	return core.Key{Kind: core.KindIntent, Name: pop + "/" + id}
}

func outcomeKey(pop, id string) core.Key {
	return core.Key{Kind: core.KindReport, Name: pop + "/order/" + id}
}

// CoreOrder implements api.Core.
func (a Admin) CoreOrder(ctx context.Context, call, by string, c api.Change) (api.Result, error) {
	h, pop := a.Host, string(c.POP)
	if err := h.knows(ctx, pop); err != nil {
		return api.Result{}, said(err)
	}
	var salt [4]byte
	rand.Read(salt[:])
	id := fmt.Sprintf("%013d-%s", time.Now().UnixMilli(), hex.EncodeToString(salt[:])) // for people to sort by
	v, err := core.Marshal(order{Call: call, By: by + " at " + h.pop, Change: c})
	if err != nil {
		return api.Result{}, err
	}
	lease, err := h.core.Grant(ctx, orderLife)
	if err != nil {
		return api.Result{}, said(err)
	}
	w := core.Write{Who: short("operator "+by+" at "+h.pop, 128), Why: c.Why}
	k := orderKey(pop, id)
	rev, err := h.core.Txn(ctx, w, []core.Cond{{Key: k, If: core.Absent}}, []core.Op{{Key: k, Value: v, Lease: lease.ID}})
	if err != nil {
		return api.Result{}, said(err)
	}
	h.log.Info("asked of another POP", "pop", pop, "call", call, "by", by, "why", c.Why)
	return h.answer(ctx, pop, id, rev)
}

// knows refuses the name of a POP that has never joined nor reported.
func (h *Host) knows(ctx context.Context, pop string) error {
	if pop == h.pop {
		return nil
	}
	if h.cfg.Alone {
		return &core.Error{Code: core.Denied, Op: "order", Key: pop, Err: errors.New("the control core here is of this POP alone, so no other is asked through it: one that listens (core.listen) is shared")}
	}
	names := map[string]bool{}
	for _, s := range []core.Selector{core.All(core.KindMember), core.All(core.KindReport)} {
		list, err := h.core.List(ctx, s)
		if err != nil {
			return err
		}
		for _, o := range list.Objects {
			for part := range strings.SplitSeq(o.Key.Name, "/") {
				names[part] = true
			}
		}
	}
	if !names[pop] {
		return &core.Error{Code: core.NotFound, Op: "order", Key: pop, Err: errors.New("no POP of that name has joined")}
	}
	return nil
}

// answer waits for what became of an order.
func (h *Host) answer(ctx context.Context, pop, id string, since int64) (api.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, orderWait)
	defer cancel()
	var got outcome
	k, errDone := outcomeKey(pop, id), errors.New("done")
	err := h.core.Watch(ctx, core.Selector{Kind: k.Kind, Prefix: k.Name}, since, func(b core.Batch) error {
		for _, e := range b.Events {
			if e.Key == k && !e.Deleted {
				if err := e.Object.Into(&got); err != nil {
					return err
				}
				return errDone
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errDone) && got.Error != "":
		return api.Result{}, api.Errorf(got.Code, "%s: %s", pop, got.Error)
	case errors.Is(err, errDone):
		return api.Result{Text: pop + ": " + got.Text}, nil
	}
	return api.Result{Text: fmt.Sprintf("%s has not answered yet; it has an hour to carry it out: catchment core list intent", pop)}, nil
}

// Carry carries out an order of another POP.
type Carry func(ctx context.Context, call, by string, c api.Change) (api.Result, error)

// Orders carries out what is asked of this POP elsewhere, until ctx ends.
func (h *Host) Orders(ctx context.Context, carry Carry) {
	news, done := make(chan struct{}, 1), make(chan struct{})
	mine := core.Under(core.KindIntent, h.pop)
	go func() { defer close(done); h.listen(ctx, mine, news) }()
	defer func() { <-done }()
	again := time.NewTicker(5 * time.Second)
	defer again.Stop()
	owed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-again.C:
			if !owed {
				continue
			}
		}
		if err := h.carryAll(ctx, mine, carry); err != nil && ctx.Err() == nil {
			h.log.Warn("what was asked of this POP elsewhere is not done", "err", err)
			owed = true
			continue
		}
		owed = false
	}
}

func (h *Host) carryAll(ctx context.Context, mine core.Selector, carry Carry) error {
	if err := h.Sole(); err != nil {
		return err
	}
	list, err := h.core.List(ctx, mine)
	if err != nil {
		return err
	}
	for _, o := range list.Objects {
		if err := h.carryOne(ctx, o, carry); err != nil {
			return err
		}
	}
	return nil
}

// carryOne carries out an order and says what became of it. Where the core
// does not take that, it will be carried out once more, which changes nothing.
func (h *Host) carryOne(ctx context.Context, o core.Object, carry Carry) error {
	var ord order
	out := outcome{}
	if err := o.Into(&ord); err != nil {
		out.Code, out.Error = api.Invalid, err.Error()
	} else {
		out.order = ord
		r, err := carry(ctx, ord.Call, ord.By, ord.Change)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if out.Text = r.Text; err != nil {
			out.Code, out.Error = api.Internal, err.Error()
			if e := (*api.Error)(nil); errors.As(err, &e) {
				out.Code = e.Code
			}
		}
	}
	_, id, _ := strings.Cut(o.Key.Name, "/")
	v, err := json.Marshal(out)
	if err != nil {
		return err
	}
	lease, err := h.core.Grant(ctx, outcomeLife)
	if err != nil {
		return err
	}
	_, err = h.core.Txn(ctx, h.Write("asked by "+short(ord.By, 200)), []core.Cond{{Key: o.Key, If: core.If(o.Revision)}}, []core.Op{
		{Key: o.Key, Delete: true}, {Key: outcomeKey(h.pop, id), Value: v, Lease: lease.ID},
	})
	if errors.Is(err, core.Conflict) {
		return nil // it is over
	}
	return err
}
