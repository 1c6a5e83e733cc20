package policy

import (
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/annotation"
)

func duration(r *reader, name string, def time.Duration, whose string) Value[time.Duration] {
	s, ok := r.values[name]
	if !ok {
		return Value[time.Duration]{Value: def, Origin: Origin{Default: whose}}
	}
	d, mend, err := annotation.Duration(s)
	if err != nil {
		r.bad(name, "bad-duration", err.Error(), annotation.AllowedDuration, mend)
		return Value[time.Duration]{Value: def, Origin: Origin{Default: whose}}
	}
	return Value[time.Duration]{Value: d, Origin: r.origin(name)}
}

func count(r *reader, name string, def uint32, whose string) Value[uint32] {
	s, ok := r.values[name]
	if !ok {
		return Value[uint32]{Value: def, Origin: Origin{Default: whose}}
	}
	n, err := annotation.Count(s)
	if err != nil {
		r.bad(name, "bad-number", err.Error(), annotation.AllowedCount, "")
		return Value[uint32]{Value: def, Origin: Origin{Default: whose}}
	}
	return Value[uint32]{Value: n, Origin: r.origin(name)}
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

// text writes a duration as these annotations want it.
func text(d time.Duration) string { return annotation.Text(d) }
