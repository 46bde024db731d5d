package front

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the benchmarks run their client in a process of its own, so that only the server's CPU is counted.
func TestMain(m *testing.M) {
	if addr := os.Getenv("FRONT_BENCH_CLIENT"); addr != "" {
		benchClient(addr)
		return
	}
	os.Exit(m.Run())
}

// benchClient asks /a over a number of connections until it has had the wanted number of answers.
func benchClient(addr string) {
	total, _ := strconv.Atoi(os.Getenv("FRONT_BENCH_N"))
	const conns = 16
	lines := os.Getenv("FRONT_BENCH_LINES")
	var wg sync.WaitGroup
	if os.Getenv("FRONT_BENCH_H2") != "" {
		benchStreams("https://"+addr+"/a", total)
		return
	}
	for i := range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			if os.Getenv("FRONT_BENCH_TLS") != "" {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			req := []byte("GET /a HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench/1\r\nAccept: */*\r\n" + lines + "\r\n")
			br := bufio.NewReaderSize(c, 64<<10)
			for range total/conns + min(1, max(0, total%conns-i)) {
				c.Write(req)
				length := 0
				for {
					l, err := br.ReadSlice('\n')
					if err != nil {
						panic(err)
					}
					if len(l) == 2 {
						break
					}
					if v, ok := strings.CutPrefix(string(l), "Content-Length: "); ok {
						length, _ = strconv.Atoi(strings.TrimSpace(v))
					}
				}
				if _, err := io.CopyN(io.Discard, br, int64(length)); err != nil {
					panic(err)
				}
			}
			c.Close()
		})
	}
	wg.Wait()
	fmt.Println("done")
}

// benchStreams asks over one HTTP/2 connection with 32 streams.
func benchStreams(url string, total int) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	var wg sync.WaitGroup
	const streams = 32
	for i := range streams {
		wg.Go(func() {
			for range total/streams + min(1, max(0, total%streams-i)) {
				r, err := client.Get(url)
				if err != nil {
					panic(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
		})
	}
	wg.Wait()
}

// BenchmarkStreams is the CPU of 1 KB over HTTP/2, through front and on bare net/http.
func BenchmarkStreams(b *testing.B) {
	data := pattern(1 << 10)
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(data))}
		w.Write(data)
	}
	for name, hit := range map[string]Hitter{"hit": nil, "handler": &quiet{}} {
		b.Run(name, func(b *testing.B) {
			if hit == nil {
				hits := &quiet{}
				hits.put(b, "/a", data, nil)
				hit = hits
			}
			runClient(b, start(b, handler, hit, unlimited).secure, "FRONT_BENCH_H2=1")
		})
	}
	b.Run("nethttp", func(b *testing.B) {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(handler))
		srv.EnableHTTP2 = true
		srv.StartTLS()
		defer srv.Close()
		runClient(b, srv.Listener.Addr().String(), "FRONT_BENCH_H2=1")
	})
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// runClient runs b.N requests from another process and reports the CPU time of this one.
func runClient(b *testing.B, addr string, env ...string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FRONT_BENCH_CLIENT="+addr, "FRONT_BENCH_N="+strconv.Itoa(b.N), "GOMAXPROCS=1")
	cmd.Env = append(cmd.Env, env...)
	b.ResetTimer()
	before := cpu()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
}

// BenchmarkHit compares the CPU of a stored answer on the fast path, through the gate on net/http, and on bare net/http.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		data := pattern(size)
		for _, secure := range []bool{false, true} {
			env := []string{"X=1"}
			if secure {
				env = []string{"FRONT_BENCH_TLS=1"}
			}
			handler := func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = []string{"text/plain"}
				w.Header()["Etag"] = []string{`"v1"`}
				w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
				w.Write(data)
			}
			name := fmt.Sprintf("%dK/tls=%v/", size>>10, secure)
			pick := func(s *stand) string {
				if secure {
					return s.secure
				}
				return s.addr
			}
			b.Run(name+"fast", func(b *testing.B) {
				hits := &quiet{}
				hits.put(b, "/a", data, nil)
				runClient(b, pick(start(b, nil, hits, unlimited)), env...)
			})
			if size > 10<<10 {
				b.Run(name+"fastfile", func(b *testing.B) {
					hits := &quiet{}
					hits.putFile(b, "/a", data)
					runClient(b, pick(start(b, nil, hits, unlimited)), env...)
				})
			}
			b.Run(name+"gate", func(b *testing.B) {
				runClient(b, pick(start(b, handler, nil, unlimited)), env...)
			})
			b.Run(name+"nethttp", func(b *testing.B) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				addr := ln.Addr().String()
				if secure {
					cert, _ := SelfSigned("bench")
					ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
				}
				srv := &http.Server{Handler: http.HandlerFunc(handler)}
				go srv.Serve(ln)
				defer srv.Close()
				runClient(b, addr, env...)
			})
		}
	}
}

func unlimited(o *Options) { o.Limits.ConnRequest = -1 }

// quiet is a shelf that notes nothing.
type quiet struct{ shelf }

func (q *quiet) Hit(r *Request, a *Answer) bool {
	ok := q.shelf.Hit(r, a)
	a.Done = nil
	return ok
}
