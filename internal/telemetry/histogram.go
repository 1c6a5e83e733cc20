package telemetry

import (
	"sync/atomic"
	"time"
)

// latencyBounds are Linkerd's buckets of response_latency_ms: 1 to 5 times each
// power of ten from 1 ms to 10 s. A value equal to a bound falls below it.
var latencyBounds = [...]time.Duration{
	1 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 4 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second,
	10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second, 50 * time.Second,
}

// histogram counts durations in latencyBounds. The zero value is ready.
type histogram struct {
	sum     atomic.Uint64 // nanoseconds
	buckets [len(latencyBounds) + 1]atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.sum.Add(uint64(d))
}

// bucketOf walks up by decades first: most calls end in the first comparison.
func bucketOf(d time.Duration) int {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i+4] {
		i += 5
		if i == len(latencyBounds) {
			return i
		}
	}
	for d > latencyBounds[i] {
		i++
	}
	return i
}

// read gives count, sum in milliseconds and cumulative counts by upper bound in
// milliseconds, as Prometheus wants them.
func (h *histogram) read() (count uint64, sum float64, cumulative map[float64]uint64) {
	cumulative = make(map[float64]uint64, len(latencyBounds))
	for i, bound := range latencyBounds {
		count += h.buckets[i].Load()
		cumulative[float64(bound/time.Millisecond)] = count
	}
	count += h.buckets[len(latencyBounds)].Load()
	return count, float64(h.sum.Load()) / float64(time.Millisecond), cumulative
}
