package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Defaults of the peak-EWMA estimate, Linkerd's.
const (
	// DefaultRTT is what an endpoint is taken to need before it has answered.
	DefaultRTT = 30 * time.Millisecond
	// DefaultDecay is the time constant by which old round trips are forgotten.
	DefaultDecay = 10 * time.Second
)

// noise is added to every average: differences of a few milliseconds are those
// of schedulers and caches, not of endpoints.
const noise = 5 * time.Millisecond

// stampShift sets the resolution of a Load's time stamp: 2^20 ns, about a
// millisecond. 32 bits of it last 52 days and wrap harmlessly after that.
const stampShift = 20

// Load is the live load of one endpoint: the requests in flight, and a
// peak-sensitive, exponentially weighted moving average of round-trip times. A
// round trip above the average replaces it at once; one below it pulls it down
// over the decay time. (Finagle's "peak EWMA", which Linkerd uses.)
//
// Safe for concurrent use. The average and its time stamp share one word, so
// that a reader never sees one without the other.
type Load struct {
	pending atomic.Int64
	rtt     atomic.Uint64 // float32 bits of the average in ns << 32 | stamp
}

// Init makes l the load of an endpoint that has not answered yet.
func (l *Load) Init(now time.Duration) {
	l.pending.Store(0)
	l.rtt.Store(pack(float64(DefaultRTT), stampOf(now)))
}

// Forget makes the average a given one: for an endpoint of which nothing recent
// is known.
func (l *Load) Forget(now, rtt time.Duration) { l.rtt.Store(pack(float64(rtt), stampOf(now))) }

// Begin counts a request in flight.
func (l *Load) Begin() { l.pending.Add(1) }

// End takes back a Begin, without a round trip to learn from.
func (l *Load) End() { l.pending.Add(-1) }

// Pending is the number of requests in flight.
func (l *Load) Pending() int64 { return l.pending.Load() }

// Observe learns a round trip that ended at now.
func (l *Load) Observe(now, rtt time.Duration) {
	for {
		old := l.rtt.Load()
		average, stamp := unpack(old)
		at := stampOf(now)
		sample := float64(rtt)
		if sample < average {
			w := decay(at - stamp)
			sample = average*w + sample*(1-w)
		}
		if l.rtt.CompareAndSwap(old, pack(sample, at)) {
			return
		}
	}
}

// Cost is the expected wait behind this endpoint: the average round trip,
// faded by the time since it was learned and with the usual noise added, times
// the requests in flight with the new one counted. The fading lets an endpoint
// that was once slow be tried again. share, above 0, is what the endpoint shall
// get beside the one that shall get most: where it is half, each request in
// flight counts double.
func (l *Load) Cost(now time.Duration, share float64) float64 {
	return (l.faded(now) + float64(noise)) * (float64(l.pending.Load())/max(share, 1e-9) + 1)
}

// RTT is the average round trip, faded as it is in Cost.
func (l *Load) RTT(now time.Duration) time.Duration { return time.Duration(l.faded(now)) }

func (l *Load) faded(now time.Duration) float64 {
	average, stamp := unpack(l.rtt.Load())
	return average * decay(stampOf(now)-stamp)
}

func stampOf(now time.Duration) uint32 { return uint32(uint64(now) >> stampShift) }

func pack(average float64, stamp uint32) uint64 {
	return uint64(math.Float32bits(float32(average)))<<32 | uint64(stamp)
}

func unpack(word uint64) (average float64, stamp uint32) {
	return float64(math.Float32frombits(uint32(word >> 32))), uint32(word)
}

// decay is e^(-elapsed/DefaultDecay). A stamp of the future (a race between two
// observers) fades nothing.
func decay(elapsed uint32) float64 {
	if int32(elapsed) <= 0 {
		return 1
	}
	ns := float64(uint64(elapsed) << stampShift)
	return math.Exp(-ns / float64(DefaultDecay))
}
