package serve

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/catchment/catchment/lab/netlab"
)

// Tools are these as commands inside lab nodes:
//
//	lab-serve --name LON --listen 192.0.2.1:80,[2001:db8::1]:80 [--sick-file /run/sick] [--page /run/load.json]
//	lab-fetch --url http://192.0.2.1/ [--every 100ms] [--timeout 1s] [--count N] [--again]
//	lab-load --urls http://192.0.2.1/,http://[2001:db8::1]/ --rate 50 [--rate-file /run/rate] [--out /run/load.json]
//	lab-garbage --to 10.0.1.2:179 [--count 100] [--seed 1]
//
// `catchment lab serve` and `catchment lab fetch` take the flags of the first two.
func Tools() []netlab.Tool {
	return []netlab.Tool{
		{Name: "lab-serve", Main: ServeMain},
		{Name: "lab-fetch", Main: FetchMain},
		{Name: "lab-load", Main: LoadMain},
		{Name: "lab-garbage", Main: GarbageMain},
	}
}

// ServeMain is Serve with command line arguments.
func ServeMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	var o ServerOptions
	fs.StringVar(&o.Name, "name", "", "what to answer with, the POP's name")
	listen := fs.String("listen", "[::]:80", "addresses to listen on, with commas between; they need not exist yet")
	fs.StringVar(&o.SickFile, "sick-file", "", "while this file exists, /healthz answers 503")
	fs.StringVar(&o.PageFile, "page", "", "the file that /page answers with")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.Listen = strings.Split(*listen, ",")
	return Serve(ctx, o)
}

// FetchMain is Fetch with command line arguments: one JSON object a line.
func FetchMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("fetch", flag.ContinueOnError)
	o := FetchOptions{Answer: func(a Answer) { fmt.Fprintln(os.Stdout, a.Line()) }}
	fs.StringVar(&o.URL, "url", "", "what to fetch")
	fs.DurationVar(&o.Every, "every", 0, "time from request to request (default 100ms)")
	fs.DurationVar(&o.Timeout, "timeout", 0, "time for one request (default 1s)")
	fs.IntVar(&o.Count, "count", 0, "number of requests; 0 means until a signal")
	fs.BoolVar(&o.Again, "again", false, "ask once more when a connection was cut, as browsers do")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return Fetch(ctx, o)
}

// LoadMain is Load with command line arguments: what has happened so far as
// one JSON object, a line a second, or always in the same file.
func LoadMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	var o LoadOptions
	urls := fs.String("urls", "", "what to fetch, with commas between")
	fs.Float64Var(&o.Rate, "rate", 10, "requests a second")
	fs.StringVar(&o.RateFile, "rate-file", "", "while this file exists its number is the rate")
	fs.DurationVar(&o.Timeout, "timeout", 0, "time for one request (default 1s)")
	out := fs.String("out", "", "keep the newest line in this file instead of printing all")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *urls != "" {
		o.URLs = strings.Split(*urls, ",")
	}
	o.Report = func(r LoadReport) {
		line, err := json.Marshal(r)
		if err == nil && *out != "" {
			err = os.WriteFile(*out+".new", append(line, '\n'), 0o644)
			if err == nil {
				err = os.Rename(*out+".new", *out)
			}
		} else if err == nil {
			fmt.Println(string(line))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "lab-load:", err)
		}
	}
	return Load(ctx, o)
}
