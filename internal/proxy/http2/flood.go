package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// flood counts what is bounded over an interval of time. The clock matters only
// once the bound is reached, so counting costs next to nothing.
type flood struct {
	n     int
	since time.Duration
	begun bool
}

// over counts one and tells whether that is more than limit within interval.
func (f *flood) over(limit int, interval, now time.Duration) bool {
	if !f.begun {
		f.begun, f.since = true, now
	}
	if f.n++; f.n <= limit {
		return false
	}
	if now-f.since < interval {
		return true
	}
	f.n, f.since = 1, now
	return false
}

// good makes up for n that were counted.
func (f *flood) good(n int) { f.n = max(f.n-n, 0) }

// goodPerFrame is how many frames that carry nothing a frame that carries
// something makes up for.
const goodPerFrame = 4

// resetAge is the age from which on a stream that its client resets is not
// counted: with MaxConcurrentStreams, it bounds how many can be begun in vain.
const resetAge = 50 * time.Millisecond

// idleFrame counts a frame that carries nothing.
func (in *reader) idleFrame() error {
	if in.idle.over(in.c.cfg.MaxIdleFrames, in.c.cfg.FloodInterval, in.now) {
		return connError(http2.ErrCodeEnhanceYourCalm, "too many frames that carry nothing")
	}
	return nil
}

// countReset counts a stream that was begun in vain by the peer's doing. mu is
// held.
func (in *reader) countReset() error {
	in.resets.good(in.c.endedWell)
	in.c.endedWell = 0
	if in.resets.over(in.c.cfg.MaxResets, in.c.cfg.FloodInterval, in.now) {
		return connError(http2.ErrCodeEnhanceYourCalm, "too many streams begun in vain")
	}
	return nil
}

// countControl counts an answer that waits for the transport. mu is held.
func (in *reader) countControl() error {
	if in.c.control++; in.c.control > in.c.cfg.MaxControlFrames {
		return connError(http2.ErrCodeEnhanceYourCalm, "the peer does not read the answers that it causes")
	}
	return nil
}

// closedHow is how a stream ended.
type closedHow uint32

const (
	closedUnknown closedHow = iota // long ago, or never opened
	closedEnded
	closedByPeer
	closedByUs
)

// closedRing remembers how the last streams ended: frames that were on their
// way when we reset a stream are no fault of the peer (RFC 9113 section 5.1).
type closedRing struct {
	ids  []uint32 // id without its lowest bit, which is always set, above how
	next int
}

const closedKept = 128

func (r *closedRing) add(id uint32, how closedHow) {
	v := id>>1<<2 | uint32(how)
	if len(r.ids) < closedKept {
		r.ids = append(r.ids, v)
		return
	}
	r.ids[r.next] = v
	r.next = (r.next + 1) % closedKept
}

func (r *closedRing) how(id uint32) closedHow {
	how := closedUnknown
	for _, v := range r.ids {
		if v>>2 == id>>1 {
			how = max(how, closedHow(v&3))
		}
	}
	return how
}
