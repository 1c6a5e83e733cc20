package breaker

import (
	"math"
	"time"
)

// Clock gives the present instant: the time since an arbitrary, fixed start.
// It never runs backwards.
type Clock func() time.Duration

// start is what Monotonic counts from.
var start = time.Now()

// Monotonic is the real Clock. It reads the monotonic clock only, which is
// cheaper than time.Now, and is not moved by a change of the wall clock.
func Monotonic() time.Duration { return time.Since(start) }

// never is an instant that does not come.
const never = time.Duration(math.MaxInt64)

// plus is the instant d after at; never instead of an overflow, which policies
// with a back-off of centuries would meet.
func plus(at, d time.Duration) time.Duration {
	if d > never-max(at, 0) {
		return never
	}
	return at + d
}
