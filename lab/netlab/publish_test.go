package netlab

import (
	"strings"
	"testing"
)

// A lab that this process holds is found, used and ended as one in the
// background is; a second one of the same name is refused.
func TestPublish(t *testing.T) {
	t.Setenv(enterMarker, t.TempDir())
	lab := up(t, "name: published\ntopology: {nodes: {a: {kind: linux}}}\n")
	done := make(chan error, 1)
	go func() { done <- lab.Publish(t.Context()) }()
	var c *Client
	eventually(t, "found", func() (ok bool) {
		var err error
		c, err = Connect("published")
		return err == nil
	})
	nodes, err := c.Inspect()
	if err != nil || len(nodes) != 1 || nodes[0].Name != "a" {
		t.Errorf("Inspect: %v, %v", nodes, err)
	}
	if err := lab.Publish(t.Context()); err == nil || !strings.Contains(err.Error(), "already up") {
		t.Errorf("published twice: %v", err)
	}
	if err := c.Down(); err != nil {
		t.Errorf("Down: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Publish: %v", err)
	}
	if names, err := Labs(); len(names) > 0 || err != nil {
		t.Errorf("still there: %v, %v", names, err)
	}
}
