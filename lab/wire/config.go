// Package wire delays, limits and loses packets between two interfaces, for
// labs on kernels without netem and without rights over the host's queues.
//
// It decides when a frame that entered one end leaves the other, and owns two
// packet sockets for that. It never changes a frame, nor an interface.
//
// A frame that arrived at one end, by the clock of the kernel and not by when
// somebody came to read it, waits in a queue of its direction: Rate puts it
// behind what is being sent, Delay adds the way, Loss throws it away at
// random, and what does not fit in Queue is dropped.
package wire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what a wire does, the same in both directions. The zero Config
// is a plain cable.
type Config struct {
	Delay time.Duration // one way
	Rate  int64         // bits a second; 0: unlimited
	Loss  float64       // share of frames lost, 0 to 1
	Queue int           // bytes waiting for Rate; 0: 1 MB
}

const defaultQueue = 1_000_000

// NeedsPackets says whether the wire must see single packets and not the
// kernel's bundles of them, to count or lose them one by one.
func (c Config) NeedsPackets() bool { return c.Rate > 0 || c.Loss > 0 }

// ParseVars reads the vars of a topology link: delay: 20ms, rate: 100mbit,
// loss: 1%, queue: 1MB. Unknown names are refused.
func ParseVars(vars map[string]string) (Config, error) {
	var c Config
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		value := vars[key]
		var err error
		switch key {
		case "delay":
			c.Delay, err = time.ParseDuration(value)
			if err == nil && c.Delay < 0 {
				err = fmt.Errorf("is negative")
			}
		case "rate":
			c.Rate, err = parseUnits(value, map[string]int64{"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9})
		case "loss":
			c.Loss, err = parseShare(value)
		case "queue":
			var n int64
			n, err = parseUnits(value, map[string]int64{"b": 1, "kb": 1e3, "mb": 1e6, "kib": 1 << 10, "mib": 1 << 20})
			c.Queue = int(n)
		default:
			err = fmt.Errorf("is not known (delay, rate, loss, queue)")
		}
		if err != nil {
			return Config{}, fmt.Errorf("vars %s: %q: %w", key, value, err)
		}
	}
	return c, nil
}

func parseShare(s string) (float64, error) {
	text, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("want a share such as 0.01 or 1%%")
	}
	if percent {
		v /= 100
	}
	if !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("is not between 0 and 1")
	}
	return v, nil
}

func parseUnits(s string, units map[string]int64) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i <= 0 {
		return 0, fmt.Errorf("want a number with a unit of %s", strings.Join(slices.Sorted(maps.Keys(units)), ", "))
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	unit, ok := units[strings.ToLower(strings.TrimSpace(s[i:]))]
	if err != nil || !ok || n*float64(unit) < 1 || n*float64(unit) > 1e15 {
		return 0, fmt.Errorf("want a number with a unit of %s", strings.Join(slices.Sorted(maps.Keys(units)), ", "))
	}
	return int64(n * float64(unit)), nil
}
