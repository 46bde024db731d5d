package web

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"github.com/catchment/catchment/pop/api"
)

func TestMain(m *testing.M) {
	netlab.Main(cleaned{m}, append(serve.Tools(), seeing())...)
}

// loopback brings up what an ordinary user's own network namespace has down.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil || lo.Attrs().Flags&net.FlagUp != 0 {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// cleaned ends the browser after the tests.
type cleaned struct{ m *testing.M }

func (c cleaned) Run() int {
	defer theBrowser.end()
	if err := loopback(); err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		return 1
	}
	return c.m.Run()
}

// browser is one Chromium for all tests: it takes a second to start.
type browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

var theBrowser browser

// launch starts a Chromium that nobody looks at.
func launch(program string) (ctx context.Context, stop func(), err error) {
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, func() {}, err
	}
	alloc, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("font-render-hinting", "none"), chromedp.Flag("disable-lcd-text", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("no-proxy-server", true))...)
	ctx, cancel := chromedp.NewContext(alloc)
	stop = func() {
		cancel()
		end()
		os.RemoveAll(dir)
	}
	return ctx, stop, chromedp.Do(ctx)
}

func (b *browser) end() {
	if b.stop != nil {
		b.stop()
	}
}

// chromium is the program. Without it the tests of the page are skipped,
// but not in CI, which installs it: make deps.
func chromium(t *testing.T) string {
	t.Helper()
	if testing.Short() { // as make race asks: the page is no Go
		t.Skip("the page is looked at without -short")
	}
	path, err := exec.LookPath("chromium")
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%v: make deps installs it", err)
	default:
		t.Skipf("the page is tested in Chromium: %v; make deps installs it", err)
	}
	return ""
}

// tab is a person at the page.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open opens a new tab of width x height.
func open(t *testing.T, width, height int64, scheme string) *tab {
	t.Helper()
	program := chromium(t)
	theBrowser.once.Do(func() { theBrowser.ctx, theBrowser.stop, theBrowser.err = launch(program) })
	if theBrowser.err != nil {
		t.Fatalf("start Chromium: %v", theBrowser.err)
	}
	ctx, cancel := chromedp.NewContext(theBrowser.ctx)
	t.Cleanup(cancel)
	u := &tab{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	u.complaints()
	u.looks(width, height, scheme)
	return u
}

// complaints fails the test where a script of the page fails, or the browser
// refuses something for its policy.
func (u *tab) complaints() {
	u.t.Helper()
	var mu sync.Mutex
	var all []string
	err := chromedp.Listen(u.ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			all = append(all, fmt.Sprintf("%s %s:%d", ev.ExceptionDetails.Exception.Description, ev.ExceptionDetails.URL, ev.ExceptionDetails.LineNumber))
		case *log.EventEntryAdded:
			if ev.Entry.Source != log.EntrySourceNetwork {
				all = append(all, string(ev.Entry.Source)+": "+ev.Entry.Text)
			}
		}
	})
	if err == nil {
		_, err = chromedp.Call(u.ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			u.t.Errorf("the browser complains: %s", c)
		}
	})
}

// looks sets how the page is looked at.
func (u *tab) looks(width, height int64, scheme string) {
	u.t.Helper()
	_, err := chromedp.Call(u.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
	if err == nil {
		_, err = chromedp.Call(u.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		u.t.Fatal(err)
	}
}

func (u *tab) visit(url string) {
	u.t.Helper()
	u.do(chromedp.Navigate(url))
}

// press sends keys to whatever has the focus.
func (u *tab) press(keys string) {
	u.t.Helper()
	u.do(chromedp.KeyEvent(keys))
}

// slash presses the key as a keyboard does: what the page prevents is not typed.
func (u *tab) slash() {
	u.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		p := input.DispatchKeyEventParams{Type: kind, Key: "/", Code: "Slash"}
		if kind == input.DispatchKeyEventTypeKeyDown {
			p.Text = "/"
		}
		if _, err := chromedp.Call(u.ctx, input.DispatchKeyEvent, p); err != nil {
			u.t.Fatal(err)
		}
	}
}

// until waits for a JavaScript expression to be true.
func (u *tab) until(expr string) {
	u.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if eval[bool](u, "Boolean("+expr+")") {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("not so within %v: %s\n%s", patience, expr, eval[string](u, "document.body.innerText"))
		}
	}
}

// patience is how long anything may take before a test gives up.
const patience = 20 * time.Second

// eval asks for the value of a JavaScript expression.
func eval[T any](u *tab, expr string) T {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr))
	if err != nil {
		u.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// daemon is a page with its API in front of a backend.
type daemon struct {
	t    *testing.T
	api  http.Handler
	addr string
	stop func()
	// without is a call that the daemon does not know; set it before it is asked.
	without string
	// silent: who asks for the stream gets no answer, and is counted.
	silent atomic.Bool
	asked  atomic.Int32
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.without != "" && r.URL.Path == d.without {
		http.NotFound(w, r)
		return
	}
	if r.URL.Path == "/v1/watch" && d.silent.Load() {
		d.asked.Add(1)
		<-r.Context().Done()
		return
	}
	d.api.ServeHTTP(w, r)
}

// start serves b at addr, or at a port of its own, until the test ends or stop
// is called.
func start(t *testing.T, b api.Backend, addr string, change bool) *daemon {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	control, err := api.New(api.Options{Socket: filepath.Join(t.TempDir(), "api.sock"), Backend: b, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	d := &daemon{t: t, api: control.PageHandler(change)}
	s, err := New(Options{Listen: addr, API: d, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	d.addr = s.Addr().String()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) url() string { return "http://" + d.addr + "/" }

func (d *daemon) get(path string, change func(*http.Request)) *http.Response {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+d.addr+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { res.Body.Close() })
	return res
}
