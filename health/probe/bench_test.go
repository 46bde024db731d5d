package probe

import (
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health"
)

// The CPU of one probe, without that of a server elsewhere: the servers here
// run in this process and are counted too.
func BenchmarkProbe(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })}
	go srv.Serve(l)
	defer srv.Close()
	for _, c := range []Config{
		{Type: TCP, Address: l.Addr().String()},
		{Type: HTTP, URL: "http://" + l.Addr().String() + "/", Body: "ok"},
		{Type: ICMP, Address: "127.0.0.1"},
		{Type: Exec, Command: []string{"/bin/true"}},
	} {
		b.Run(string(c.Type), func(b *testing.B) {
			checker, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			before := cpu()
			for b.Loop() {
				if r := checker.Check(b.Context()); r.Outcome != health.Pass {
					b.Fatal(r.Detail)
				}
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/probe")
		})
	}
}

func cpu() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}
