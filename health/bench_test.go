package health

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

type passes struct{}

func (passes) Check(context.Context) Result { return Result{Outcome: Pass} }

// BenchmarkRunner10000 is the runner alone with 10,000 checks of 1,000
// services: one operation is one run of a check, at the pace of 10 s an
// interval. It reports the CPU the whole process used per run and as a share
// of one core.
func BenchmarkRunner10000(b *testing.B) {
	var specs []Spec
	for i := range 10_000 {
		specs = append(specs, Spec{
			ID: policy.CheckID(fmt.Sprint(i % 10)), Service: policy.ServiceID(fmt.Sprint(i / 10)), Checker: passes{},
			Interval: 10 * time.Second, Fast: time.Second, Timeout: time.Second, Jitter: 0.1, Rise: 1, Fall: 3,
		})
	}
	results := make(chan struct{}, 100_000)
	r := NewRunner(Options{OnResult: func(State) { results <- struct{}{} }})
	if err := r.Set(specs); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	for range specs {
		<-results
	}
	b.ResetTimer()
	before, start := cpu(), time.Now()
	for range b.N {
		<-results
	}
	used := cpu() - before
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/run")
	b.ReportMetric(100*used.Seconds()/time.Since(start).Seconds(), "%core")
	cancel()
	<-done
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
