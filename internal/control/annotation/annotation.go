// Package annotation reads the values of annotations in the forms that Linkerd
// gave them. It holds nothing and decides nothing; whoever reads an annotation
// says whose it is and what follows from a bad one.
package annotation

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What values may be, as findings say it.
const (
	AllowedDuration = "a whole number and ms, s, m, h or d, such as 500ms or 1m; or 0"
	AllowedCount    = "a whole number from 0 to 4294967295"
)

type unit struct {
	name string
	size time.Duration
}

func units() []unit {
	return []unit{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}
}

// Duration reads Linkerd's durations: an integer with a unit, or a bare 0.
// Fractions and sums ("1m30s") are not durations there. mend, which may be
// empty, says what was most likely meant.
func Duration(s string) (d time.Duration, mend string, err error) {
	s = strings.TrimSpace(s)
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, perr := strconv.ParseUint(s[:digits], 10, 63)
	name := s[digits:]
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, "", errors.New("a duration cannot be negative")
	case digits == 0:
		return 0, "", errors.New("this is not a duration")
	case perr != nil:
		return 0, "", errors.New("this is longer than 292 years")
	case strings.HasPrefix(name, "."):
		return 0, "write it in a smaller unit, such as ms", errors.New("a duration cannot have a fraction")
	case name == "" && n == 0:
		return 0, "", nil
	case name == "":
		return 0, fmt.Sprintf("did you mean %ds or %dms?", n, n), errors.New("a unit is missing")
	}
	for _, u := range units() {
		if u.name != name {
			continue
		}
		if n > uint64(math.MaxInt64)/uint64(u.size) {
			return 0, "", errors.New("this is longer than 292 years")
		}
		return time.Duration(n) * u.size, "", nil
	}
	if whole, err := time.ParseDuration(s); err == nil {
		return 0, "write it as one number, such as " + Text(whole), errors.New("this is not one number and one unit")
	}
	return 0, "", fmt.Errorf("there is no unit %q", name)
}

// Text writes a duration as Duration reads it, as far as it can be.
func Text(d time.Duration) string {
	for _, u := range slices.Backward(units()) {
		if d%u.size == 0 && (d != 0 && u.name != "d" || d == 0 && u.name == "s") {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}

// Count reads a number from 0 to 4294967295.
func Count(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, errors.New("this is not such a number")
	}
	return uint32(n), nil
}
