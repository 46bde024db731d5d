package cmdline

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args   []string
		plain  bool // nothing may follow the flags
		cores  int
		status int
		did    string
		says   string
	}{
		{[]string{"-n", "3", "a", "b"}, false, 2, 0, "3 [a b]", ""},
		{nil, true, 2, 0, "1 []", ""},
		{[]string{"-n", "0"}, true, 2, 1, "0 []", "prog: nothing to do\n"},
		{[]string{"-m"}, true, 2, 2, "", "flag provided but not defined: -m\nusage: prog [flags]"},
		{[]string{"-n", "x"}, true, 2, 2, "", `invalid value "x" for flag -n`},
		{[]string{"more"}, true, 2, 2, "", `prog: "more" is no flag`},
		{[]string{"-h"}, false, 2, 0, "", "usage: prog [flags] WHAT\n  -n int\n"},
		{nil, true, 1, 1, "", "prog: 2 CPUs are needed, there is 1\n"},
	} {
		n, did := 0, ""
		p := Program{Name: "prog", Args: "WHAT", Cores: 2,
			Flags: func(f *flag.FlagSet) { f.IntVar(&n, "n", 1, "how many") },
			Do: func(_ context.Context, args []string) error {
				did = fmt.Sprint(n, " ", args)
				if n == 0 {
					return errors.New("nothing to do")
				}
				return nil
			}}
		if c.plain {
			p.Args = ""
		}
		var errs bytes.Buffer
		status := p.run(c.args, &errs, c.cores)
		if status != c.status || did != c.did || !strings.Contains(errs.String(), c.says) || c.says == "" && errs.Len() > 0 {
			t.Errorf("%q: status %d, did %q, says %q; want %d, %q, %q", c.args, status, did, &errs, c.status, c.did, c.says)
		}
	}
}

// TestSignal: what it does ends with SIGTERM, and says why it failed.
func TestSignal(t *testing.T) {
	var errs bytes.Buffer
	p := Program{Name: "prog", Do: func(ctx context.Context, _ []string) error {
		if err := unix.Kill(unix.Getpid(), unix.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	if status := p.run(nil, &errs, 1); status != 1 || errs.String() != "prog: context canceled\n" {
		t.Errorf("status %d, %q", status, &errs)
	}
}
