package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// didYouMean names the nearest of the names, or all of them if there are few.
func didYouMean(what string, names map[string]bool) string {
	best, least := "", len(what)/2+2
	all := slices.Sorted(maps.Keys(names))
	for _, n := range all {
		if d := levenshtein.Distance(strings.ToLower(what), strings.ToLower(n), nil); d < least {
			best, least = n, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(all) > 0 && len(all) <= 10:
		return fmt.Sprintf("; there are %q", all)
	}
	return ""
}
