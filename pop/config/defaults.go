package config

// defaults says what a key means that is not set: one table for the daemon,
// the reference (configs/reference.yaml, a test compares) and the reader.
// "[]" stands for each entry of a list. Keys that are not here default to
// empty, zero or false, or are required.
//
// Three defaults depend on other keys and are made in code:
// services[].degraded, .shared and .last-resort are the last rung of the
// ladder, or normal where there is none; a check's fast and timeout are never
// longer than its interval by default; drain.communities counts only as long
// as the list is not set.
var defaults = map[string]any{
	"state-dir":        "/var/lib/catchment",
	"log.level":        "info",
	"log.format":       "text",
	"api.socket":       "/run/catchment/catchment.sock",
	"api.gobgp-socket": "/run/catchment/gobgp.sock",
	"web.listen":       "127.0.0.1:9797",
	"metrics.listen":   "127.0.0.1:9798",

	"bfd[].transmit":   "100ms",
	"bfd[].receive":    "100ms",
	"bfd[].multiplier": 3,

	"services[].vips.device":            "lo",
	"services[].vips.keep":              true,
	"services[].drain.wait":             "30s",
	"services[].drain.communities":      []any{"graceful-shutdown"},
	"services[].hold-down":              "10s",
	"services[].dwell":                  "30s",
	"services[].withdraw-on-down":       true,
	"services[].damping.penalty":        1000,
	"services[].damping.suppress":       3000,
	"services[].damping.reuse":          750,
	"services[].damping.half-life":      "15m",
	"services[].damping.max":            "60m",
	"services[].min-pops":               1,
	"services[].combine.mode":           "all",
	"services[].combine.degraded-below": 1.0,
	"services[].combine.down-below":     0.5,
	"services[].checks[].interval":      "2s",
	"services[].checks[].fast":          "200ms",
	"services[].checks[].timeout":       "1s",
	"services[].checks[].rise":          2,
	"services[].checks[].fall":          3,
	"services[].checks[].jitter":        0.1,
	"services[].checks[].weight":        1,
	"services[].checks[].assist":        true,

	"guards.blast.slices":      50,
	"guards.blast.share":       1.0,
	"guards.blast.interval":    "10s",
	"guards.correlated.share":  0.5,
	"guards.correlated.window": "60s",
	"guards.stale":             "5s",
	"guards.isolated":          "30s",

	"fleet.poll":             "1s",
	"fleet.peers[].capacity": 1,
	"fleet.rib[].capacity":   1,

	"core.quota":     "512MiB",
	"core.min-free":  "160MiB",
	"core.retention": "1h",

	"load.interval":         "2s",
	"load.timeout":          "1s",
	"load.average":          "10s",
	"load.stale":            "15s",
	"load.system":           true,
	"load.connections":      true,
	"load.links[].capacity": "auto",
	"load.sources[].of":     "host",

	"ingress.local-pref":       200,
	"ingress.unit":             "out",
	"ingress.interval":         "10s",
	"ingress.shed-above":       0.95,
	"ingress.fill-to":          0.85,
	"ingress.move-cost":        1,
	"ingress.max-moves":        10,
	"ingress.max-share":        0.2,
	"ingress.check.interval":   "1s",
	"ingress.check.fast":       "200ms",
	"ingress.check.timeout":    "500ms",
	"ingress.check.rise":       2,
	"ingress.check.fall":       3,
	"ingress.routers[].demand": 1,

	"fib.table":     254,
	"fib.protocol":  186,
	"fib.metric":    20,
	"fib.multipath": 1,

	"journal.max-size": "64MiB",
	"journal.keep":     8,
	"stop.deadline":    "60s",
}
