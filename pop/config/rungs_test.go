package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestManyCommunities: what no UPDATE holds is refused before anybody is told
// to send it. The drain adds one of its own to normal's.
func TestManyCommunities(t *testing.T) {
	many := func(key, format string, n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(format, i)
		}
		return "\n    attributes: {" + key + ": [" + strings.Join(all, ", ") + "]}\n    ladder:"
	}
	for _, c := range []struct{ attributes, want string }{
		{many("communities", `"64500:%d"`, 255), ""},
		{many("communities", `"64500:%d"`, 257), "services[0].attributes.communities: 257 communities: at most 256"},
		{many("large-communities", `"64500:1:%d"`, 100), ""},
		{many("large-communities", `"64500:1:%d"`, 101), "services[0].attributes.large-communities: 101 large communities: at most 100"},
	} {
		_, err := read(t, replace("\n    ladder:", c.attributes), Options{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.60s...: %v, want %s", c.attributes, err, c.want)
		}
	}
}
