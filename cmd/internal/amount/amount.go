// Package amount writes measured loads for people: three digits, a prefix of
// the thousands, and the unit by its name in pop/api (in, out, requests,
// connections, cpu, pressure). It is for what people read; machines get the
// numbers.
package amount

import (
	"fmt"
	"strings"
)

// Of writes an amount with its unit: "4.2 Gbit/s", "12k/s", "1.23 k", "37 %".
// Bits and requests are of a second; what is a share of one comes in percent.
func Of(unit string, x float64) string {
	digits, prefix := Thousands(x)
	switch unit {
	case "in", "out":
		return digits + " " + prefix + "bit/s"
	case "requests":
		return digits + prefix + "/s"
	case "connections":
		if prefix == "" {
			return fmt.Sprintf("%.0f", x) // no half connections
		}
		return digits + " " + prefix
	}
	return fmt.Sprintf("%.3g %%", x*100)
}

// Short is the same for a narrow column whose head names the unit: "4.2G".
func Short(unit string, x float64) string {
	digits, prefix := Thousands(x)
	switch unit {
	case "connections":
		if x < 9999.5 {
			return fmt.Sprintf("%.0f", x)
		}
		fallthrough
	case "in", "out", "requests":
		return digits + prefix
	}
	return Percent(x)
}

// Percent is a share of one without a blank: "37%".
func Percent(share float64) string { return fmt.Sprintf("%.0f%%", share*100) }

// Thousands gives three digits of x and the prefix that goes with them: "",
// k, M, G or T.
func Thousands(x float64) (digits, prefix string) {
	for _, p := range []string{"k", "M", "G", "T"} {
		if x < 999.5 {
			break
		}
		x, prefix = x/1000, p
	}
	digits = fmt.Sprintf("%.3g", x)
	if strings.ContainsRune(digits, 'e') { // thousands of T, or next to nothing
		digits = fmt.Sprintf("%.0f", x)
	}
	return digits, prefix
}
