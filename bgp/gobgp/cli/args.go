package cli

import "fmt"

// arity is how many arguments a keyword takes.
type arity int

const (
	none arity = iota
	one
	some // one or more
)

// keywords sorts arguments under the keyword they follow; what comes before
// the first is under "". A keyword given twice counts from the last.
func keywords(args []string, takes map[string]arity) (map[string][]string, error) {
	m := make(map[string][]string)
	var order []string
	at := ""
	for _, a := range args {
		if _, ok := takes[a]; ok {
			at = a
			m[at] = []string{}
			order = append(order, at)
		} else {
			m[at] = append(m[at], a)
		}
	}
	for _, k := range order {
		switch n := len(m[k]); {
		case takes[k] == none && n != 0:
			return nil, fmt.Errorf("%s should not have arguments", k)
		case takes[k] == one && n != 1:
			return nil, fmt.Errorf("%s should have one argument", k)
		case takes[k] == some && n == 0:
			return nil, fmt.Errorf("%s should have one or more arguments", k)
		}
	}
	return m, nil
}
