package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/config"
)

// TestAckTime: for how long a client may acknowledge nothing comes to the
// sockets of the cache server; what is too short is refused by its key.
func TestAckTime(t *testing.T) {
	base, err := os.ReadFile("../../configs/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for limits, want := range map[string]time.Duration{"{}": 30 * time.Second, "{ack-time: 7s}": 7 * time.Second, "{ack-time: 0s}": 0, "{ack-time: 10ms}": -1, "{ack-time: -1s}": -1} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		text := string(base) + `
cache: {listen: ["127.0.0.1:8080"], limits: ` + limits + `, sites: [{name: www, hosts: [www.example.com], upstream: {origins: [{url: "http://127.0.0.1:1"}]}}]}
`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file, config.Options{})
		if want < 0 {
			if err == nil || !strings.Contains(err.Error(), "cache.limits.ack-time") {
				t.Errorf("%s: %v", limits, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := new(parts).cacheConfig(cfg)
		if err != nil || c.Front.UserTimeout != want {
			t.Errorf("%s: %v, %v", limits, c.Front.UserTimeout, err)
		}
	}
}
