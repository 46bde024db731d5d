package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/pop/api"
)

// seen is what the tool tells, a line each.
type seen struct {
	What    string `json:"what"`    // ready: all is announced; shown: the withdraw is on the page
	At      int64  `json:"at"`      // by the node's clock, in ms, when the page's DOM changed
	Verdict string `json:"verdict"` // the first words of the page
	FRA     string `json:"fra"`     // what the page says of the other POP
}

// seeing is the tool that looks at the page from within a node: a Chromium on
// the POP's own loopback, as an operator's through ssh -L.
func seeing() netlab.Tool {
	return netlab.Tool{Name: "see-page", Main: func(ctx context.Context, args []string) error {
		program, err := exec.LookPath("chromium")
		if err != nil {
			return err
		}
		browser, stop, err := launch(program)
		defer stop()
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, stop)()
		if err := chromedp.Do(browser, chromedp.Navigate(args[0])); err != nil {
			return err
		}
		for {
			if err := lookOn(browser, os.Stdout); err != nil {
				return err
			}
		}
	}}
}

// own are the cells of the POP's own stances; noted is when all of them first
// said withdraw, which a MutationObserver notes, so that no poll counts.
const own = `[...document.querySelectorAll('#slices [data-pop="LON"]')]`

const observe = `{
	window.noted = 0;
	window.observer?.disconnect();
	window.observer = new MutationObserver(() => {
		const all = ` + own + `;
		if (!window.noted && all.length && all.every((e) => e.dataset.action === "withdraw")) window.noted = Date.now();
	});
	window.observer.observe(document.getElementById("slices"), { subtree: true, childList: true, attributes: true, characterData: true });
}`

// lookOn tells of one withdraw, once both POPs announce all and know it of one
// another.
func lookOn(ctx context.Context, out io.Writer) error {
	const ready = `Boolean(document.querySelector("#feed.good") && document.querySelector("#verdict.good") && ` + own + `.length === 2 &&
		[...document.querySelectorAll("#slices td.stance")].every((e) => e.dataset.action === "announce" && e.classList.contains("good")))`
	if err := poll(ctx, ready); err != nil {
		return fmt.Errorf("until all is announced: %w", err)
	}
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](observe)); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(seen{What: "ready"}); err != nil {
		return err
	}
	if err := poll(ctx, "window.noted > 0"); err != nil {
		return fmt.Errorf("until the withdraw is shown: %w", err)
	}
	s, err := chromedp.Run(ctx, chromedp.Evaluate[seen](`({
		what: "shown", at: window.noted, verdict: document.getElementById("verdict").innerText,
		fra: document.querySelector('#slices [data-pop="FRA"]').innerText,
	})`))
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}

func poll(ctx context.Context, expr string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expr))
		if err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
			return errors.New("not within a minute; the page says:\n" + text)
		}
	}
}

// bound is how long after the decision the page must show a withdraw. A
// machine that stands still for a moment is no fault of the page: of some
// tries one must hold.
const (
	bound = time.Second
	tries = 3
)

// TestShowsAWithdrawWithinASecond: in a running lab, a killed service.
func TestShowsAWithdrawWithinASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("brings up a lab; run without -short")
	}
	chromium(t)
	lab := bringUp(t)
	out, in := io.Pipe()
	p, err := lab.Start("lon", netlab.Command{Args: []string{"see-page", "http://127.0.0.1:9797/"}, Stdout: in, Env: []string{"HOME=/root"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-p.Done(); in.Close() }()
	t.Cleanup(func() { p.Signal(syscall.SIGTERM); <-p.Done() })
	told := bufio.NewScanner(out)
	for try := 1; ; try++ {
		next(t, lab, told, "ready")
		if _, err := lab.Signal(t.Context(), "lon", "lab-serve", syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s := next(t, lab, told, "shown")
		decided := withdrawn(t, lab)
		late := time.UnixMilli(s.At).Sub(decided)
		t.Logf("try %d: on the page %v after the decision; it says:\n%s\nof FRA: %s", try, late, s.Verdict, s.FRA)
		if !strings.Contains(s.Verdict, "web is down and withdrawn at LON") || !strings.Contains(s.Verdict, "connection refused") {
			t.Errorf("the page does not begin with what is wrong and why")
		}
		if !strings.Contains(s.FRA, "announce") || !strings.Contains(s.FRA, "healthy") {
			t.Errorf("of FRA it says %q, want its stance and its reason", s.FRA)
		}
		if late <= bound || t.Failed() {
			return
		}
		if try == tries {
			t.Fatalf("%d times the page was later than %v", tries, bound)
		}
		if _, err := lab.Start("lon", netlab.Command{Args: []string{"start-service"}}); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, lab *netlab.Lab, told *bufio.Scanner, what string) (s seen) {
	t.Helper()
	if !told.Scan() {
		t.Fatalf("nobody looks any more: %v\n%s", told.Err(), lab.Log("lon"))
	}
	if err := json.Unmarshal(told.Bytes(), &s); err != nil || s.What != what {
		t.Fatalf("told %s (%v), want %s", told.Bytes(), err, what)
	}
	return s
}

// withdrawn is when the daemon decided on the last of its withdraws.
func withdrawn(t *testing.T, lab *netlab.Lab) (at time.Time) {
	t.Helper()
	text, err := lab.Exec(t.Context(), "lon", "catchment", "journal", "-j")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		var e api.JournalEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Kind == "decision" && strings.Contains(e.Text, "-> withdraw") {
			at = e.Time
		}
	}
	if at.IsZero() {
		t.Fatalf("no withdraw in the journal:\n%s", text)
	}
	return at
}

// bringUp starts two POPs and their routers.
func bringUp(t *testing.T) *netlab.Lab {
	t.Helper()
	if _, err := os.Stat("/usr/lib/frr/bgpd"); err != nil {
		t.Fatalf("%v: make deps installs FRR", err)
	}
	bin := os.Getenv("CATCHMENT_BIN")
	if bin == "" {
		bin = t.TempDir()
		build := exec.Command("go", "build", "-o", bin, "github.com/catchment/catchment/cmd/catchmentd", "github.com/catchment/catchment/cmd/catchment")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the nodes' programs: %v\n%s", err, out)
		}
	}
	topo, err := netlab.Load("../../lab/two-pops.clab.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	topo.Name = "page"
	lab, err := netlab.Up(t.Context(), topo, netlab.Options{Bin: bin, Images: "../../lab/images"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lab.Log("lon"))
		}
		lab.Down()
	})
	return lab
}
