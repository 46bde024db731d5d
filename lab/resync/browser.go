package resync

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// chromiumMain downloads with Chromium as it is installed, headless, and waits
// until its downloader says that it is done or has given up.
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
	done := make(chan *browser.EventDownloadProgress, 1)
	if err := chromedp.ListenBrowser(ctx, func(ev any) {
		if e, ok := ev.(*browser.EventDownloadProgress); ok && e.State != browser.DownloadProgressStateInProgress {
			select {
			case done <- e:
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
	case e := <-done:
		if e.State != browser.DownloadProgressStateCompleted {
			return fmt.Errorf("it has given up: %s at %.0f of %.0f bytes", e.State, e.ReceivedBytes, e.TotalBytes)
		}
		return os.Rename(filepath.Join(dir, e.GUID), *out)
	case <-ctx.Done():
		return errors.Join(errors.New("the browser has ended"), ctx.Err())
	}
}
