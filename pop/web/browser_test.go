package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"github.com/catchment/catchment/pop/api"
)

func TestMain(m *testing.M) {
	netlab.Main(cleaned{m}, append(serve.Tools(), seeing())...)
}

// cleaned ends the browser after the tests.
type cleaned struct{ m *testing.M }

func (c cleaned) Run() int {
	defer theBrowser.end()
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
	u.looks(width, height, scheme)
	return u
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
	b    api.Backend
	addr string
	stop func()
}

// start serves b at addr, or at a port of its own, until the test ends or stop
// is called.
func start(t *testing.T, b api.Backend, addr string, change bool) *daemon {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	control, err := api.New(api.Options{Socket: filepath.Join(t.TempDir(), "api.sock"), Backend: b, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	s, err := New(Options{Listen: addr, Change: change, API: control.PageHandler(change), Logger: log})
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
	d := &daemon{t: t, b: b, addr: s.Addr().String()}
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

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
