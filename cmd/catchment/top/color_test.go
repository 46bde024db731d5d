package top

import (
	"testing"

	"github.com/spf13/cobra"
)

// TestColorFlag: --color of the whole command counts more than the environment.
func TestColorFlag(t *testing.T) {
	for _, tc := range []struct {
		flag            string
		otherwise, want bool
	}{{"", true, true}, {"auto", true, true}, {"auto", false, false}, {"never", false, true}, {"always", true, false}} {
		cmd := &cobra.Command{}
		if tc.flag != "" {
			cmd.Flags().String("color", tc.flag, "")
		}
		if got := plainFlag(cmd, tc.otherwise); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
