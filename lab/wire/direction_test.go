package wire

import (
	"context"
	"testing"
	"time"
)

// TestArrived: the kernel's clock counts, unless it was set meanwhile.
func TestArrived(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		stamp int64
		want  time.Duration // before now
	}{
		{0, 0},
		{now.UnixNano(), 0},
		{now.Add(-20 * time.Millisecond).UnixNano(), 20 * time.Millisecond},
		{now.Add(time.Millisecond).UnixNano(), 0},
		{now.Add(-time.Hour).UnixNano(), 0},
	} {
		if got := now.Sub(arrived(tc.stamp, now)); got != tc.want {
			t.Errorf("%d: %v before now, want %v", tc.stamp, got, tc.want)
		}
	}
}

// TestLateReader: what waited for the wire's thread is not delayed by that.
func TestLateReader(t *testing.T) {
	a, b := cable(t, "f0", "f1"), cable(t, "g0", "g1")
	const delay = 500 * time.Millisecond
	w, err := Open("f1", "g1", Config{Delay: delay})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := a.Write(packet(1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay) // nobody reads meanwhile
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	late := time.Since(began)
	go func() { ended <- w.Run(ctx) }()
	if got := next(t, b); got != 1 {
		t.Errorf("frame %d", got)
	}
	if took := time.Since(began); took < delay || took-late >= delay {
		t.Errorf("the frame came after %v, %v after the wire began", took, took-late)
	}
	cancel()
	<-ended
}
