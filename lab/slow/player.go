package slow

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

// Tools are the commands of the clients:
//
//	lab-player --server 10.0.1.2 --family 4 --url http://www.example.net/v/    plays a film of segments, in real time
func Tools() []netlab.Tool { return []netlab.Tool{{Name: "lab-player", Main: playerMain}} }

// part is a segment that was fetched.
type part struct {
	Segment int           `json:"segment"`
	From    string        `json:"from"`   // host that sent it
	Sent    bool          `json:"sent"`   // there by a redirect
	Buffer  time.Duration `json:"buffer"` // when it was asked for
	First   time.Duration `json:"first"`  // until the first byte
	Took    time.Duration `json:"took"`
	Sought  bool          `json:"sought"` // the first one after a seek
	Bytes   int64         `json:"bytes"`
}

// played is what became of a film.
type played struct {
	Parts  []part        `json:"parts"`
	Stalls int           `json:"stalls"` // times that the buffer ran empty
	Still  time.Duration `json:"still"`  // how long the picture stood then
	Start  time.Duration `json:"start"`  // until it played, the longer one of the beginning and the seek
	SHA256 string        `json:"sha256"` // of all that was fetched, in order
}

// player plays a film of segments of equal length: it has up to high in its
// buffer, plays once it has low, and seeks once.
type player struct {
	client     *http.Client
	url        string
	length     time.Duration // of a segment
	low, high  time.Duration
	over, seek time.Duration // after which time it ends, and seeks
	to         int           // segment that is sought

	ahead   time.Duration // buffer
	at      time.Time     // when ahead was so
	running bool
	began   time.Time // waiting for low since
	out     played
}

func playerMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("player", flag.ContinueOnError)
	p := &player{}
	var server, family string
	fs.StringVar(&server, "server", "", "address of the DNS server")
	fs.StringVar(&family, "family", "4", "of the addresses: 4 or 6")
	fs.StringVar(&p.url, "url", "", "where the film is")
	fs.DurationVar(&p.length, "length", 2*time.Second, "of a segment")
	fs.DurationVar(&p.low, "low", 4*time.Second, "buffer with which it plays")
	fs.DurationVar(&p.high, "high", 16*time.Second, "buffer with which it waits")
	fs.DurationVar(&p.over, "over", time.Minute, "how long it plays")
	fs.DurationVar(&p.seek, "seek", 0, "after this time it seeks")
	fs.IntVar(&p.to, "to", 0, "the segment that it seeks")
	if err := fs.Parse(args); err != nil {
		return err
	}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
	d := net.Dialer{Resolver: r, Timeout: 10 * time.Second}
	d.SetMultipathTCP(false)
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network+family, addr)
	}}}
	if err := p.play(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p.out)
}

// pass lets the film go on up to now.
func (p *player) pass(now time.Time) {
	d := now.Sub(p.at)
	p.at = now
	switch {
	case !p.running:
	case d <= p.ahead:
		p.ahead -= d
	default:
		p.out.Stalls++
		p.out.Still += d - p.ahead
		p.ahead, p.running, p.began = 0, false, now
	}
	if !p.running && p.ahead >= p.low {
		p.running = true
		p.out.Start = max(p.out.Start, now.Sub(p.began))
	}
}

func (p *player) play(ctx context.Context) error {
	for _, m := range []string{"master.m3u8", "v1/index.m3u8"} {
		if _, err := p.get(ctx, m, io.Discard); err != nil {
			return err
		}
	}
	sum := sha256.New()
	start := time.Now()
	p.at, p.began = start, start
	sought := false
	for next := 0; time.Since(start) < p.over; {
		p.pass(time.Now())
		jump := p.seek > 0 && !sought && time.Since(start) >= p.seek
		if jump {
			sought, next = true, p.to
			p.ahead, p.running, p.began = 0, false, p.at
		}
		if p.ahead+p.length > p.high {
			if err := await.Lapse(ctx, p.ahead+p.length-p.high+time.Millisecond); err != nil {
				return err
			}
			continue
		}
		before := p.ahead
		x, err := p.get(ctx, fmt.Sprintf("v1/seg-%d.ts", next), sum)
		if err != nil {
			return err
		}
		x.Segment, x.Buffer, x.Sought = next, before, jump
		p.out.Parts = append(p.out.Parts, x)
		p.pass(time.Now())
		p.ahead += p.length
		next++
	}
	p.out.SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	return nil
}

// get fetches a file of the film.
func (p *player) get(ctx context.Context, name string, to io.Writer) (x part, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+name, nil)
	if err != nil {
		return x, err
	}
	began := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return x, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return x, errors.New(resp.Status)
	}
	x.First, x.From, x.Sent = time.Since(began), resp.Request.URL.Hostname(), resp.Request.URL.Hostname() != req.URL.Hostname()
	x.Bytes, err = io.Copy(to, resp.Body)
	x.Took = time.Since(began)
	return x, err
}
