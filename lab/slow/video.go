package slow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/lab/netlab"
)

// The film: segments of 2 s at 1.6 Mbit/s. Players seek in the middle, to where
// they have nothing.
const (
	segments, segmentSize = 80, 400_000
	segmentLength         = 2 * time.Second
	films                 = 50 * time.Second
	seekAt, seekTo        = 25 * time.Second, 50
)

// steering is what is put into the site of both POPs: AMS is the cheaper one.
const steering = `s/^      cache: {override.*/&\n      steer: {targets: [{pop: AMS, host: ams.pop.example.net}], pace: true, redirect: true, reattach: 1s, buffer: 6s, paced-for: 3s, least: 256KiB}/`

// reattach is that of steering: nobody is redirected with less than twice that.
const reattach = time.Second

// video: a player that has a full buffer is paced and then sent to the cheap POP,
// segment by segment; when it seeks it is served by the near one at once; it
// never stalls, and what it has is right.
func (w *pops) video(ctx context.Context) (seen []string, goals []goal.Goal, err error) {
	if err := w.film(ctx); err != nil {
		return nil, nil, err
	}
	if err := eventually(ctx, "LON may send clients to AMS", func(ctx context.Context) error {
		if !strings.Contains(w.Log("lon"), "clients can be sent to AMS") {
			return errors.New("its log does not say so")
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	families := map[string]string{"4": "IPv4", "6": "IPv6"}
	var g errgroup.Group
	all := map[string]*played{}
	for f := range families {
		p := &played{}
		all[f] = p
		g.Go(func() error { return w.watch(ctx, f, p) })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	var sums viewing
	for f, word := range families {
		v, err := w.view(ctx, all[f])
		if err != nil {
			return seen, nil, fmt.Errorf("%s: %w: %+v", word, err, all[f])
		}
		seen = append(seen, word+": "+v.text)
		sums.add(&v)
	}
	return seen, []goal.Goal{
		goal.AtLeast("players-sent-to-the-cheap-pop", float64(sums.sent), 2), goal.AtMost("player-stalls", float64(sums.stalls), 0),
		goal.AtMost("seeks-redirected", float64(sums.seeks), 0), goal.AtMost("redirects-with-too-little-buffer", float64(sums.early), 0),
		goal.AtLeast("players-with-the-right-bytes", float64(sums.right), 2),
	}, nil
}

// film makes one at the origin: a playlist of variants, one of segments, and these.
func (w *pops) film(ctx context.Context) error {
	_, err := w.sh(ctx, "origin", fmt.Sprintf(`mkdir -p /run/www/v/v1; cd /run/www/v
printf '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=%d\nv1/index.m3u8\n' >master.m3u8
{ printf '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n'
for i in $(seq 0 %d); do head -c %d /dev/urandom >v1/seg-$i.ts; printf '#EXTINF:2.0,\nseg-%%d.ts\n' $i; done
printf '#EXT-X-ENDLIST\n'; } >v1/index.m3u8`, segmentSize*8/2, segments-1, segmentSize))
	return err
}

// watch has the fast client play the film.
func (w *pops) watch(ctx context.Context, family string, out *played) error {
	var said, errs bytes.Buffer
	p, err := w.Start("fast", netlab.Command{Stdout: &said, Stderr: &errs, Args: []string{"lab-player", "--server", lon4, "--family", family, "--url", "http://" + name + "/v/",
		"--length", segmentLength.String(), "--over", films.String(), "--seek", seekAt.String(), "--to", fmt.Sprint(seekTo)}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, films+patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("player: %w: %s", err, &errs)
	}
	return json.Unmarshal(said.Bytes(), out)
}

// viewing is what is made of a film that was played.
type viewing struct {
	sent, stalls, seeks, early, right int
	text                              string
}

func (v *viewing) add(o *viewing) {
	v.sent, v.stalls, v.seeks, v.early, v.right = v.sent+o.sent, v.stalls+o.stalls, v.seeks+o.seeks, v.early+o.early, v.right+o.right
}

// view judges it.
func (w *pops) view(ctx context.Context, p *played) (v viewing, err error) {
	files := ""
	first, away, least := -1, int64(0), time.Hour
	total, sought := int64(0), part{Segment: -1}
	for i, x := range p.Parts {
		files += fmt.Sprintf(" seg-%d.ts", x.Segment)
		total += x.Bytes
		if x.Sought {
			sought = x
			if x.Sent {
				v.seeks++
			}
		}
		if !x.Sent {
			continue
		}
		if away += x.Bytes; first < 0 {
			first = i
		}
		if least = min(least, x.Buffer); x.Buffer < 2*reattach {
			v.early++
		}
	}
	if sought.Segment < 0 {
		return v, fmt.Errorf("it has not come to the seek")
	}
	want, err := w.sh(ctx, "origin", "cd /run/www/v/v1; cat"+files+" | sha256sum | cut -d ' ' -f 1")
	if err != nil {
		return v, err
	}
	if want == p.SHA256 {
		v.right = 1
	}
	v.stalls = p.Stalls
	if first < 0 {
		why, _ := w.sh(ctx, "lon", "grep -o '\"steer\":\"[^\"]*' /run/access.log | sort | uniq -c")
		v.text = "never sent to AMS: " + strings.Join(strings.Fields(why), " ")
		return v, nil
	}
	v.sent = 1
	v.text = fmt.Sprintf("%d segments, %.0f %% of the bytes from AMS, the first with %.1f s in its buffer, none with less than %.1f s; the one it sought from %s after %.0f ms; %d stalls; SHA-256 right: %v",
		len(p.Parts), 100*float64(away)/float64(total), p.Parts[first].Buffer.Seconds(), least.Seconds(), sought.From, sought.First.Seconds()*1000, p.Stalls, v.right == 1)
	return v, nil
}
