package breaker

import "time"

// Clock gives the present instant: the time since an arbitrary, fixed start.
// It never runs backwards.
type Clock func() time.Duration

// start is what Monotonic counts from.
var start = time.Now()

// Monotonic is the real Clock. It reads the monotonic clock only, which is
// cheaper than time.Now, and is not moved by a change of the wall clock.
func Monotonic() time.Duration { return time.Since(start) }
