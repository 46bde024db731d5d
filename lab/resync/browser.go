package resync

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromiumMain downloads with Chromium as it is installed, headless. Its
// downloader goes on by itself after a time-out and after an end that comes too
// early, but after a reset it waits for its user: Resume is pressed then in
// chrome://downloads, and OUT.says how often.
func chromiumMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("chromium", flag.ContinueOnError)
	url := fs.String("url", "", "what to download")
	out := fs.String("out", "", "the file; what is not whole yet is in OUT.dir")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir := *out + ".dir"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(*out+".profile"), chromedp.Flag("no-proxy-server", true))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		return err
	}
	ended := make(chan *browser.EventDownloadProgress, 1)
	if err := chromedp.ListenBrowser(ctx, func(ev any) {
		if e, ok := ev.(*browser.EventDownloadProgress); ok && e.State != browser.DownloadProgressStateInProgress {
			select {
			case ended <- e:
			default:
			}
		}
	}); err != nil {
		return err
	}
	events := true
	if _, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: &events}); err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: *url}); err != nil {
		return err
	}
	select {
	case e := <-ended:
		file, pressed := filepath.Join(dir, e.GUID), 0
		if e.State != browser.DownloadProgressStateCompleted {
			var err error
			if pressed, err = pressResume(ctx, file); err != nil {
				return fmt.Errorf("%s at %.0f of %.0f bytes: %w", e.State, e.ReceivedBytes, e.TotalBytes, err)
			}
		}
		if err := os.WriteFile(*out+".says", fmt.Appendf(nil, "presses of Resume: %d\n", pressed), 0o600); err != nil {
			return err
		}
		return os.Rename(file, *out)
	case <-ctx.Done():
		return errors.Join(errors.New("the browser has ended"), ctx.Err())
	}
}

// resumeButton presses Resume where the list of downloads shows it, and says
// whether it was there.
const resumeButton = `(() => {
	const found = n => {
		for (const e of n.querySelectorAll('*')) {
			if (e.id === 'pause-or-resume' && !e.hidden && e.textContent.includes('Resume')) return e;
			const b = e.shadowRoot && found(e.shadowRoot);
			if (b) return b;
		}
	};
	const b = found(document);
	if (b) b.click();
	return !!b;
})()`

// pressResume presses Resume as often as the download is interrupted, until the
// file is there. The protocol tells no more of a download that was interrupted
// once.
func pressResume(ctx context.Context, file string) (pressed int, err error) {
	if _, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: "chrome://downloads"}); err != nil {
		return 0, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(file); err == nil {
			return pressed, nil
		}
		r, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: resumeButton})
		if err != nil {
			return pressed, err
		}
		if string(r.Result.Value) == "true" {
			pressed++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return pressed, fmt.Errorf("after %d presses of Resume: %w", pressed, ctx.Err())
		}
	}
}
