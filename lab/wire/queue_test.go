package wire

import (
	"testing"
	"time"
)

func TestQueueDelaysAndSerializes(t *testing.T) {
	now := time.Now()
	data := make([]byte, header+125) // 1000 bits on the line
	for _, tc := range []struct {
		name string
		cfg  Config
		due  []time.Duration // of frames pushed at the same moment
	}{
		{"plain", Config{}, []time.Duration{0, 0, 0}},
		{"delay", Config{Delay: 20 * time.Millisecond}, []time.Duration{20e6, 20e6, 20e6}},
		{"rate", Config{Rate: 1_000_000}, []time.Duration{1e6, 2e6, 3e6}},
		{"both", Config{Rate: 1_000_000, Delay: 5e6}, []time.Duration{6e6, 7e6, 8e6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := newQueue(1)
			for range tc.due {
				if got := q.push(data, &tc.cfg, now); got != queued {
					t.Fatalf("push: %v", got)
				}
			}
			for i, want := range tc.due {
				if got := q.frames[i].due.Sub(now); got != want {
					t.Errorf("frame %d is due after %v, want %v", i, got, want)
				}
				if n := q.due(now.Add(want-1), 9); n > i {
					t.Errorf("%d frames are due before %v", n, want)
				}
				if n := q.due(now.Add(want), 9); n <= i || q.due(now.Add(want), i) != i {
					t.Errorf("%d frames are due at %v", n, want)
				}
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	q, now := newQueue(1), time.Now()
	cfg := Config{Rate: 1_000_000, Queue: 1000}
	data := make([]byte, 250)
	taken := 0
	for range 10 {
		if q.push(data, &cfg, now) == queued {
			taken++
		}
	}
	// 240 bytes of each frame count on the line, and the last must fit whole.
	if taken != 4 {
		t.Errorf("%d frames of 250 bytes were taken by a queue of 1000", taken)
	}
	// When the line has sent them there is room again.
	if got := q.push(data, &cfg, now.Add(10*time.Millisecond)); got != queued {
		t.Errorf("after the queue has drained: %v", got)
	}
}

func TestQueueLosesItsShare(t *testing.T) {
	q, now := newQueue(7), time.Now()
	cfg := Config{Loss: 0.1}
	gone := 0
	for range 10_000 {
		if q.push([]byte{1}, &cfg, now) == lost {
			gone++
		}
	}
	if gone < 850 || gone > 1150 {
		t.Errorf("lost %d of 10000, want about 1000", gone)
	}
}

func TestQueueKeepsOrderWhenDelayShrinks(t *testing.T) {
	q, now := newQueue(1), time.Now()
	q.push([]byte{1}, &Config{Delay: time.Second}, now)
	q.push([]byte{2}, &Config{}, now)
	a, b := q.frames[0], q.frames[1]
	if a.data[0] != 1 || b.data[0] != 2 || b.due.Before(a.due) {
		t.Errorf("frames %v then %v", a, b)
	}
}

// TestQueueKeepsBuffers: what is let go of is used again, and nothing of what
// still waits.
func TestQueueKeepsBuffers(t *testing.T) {
	q, now := newQueue(1), time.Now()
	for i := range 1000 {
		q.push([]byte{byte(i)}, &Config{}, now)
		if i%3 == 2 {
			q.drop(2)
		}
	}
	if len(q.frames) != 1000-2*333 || len(q.free) > 2 {
		t.Errorf("%d frames, %d buffers", len(q.frames), len(q.free))
	}
	for i, f := range q.frames {
		if len(f.data) != 1 || f.data[0] != byte(i+2*333) {
			t.Fatalf("frame %d is %v", i, f.data)
		}
	}
}

func TestParseVars(t *testing.T) {
	good := map[string]Config{
		"delay=20ms rate=100mbit loss=1% queue=1MB": {Delay: 20 * time.Millisecond, Rate: 1e8, Loss: 0.01, Queue: 1e6},
		"loss=0.5":      {Loss: 0.5},
		"rate=1.5gbit":  {Rate: 1_500_000_000},
		"queue=64KiB":   {Queue: 64 << 10},
		"queue=1500 b":  {Queue: 1500},
		"":              {},
		"delay=0s":      {},
		"rate=512 kbit": {Rate: 512_000},
	}
	for text, want := range good {
		if got, err := ParseVars(split(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"delay=20":   `vars delay: "20": time: missing unit in duration "20"`,
		"delay=-1ms": `vars delay: "-1ms": is negative`,
		"loss=2":     `vars loss: "2": is not between 0 and 1`,
		"loss=NaN":   `vars loss: "NaN": is not between 0 and 1`,
		"rate=fast":  `vars rate: "fast": want a number with a unit of bit, gbit, kbit, mbit`,
		"rate=0mbit": `vars rate: "0mbit": want a number with a unit of bit, gbit, kbit, mbit`,
		"jitter=1ms": `vars jitter: "1ms": is not known (delay, rate, loss, queue)`,
	} {
		if _, err := ParseVars(split(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// split reads "a=b c=d e": a word without = belongs to the value before it.
func split(text string) map[string]string {
	out := map[string]string{}
	key := ""
	for len(text) > 0 {
		i := 0
		for i < len(text) && text[i] != ' ' {
			i++
		}
		word := text[:i]
		text = text[min(i+1, len(text)):]
		k := 0
		for k < len(word) && word[k] != '=' {
			k++
		}
		if k < len(word) {
			key = word[:k]
			out[key] = word[k+1:]
		} else {
			out[key] += " " + word
		}
	}
	return out
}
