package breaker

import (
	"math"
	"time"
)

// backoff is the time out of use for the i-th time, i from 0, where previous is
// the one before (used by Decorrelated) and random gives [0, 1).
//
// Exponential and Constant follow Linkerd: b = min(max, min x 2^i), plus
// U(0,1) x jitter x b, the sum capped at max; jitter only adds. Linear follows
// Envoy: min(max, min x count), plus jitter.
func (r *Recovery) backoff(i uint32, previous time.Duration, random func() float64) time.Duration {
	b := r.usual(i, previous, random)
	if r.MaxJitter > 0 {
		b = plus(b, scale(r.MaxJitter, random(), r.MaxJitter))
	}
	return b
}

// usual is backoff without MaxJitter.
func (r *Recovery) usual(i uint32, previous time.Duration, random func() float64) time.Duration {
	switch r.Backoff {
	case Linear:
		b := scale(r.Min, float64(i)+1, r.Max)
		return scale(b, 1+r.jitter(random), math.MaxInt64)
	case Decorrelated:
		if i == 0 {
			return min(r.Min, r.Max)
		}
		low, high := float64(r.Min), 3*float64(max(previous, r.Min))
		return scale(1, low+random()*(high-low), r.Max)
	case Constant:
		i = 0
	case Exponential:
	}
	b := scale(r.Min, math.Ldexp(1, int(min(i, 1023))), r.Max)
	return scale(b, 1+r.jitter(random), r.Max)
}

func (r *Recovery) jitter(random func() float64) float64 {
	if r.Jitter == 0 {
		return 0
	}
	return random() * r.Jitter
}

// scale is d x f, at most limit, without overflow.
func scale(d time.Duration, f float64, limit time.Duration) time.Duration {
	v := float64(d) * f
	if v >= float64(limit) {
		return limit
	}
	return time.Duration(math.Round(v))
}
