package site

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func hook(name string, order int, f func(ctx context.Context, v *View) error) Hook {
	return Hook{Name: name, Stage: Miss, Order: order, Handler: HandlerFunc(f)}
}

func chain(t *testing.T, hooks ...Hook) *Chain {
	t.Helper()
	c, err := NewChain(hooks...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func view() *View {
	return &View{Method: "GET", Host: "h", URL: &url.URL{Path: "/a"}, Header: http.Header{"A": {"1"}}, Notes: map[string]string{}}
}

func TestChainOrder(t *testing.T) {
	note := func(name string, order int) Hook {
		return hook(name, order, func(_ context.Context, v *View) error {
			v.Header.Add("Seen", name)
			return nil
		})
	}
	other := note("other stage", 0)
	other.Stage = FillRequest
	c := chain(t, note("c", 2), note("a", -1), other, note("d", 2), note("b", 0))
	v := view()
	if reply, failed := c.Run(t.Context(), Miss, v); reply != nil || failed != nil {
		t.Errorf("%v %v", reply, failed)
	}
	if got := strings.Join(v.Header["Seen"], ""); got != "abcd" {
		t.Errorf("run as %s", got)
	}
	if !c.Has(FillRequest) || c.Has(ClientRequest) || (*Chain)(nil).Has(Miss) {
		t.Error("Has is wrong")
	}
	if reply, failed := (*Chain)(nil).Run(t.Context(), Miss, v); reply != nil || failed != nil {
		t.Error("an empty chain does something")
	}
}

func TestChainAnswer(t *testing.T) {
	c := chain(t,
		hook("answer", 0, func(_ context.Context, v *View) error { v.Refuse(451, "no"); return nil }),
		hook("never", 1, func(context.Context, *View) error { t.Error("called after an answer"); return nil }))
	reply, failed := c.Run(t.Context(), Miss, view())
	if reply == nil || reply.Status != 451 || string(reply.Body) != "no\n" || failed != nil {
		t.Errorf("%+v %v", reply, failed)
	}
}

func TestChainErrors(t *testing.T) {
	boom := errors.New("boom")
	spoil := func(_ context.Context, v *View) error {
		v.Header.Set("A", "spoiled")
		v.URL.Path = "/spoiled"
		v.Notes["x"] = "spoiled"
		v.Refuse(200, "spoiled")
		return boom
	}
	reached := hook("next", 1, func(_ context.Context, v *View) error { v.Notes["next"] = "yes"; return nil })
	open := hook("open", 0, spoil)
	open.OnError = FailOpen
	v := view()
	reply, failed := chain(t, open, reached).Run(t.Context(), Miss, v)
	want := view()
	want.Notes["next"] = "yes"
	if reply != nil || len(failed) != 1 || !errors.Is(failed[0], boom) || !failed[0].Open || !reflect.DeepEqual(v, want) {
		t.Errorf("open: %+v %v %+v", reply, failed, v)
	}
	v = view()
	reply, failed = chain(t, hook("closed", 0, spoil), reached).Run(t.Context(), Miss, v)
	if reply == nil || reply.Status != 500 || len(failed) != 1 || failed[0].Open || failed[0].Error() != "hook closed at miss: boom" || v.Notes["next"] != "" {
		t.Errorf("closed: %+v %v %+v", reply, failed, v)
	}
	panics := hook("panics", 0, func(context.Context, *View) error { panic("oh") })
	panics.Stage = FillResponse
	reply, failed = chain(t, panics).Run(t.Context(), FillResponse, view())
	if reply == nil || reply.Status != 502 || len(failed) != 1 || !strings.Contains(failed[0].Error(), "panic: oh") {
		t.Errorf("panic: %+v %v", reply, failed)
	}
}

func TestChainTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(ctx context.Context, _ *View) error { <-ctx.Done(); return nil }
		slow := hook("slow", 0, wait)
		slow.OnError, slow.Timeout = FailOpen, time.Second
		began := time.Now()
		reply, failed := chain(t, slow, hook("default", 1, wait)).Run(t.Context(), Miss, view())
		if took := time.Since(began); took != time.Second+DefaultHookTimeout {
			t.Errorf("took %v", took)
		}
		if reply == nil || len(failed) != 2 || !errors.Is(failed[0], context.DeadlineExceeded) || !failed[0].Open || failed[1].Open {
			t.Errorf("%+v %v", reply, failed)
		}
	})
}

func TestChainRefused(t *testing.T) {
	if _, err := NewChain(Hook{Name: "a", Stage: 9, Handler: HandlerFunc(nil)}, Hook{Name: "b"}, Hook{Handler: HandlerFunc(nil)}); err == nil ||
		strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
}
