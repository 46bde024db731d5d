package matrix

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/catchment/catchment/policy"
)

// Withdraw is the word for a slice that is not announced.
const Withdraw = "withdraw"

// tuner are the words of SIDN's BGP anycast tuner: 2xLON, -1xLON.
var tuner = regexp.MustCompile(`^(-?)(\d+)x([A-Za-z][\w.-]*)$`)

// parseConfiguration reads the name of a configuration. others is a setting of
// every POP but the one that it names.
func parseConfiguration(name string) (settings []Setting, others *Setting, err error) {
	if name == "normal" || name == "baseline" {
		return nil, nil, nil
	}
	if m := tuner.FindStringSubmatch(name); m != nil {
		n, err := strconv.Atoi(m[2])
		switch s := (Setting{POP: policy.POPID(m[3]), Prepend: n}); {
		case err != nil || n > 255 || m[1] != "" && n == 0:
			return nil, nil, fmt.Errorf("configuration %q: %s prepends are not 0 to 255", name, m[2])
		case m[1] != "":
			return nil, &s, nil
		case n == 0:
			return []Setting{{POP: s.POP, Rung: Withdraw}}, nil, nil
		default:
			return []Setting{s}, nil, nil
		}
	}
	for part := range strings.SplitSeq(name, "+") {
		pop, rung, ok := strings.Cut(strings.TrimSpace(part), "=")
		if pop, rung = strings.TrimSpace(pop), strings.TrimSpace(rung); !ok || pop == "" || rung == "" {
			return nil, nil, fmt.Errorf("configuration %q: want normal, or POP=RUNG such as LON=withdraw, several with + between them", name)
		}
		s := Setting{POP: policy.POPID(pop), Rung: rung}
		for _, o := range settings {
			if o.POP == s.POP {
				return nil, nil, fmt.Errorf("configuration %q names %s twice", name, s.POP)
			}
		}
		if n, ok := strings.CutPrefix(rung, "prepend:"); ok {
			if s.Prepend, err = strconv.Atoi(n); err != nil || s.Prepend < 1 || s.Prepend > 255 {
				return nil, nil, fmt.Errorf("configuration %q: %q prepends: want 1 to 255", name, n)
			}
			s.Rung = ""
		}
		settings = append(settings, s)
	}
	return settings, nil, nil
}
