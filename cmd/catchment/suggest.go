package main

import (
	"fmt"
	"maps"
	"slices"
)

// didYouMean names the nearest of the names, or all of them if there are few.
func didYouMean(what string, names map[string]bool) string {
	best, least := "", len(what)/2+2
	all := slices.Sorted(maps.Keys(names))
	for _, n := range all {
		if d := distance(what, n); d < least {
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

// distance is that of Levenshtein, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
