package slowness

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// wire is a transfer that is simulated in steps of 10 ms, with the counters
// that a kernel would keep: a path with a rate, a queue and random loss, and a
// client with a window and a way to read.
type wire struct {
	rate, loss float64 // bytes a second, share
	rtt        float64 // seconds, without a queue
	queue      float64 // bytes that fit into the queue
	window     float64 // the client's receive buffer
	reads      float64 // bytes a second that the client reads while it reads
	low, high  float64 // a player reads until it has high, and again below low; 0: always
	plays      float64 // bytes a second that a player plays
	size       float64
}

// labelled makes a transfer whose limit is known from how it was made.
func labelled(r *rand.Rand, c Class) wire {
	between := func(a, b float64) float64 { return a * math.Pow(b/a, r.Float64()) }
	w := wire{
		rate: between(2.5e6, 60e6), loss: 0.004 * r.Float64() * r.Float64(), rtt: between(0.005, 0.15), queue: between(60e3, 1e6),
		window: between(256e3, 6e6), reads: 1e9, size: between(2e6, 30e6),
	}
	if c != Fast {
		w.loss /= 4
	}
	switch c {
	case Fast:
		w.rtt = between(0.005, 0.08)
	case PathSlow:
		w.rate, w.queue, w.size = between(20e3, 450e3), between(30e3, 400e3), between(300e3, 6e6)
	case ReceiverSlow:
		w.reads, w.size = between(20e3, 450e3), between(2e6, 8e6)
		w.window = between(64e3, 0.3*w.size)
	case BufferFull:
		w.plays = between(60e3, 1.2e6)
		w.low, w.high = w.plays*10, w.plays*between(12, 25)
		w.size = w.plays * between(60, 240)
		w.window = between(64e3, 2e6)
		w.rtt = between(0.005, 0.05)
	case Lossy:
		w.loss, w.rtt = between(0.03, 0.15), between(0.07, 0.25)
		w.queue, w.size = 1e6, between(300e3, 4e6)
	}
	return w
}

const step = 0.01

// run plays the transfer and gives what the kernel would have told at its end.
func (w *wire) run(r *rand.Rand) Sample {
	const mss = 1448.0
	cwnd, ssthresh := 10*mss, 1e12
	var sent, acked, queued, held, buffered, t, busy, limitedTime, segments, again, srtt, peak float64
	reading, quiet := true, 0.0
	minRTT := math.Inf(1)
	for acked < w.size && t < 300 {
		rtt := w.rtt + queued/w.rate
		if srtt += (rtt - srtt) * 0.1; t == 0 {
			srtt = rtt
		}
		minRTT = min(minRTT, rtt*(1+0.05*r.Float64()))
		room := max(0, w.window-held)
		flight := min(cwnd, room)
		out := min(flight/rtt*step, w.size-sent)
		if room < cwnd && room < w.size-sent {
			limitedTime += step
		}
		busy += step
		queued = max(0, queued+out-w.rate*step)
		got := out
		if queued > 0 {
			got = min(out, w.rate*step)
		}
		sent, acked, held = sent+out, acked+got, held+got
		sent = acked + min(sent-acked, 0) // what is in the queue is acked when it leaves
		if t > 1 {
			peak = max(peak*0.995, got/step)
		}
		lost := 0.0
		for range int(out/mss + r.Float64()) {
			segments++
			if r.Float64() < w.loss {
				lost++
			}
		}
		if queued > w.queue {
			lost++
			queued = w.queue
		}
		again += lost
		if quiet -= step; lost > 0 && quiet <= 0 {
			cwnd, quiet = max(2*mss, cwnd/2), rtt
			ssthresh = cwnd
		} else if lost == 0 && cwnd <= room*1.1 {
			if cwnd < ssthresh {
				cwnd += out
			} else {
				cwnd += mss * step / rtt
			}
		}
		if w.plays > 0 {
			if buffered = max(0, buffered-w.plays*step); buffered < w.low {
				reading = true
			} else if buffered > w.high {
				reading = false
			}
		}
		if reading {
			n := min(held, w.reads*step)
			held, buffered = held-n, buffered+n
		}
		t += step
	}
	noisy := func(x float64) float64 { return x * (0.95 + 0.1*r.Float64()) }
	d := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Sample{
		Bytes: uint64(acked), Elapsed: d(t), Busy: d(min(t, noisy(busy))), Receiver: d(min(t, noisy(limitedTime))), Peak: uint64(noisy(peak)),
		RTT: d(srtt), MinRTT: d(minRTT), Sent: uint64(segments), Again: uint64(again),
	}
}

// TestClassifierOnSimulatedFlows: precision and recall of each class over
// transfers whose limit is known from how they were made.
func TestClassifierOnSimulatedFlows(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var table [classes][classes]int
	for c := Fast; c < classes; c++ {
		for range 400 {
			w := labelled(r, c)
			s := w.run(r)
			got, sure := Limits{}.Classify(&s)
			if table[c][got]++; sure < 0.5 || sure > 1 {
				t.Fatalf("%v with confidence %v", got, sure)
			}
		}
	}
	for c := Fast; c < classes; c++ {
		found, said := 0, 0
		for x := range classes {
			found, said = found+table[c][x], said+table[x][c]
		}
		precision, recall := float64(table[c][c])/float64(max(1, said)), float64(table[c][c])/float64(found)
		t.Logf("%-13v precision %.3f, recall %.3f  %v", c, precision, recall, table[c])
		if precision < 0.95 || recall < 0.9 {
			t.Errorf("%v: precision %.3f, want 0.95; recall %.3f, want 0.90", c, precision, recall)
		}
	}
}

func TestClassifyAtTheBorders(t *testing.T) {
	sec := time.Second
	base := Sample{Bytes: 10e6, Elapsed: 10 * sec, Busy: 10 * sec, Sent: 7000, RTT: 30e6, MinRTT: 20e6}
	for _, c := range []struct {
		what string
		do   func(s *Sample)
		want Class
	}{
		{"as it is", func(*Sample) {}, Fast},
		{"nothing", func(s *Sample) { *s = Sample{} }, Unclear},
		{"few bytes", func(s *Sample) { s.Bytes = 60 << 10 }, Unclear},
		{"a short time", func(s *Sample) { s.Bytes, s.Elapsed = 1e5, sec/5-1 }, Unclear},
		{"a short time, and fast", func(s *Sample) { s.Bytes, s.Elapsed = 1e6, sec/10 }, Fast},
		{"slow", func(s *Sample) { s.Bytes = 1e6 }, PathSlow},
		{"slow, with losses", func(s *Sample) { s.Bytes, s.Again = 1e6, 300 }, Lossy},
		{"slow, with losses of its own queue", func(s *Sample) { s.Bytes, s.Again, s.RTT = 1e6, 300, 300e6 }, PathSlow},
		{"fast, with losses", func(s *Sample) { s.Again = 300 }, Fast},
		{"nothing to send most of the time", func(s *Sample) { s.Bytes, s.Busy = 1e6, sec }, Fast},
		{"the window is the limit of a fast one", func(s *Sample) { s.Receiver = 9 * sec }, Fast},
		{"reads slowly", func(s *Sample) { s.Bytes, s.Receiver = 1e6, 9*sec }, ReceiverSlow},
		{"reads in bursts", func(s *Sample) { s.Bytes, s.Receiver, s.Peak = 1e6, 9*sec, 5e6 }, BufferFull},
		{"reads in slow bursts", func(s *Sample) { s.Bytes, s.Receiver, s.Peak = 1e6, 9*sec, 300e3 }, ReceiverSlow},
		{"at our own pace", func(s *Sample) { s.Bytes, s.Pace = 1e6, 120e3 }, Unclear},
		{"far below our own pace", func(s *Sample) { s.Bytes, s.Pace = 1e6, 600e3 }, PathSlow},
		{"fast, at our own pace", func(s *Sample) { s.Pace = 1e6 }, Fast},
		{"short, over a long path", func(s *Sample) { s.Bytes, s.Elapsed, s.Busy, s.RTT, s.MinRTT = 70e3, sec/2, 4*sec/10, 1e8, 1e8 }, Unclear},
		{"short, over a long path, and faster than it could show", func(s *Sample) {
			s.Bytes, s.Elapsed, s.Busy, s.RTT, s.MinRTT, s.Peak = 70e3, sec/2, 4*sec/10, 1e8, 1e8, 580e3
		}, Fast},
		{"short, over a short path", func(s *Sample) { s.Bytes, s.Elapsed, s.Busy = 70e3, sec/2, 4*sec/10 }, PathSlow},
		{"small pieces", func(s *Sample) { s.Bytes, s.AppLimited = 1e6, true }, Unclear},
		{"small pieces of one that could be fast", func(s *Sample) { s.Bytes, s.Peak = 1e6, 3e6 }, Unclear},
		{"small pieces, fast within", func(s *Sample) { s.Bytes, s.Peak, s.AppLimited = 1e6, 1e6, true }, Fast},
		{"a small window", func(s *Sample) { s.Bytes, s.Looks, s.Window = 1e6, 10, 3e3 }, ReceiverSlow},
		{"a small window that a queue holds", func(s *Sample) { s.Bytes, s.Looks, s.Window, s.RTT, s.Receiver = 1e6, 10, 60e3, 6e8, 9*sec }, PathSlow},
		{"pauses", func(s *Sample) { s.Bytes, s.Looks, s.Receiver, s.Quiet = 1e6, 10, 9*sec, 6*sec }, BufferFull},
		{"bursts with short pauses", func(s *Sample) { s.Bytes, s.Looks, s.Receiver, s.Quiet, s.Speed = 1e6, 10, 9*sec, 3*sec, 9e5 }, BufferFull},
		{"bursts without pauses", func(s *Sample) { s.Bytes, s.Looks, s.Receiver, s.Quiet, s.Speed, s.Peak = 1e6, 10, 9*sec, 0, 9e5, 5e6 }, ReceiverSlow},
		{"pauses of the path", func(s *Sample) { s.Bytes, s.Looks, s.Quiet = 1e6, 10, 6*sec }, PathSlow},
		{"slow, with too little to send at the end", func(s *Sample) { s.Bytes, s.AppLimited, s.RTT = 1e6, true, 300e6 }, PathSlow},
		{"counters that cannot be", func(s *Sample) { s.Busy, s.Receiver, s.Again = 50*sec, 90*sec, 1e9 }, Fast},
	} {
		s := base
		c.do(&s)
		if got, _ := (Limits{}).Classify(&s); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// sampleOf is a sample of a class, as Classify sees it.
func sampleOf(c Class, client netip.Addr) *Sample {
	sec := time.Second
	s := &Sample{Client: client, Bytes: 10e6, Elapsed: 10 * sec, Busy: 10 * sec, Sent: 7000, RTT: 30e6, MinRTT: 20e6}
	switch c {
	case Unclear:
		s.Bytes = 1
	case PathSlow:
		s.Bytes = 1e6
	case ReceiverSlow:
		s.Bytes, s.Receiver = 1e6, 9*sec
	case BufferFull:
		s.Bytes, s.Receiver, s.Peak = 1e6, 9*sec, 5e6
	case Lossy:
		s.Bytes, s.Again = 1e6, 300
	}
	return s
}
