package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func duration(r *reader, name string, def time.Duration, whose string) Value[time.Duration] {
	s, ok := r.values[name]
	if !ok {
		return Value[time.Duration]{Value: def, Origin: Origin{Default: whose}}
	}
	d, mend, err := parseDuration(s)
	if err != nil {
		r.bad(name, "bad-duration", err.Error(), allowedDuration, mend)
		return Value[time.Duration]{Value: def, Origin: Origin{Default: whose}}
	}
	return Value[time.Duration]{Value: d, Origin: r.origin(name)}
}

func count(r *reader, name string, def uint32, whose string) Value[uint32] {
	s, ok := r.values[name]
	if !ok {
		return Value[uint32]{Value: def, Origin: Origin{Default: whose}}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		r.bad(name, "bad-number", "this is not such a number", allowedCount, "")
		return Value[uint32]{Value: def, Origin: Origin{Default: whose}}
	}
	return Value[uint32]{Value: uint32(n), Origin: r.origin(name)}
}

func number(r *reader, name string, def float64, whose string, lo, hi float64, allowed string) Value[float64] {
	s, ok := r.values[name]
	if !ok {
		return Value[float64]{Value: def, Origin: Origin{Default: whose}}
	}
	n, err := parseDecimal(strings.TrimSpace(s))
	if err != nil || n < lo || n > hi {
		r.bad(name, "bad-number", "this is not such a number", allowed, "")
		return Value[float64]{Value: def, Origin: Origin{Default: whose}}
	}
	return Value[float64]{Value: n, Origin: r.origin(name)}
}

// parseDecimal leaves out what strconv reads beyond decimal numbers:
// hexadecimal, underscores, infinities and NaN.
func parseDecimal(s string) (float64, error) {
	if strings.ContainsAny(s, "xX_pPnN") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

var units = []struct {
	name string
	unit time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", 24 * time.Hour},
}

// parseDuration reads Linkerd's durations: an integer with a unit, or a bare 0.
// Fractions and sums ("1m30s") are not durations there.
func parseDuration(s string) (d time.Duration, mend string, err error) {
	s = strings.TrimSpace(s)
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, perr := strconv.ParseUint(s[:digits], 10, 63)
	unit := s[digits:]
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, "", errors.New("a duration cannot be negative")
	case digits == 0:
		return 0, "", errors.New("this is not a duration")
	case perr != nil:
		return 0, "", errors.New("this is longer than 292 years")
	case strings.HasPrefix(unit, "."):
		return 0, "write it in a smaller unit, such as ms", errors.New("a duration cannot have a fraction")
	case unit == "" && n == 0:
		return 0, "", nil
	case unit == "":
		return 0, fmt.Sprintf("did you mean %ds or %dms?", n, n), errors.New("a unit is missing")
	}
	for _, u := range units {
		if u.name != unit {
			continue
		}
		if n > uint64(math.MaxInt64)/uint64(u.unit) {
			return 0, "", errors.New("this is longer than 292 years")
		}
		return time.Duration(n) * u.unit, "", nil
	}
	if whole, err := time.ParseDuration(s); err == nil {
		return 0, "write it as one number, such as " + text(whole), errors.New("this is not one number and one unit")
	}
	return 0, "", fmt.Errorf("there is no unit %q", unit)
}

// text writes a duration as these annotations want it.
func text(d time.Duration) string {
	for _, u := range slices.Backward(units) {
		if d%u.unit == 0 && (d != 0 && u.name != "d" || d == 0 && u.name == "s") {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}
