package breaker

import "time"

// windowSteps is how many buckets a sliding window has (Linkerd uses ten).
const windowSteps = 10

// window counts hits among all over the last span of time. Time is cut into
// steps of a tenth of the span; the window is the present step and the nine
// before it.
type window struct {
	step      int64         // number of the newest step
	ends      time.Duration // instant when it ends
	hits, all uint32
	bucket    [windowSteps]struct{ hits, all uint32 }
}

// add counts one at now.
func (w *window) add(now, span time.Duration, hit bool) {
	if now >= w.ends {
		w.advance(now, max(span/windowSteps, 1))
	}
	// A call that read the clock before a lock was taken may be late for its
	// step: it counts in the newest.
	b := &w.bucket[w.step%windowSteps]
	b.all++
	w.all++
	if hit {
		b.hits++
		w.hits++
	}
}

// advance drops the buckets that have left the window.
func (w *window) advance(now, length time.Duration) {
	step := int64(now / length)
	if step-w.step >= windowSteps {
		*w = window{step: step}
	}
	for w.step < step {
		w.step++
		b := &w.bucket[w.step%windowSteps]
		w.hits -= b.hits
		w.all -= b.all
		b.hits, b.all = 0, 0
	}
	w.ends = time.Duration(step+1) * length
}

// clear empties the window where it stands.
func (w *window) clear() { *w = window{step: w.step, ends: w.ends} }

// share is hits of all; 0 when empty.
func (w *window) share() float64 {
	if w.all == 0 {
		return 0
	}
	return float64(w.hits) / float64(w.all)
}
