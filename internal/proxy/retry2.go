package proxy

import (
	"bytes"
	"slices"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is further tries of the request of an HTTP/2 caller. What has been
// taken of its body is in stream.kept, the rest in stream.in.
//
// To endpoints of HTTP/1.1 the carrier's goroutine makes one try after the
// other. Between two connections of HTTP/2 a try ends in an event, and its
// stream is retired: what it still brings is about nothing any more. The next
// one begins in a goroutine of its own.

// admittedNow begins a try at the endpoint that was chosen. Copies for mirrors
// begin with the first.
func (st *stream) admittedNow() {
	x := &st.x
	x.endpoint.Metrics().Request()
	st.idle.Store(int64(x.idleBound()))
	if x.tries.policy == nil && len(x.action.Mirrors) == 0 {
		x.beginTry()
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	x.beginTry()
	st.copyFirst()
	if st.in.end {
		st.boundTry()
	}
}

// boundTry begins the time of the present try. mu is held.
func (st *stream) boundTry() {
	if d := st.x.boundTry(); d > 0 {
		n := st.x.tries.n
		st.tryTimer = time.AfterFunc(d, func() { st.cutTry(n) })
	}
}

// cutTry ends the n-th try because its time is over.
func (st *stream) cutTry(n uint32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.x.tries.n != n || !st.x.tryLate() {
		return // its answer has begun, or it was over before
	}
	switch st.stage {
	case choosing, carrying: // its goroutine sees to it
		st.interrupt()
	case relaying:
		st.failRelay(telemetry.PerTryTimeout)
	case over:
	}
}

// headCame notes that the answer's head is here: the try has no bound of its own
// any more. mu is held.
func (st *stream) headCame() {
	st.x.headCame()
	st.stopTryTimer()
}

// stopTryTimer: mu is held.
func (st *stream) stopTryTimer() {
	if st.tryTimer != nil {
		st.tryTimer.Stop()
		st.tryTimer = nil
	}
}

// hasBody tells whether all that came of the request can be sent again, and that
// nothing of an answer has gone to the caller. mu is held.
func (st *stream) hasBody() bool {
	return !st.lost && st.interims == 0 && !st.gone && !st.x.headSent
}

// dropsAnswer tells whether the answer whose head is in resp is passed over for
// another try.
func (k *carrier) dropsAnswer() bool {
	st := k.st
	st.mu.Lock()
	defer st.mu.Unlock()
	st.headCame()
	if !st.hasBody() || !k.x.retryAnswer(k.resp.Headers) {
		return false
	}
	st.sealed = true
	k.resp.KeepAlive = k.resp.KeepAlive && k.allHere()
	return true
}

// allHere passes the answer's body if it is here to its last byte.
func (k *carrier) allHere() bool {
	rest := k.in.b[k.r:k.w]
	switch k.resp.Body.Kind {
	case http1.BodyNone:
	case http1.BodyLength:
		if int64(len(rest)) != k.resp.Body.Length {
			return false
		}
	case http1.BodyChunked:
		k.chunk.Reset(&k.x.srv.cfg.HTTP1)
		if n, done, err := k.chunk.Scan(rest); err != nil || !done || n != len(rest) {
			return false
		}
	default:
		return false
	}
	k.r = k.w
	return true
}

// goesAgain tells whether the try that has ended so is followed by another, and
// accounts for it then.
func (k *carrier) goesAgain(why telemetry.Reason) bool {
	st, x := k.st, k.x
	if !x.retries() || !k.decide(why) {
		return false
	}
	k.giveBack(why)
	r := x.verdict()
	st.mu.Lock()
	defer st.mu.Unlock()
	if why != telemetry.ViaUpstream {
		r = x.outcome(why, st.starves())
	}
	st.stopTryTimer()
	st.stopAnswerTimer()
	x.endTry(r)
	st.sealed, st.answered, st.starving = false, false, false
	k.first, k.whole, k.r, k.w = 0, false, 0, 0
	k.uploaded, k.intact = nil, false
	return true
}

func (k *carrier) decide(why telemetry.Reason) bool {
	if why == telemetry.ViaUpstream {
		return k.x.tries.again
	}
	k.st.mu.Lock()
	defer k.st.mu.Unlock()
	if !k.st.hasBody() || !k.x.retryFailure(why) {
		return false
	}
	k.st.sealed = true
	return true
}

// again is the pause, the choice of another endpoint, and the try there.
func (k *carrier) again() telemetry.Reason {
	if why := k.x.readmit(k.st.done); why != telemetry.ViaUpstream {
		return why
	}
	k.st.admittedNow()
	return k.try()
}

// keptBody takes what is here of the body, and begins with what earlier tries
// took of it. mu is held.
func (st *stream) keptBody() (data []byte) {
	fresh := st.in.data
	st.in.data = nil
	data = fresh
	if len(st.kept) > 0 {
		data = append(bytes.Clone(st.kept), fresh...)
	}
	st.keep(fresh)
	return data
}

// failRelay ends the present try, or the exchange with it. mu is held.
func (st *stream) failRelay(why telemetry.Reason) {
	x := &st.x
	if st.stage != over && st.hasBody() && x.retryFailure(why) {
		st.tryAgain(x.outcome(why, st.starves()))
		return
	}
	st.endRelay(why)
}

// passesOver tells whether an answer, whose status is known, is passed over for
// another try. mu is held.
func (st *stream) passesOver(head []http1.Header) bool {
	x := &st.x
	if !st.hasBody() || !x.retryAnswer(head) {
		return false
	}
	st.tryAgain(x.verdict())
	return true
}

// tryAgain ends the present try of a relayed request, of which r is said to the
// breaker, and has another begin. mu is held.
func (st *stream) tryAgain(r breaker.Result) {
	st.stopTryTimer()
	st.stopAnswerTimer()
	st.x.endTry(r)
	if up := st.up; up != nil {
		st.retired = append(st.retired, up)
		up.Reset(xhttp2.ErrCodeCancel)
		up.Conn().Flush()
		st.up = nil
	}
	st.held = nil
	st.stage = choosing
	if st.done == nil {
		st.done = make(chan struct{})
	}
	st.conn.work.Go(st.nextTry)
}

func (st *stream) nextTry() {
	if why := st.x.readmit(st.done); why != telemetry.ViaUpstream {
		st.refuse(why)
		return
	}
	st.admitted()
}

// isRetired tells whether up belongs to a try that has ended. mu is held.
func (st *stream) isRetired(up *http2.Stream) bool { return slices.Contains(st.retired, up) }

// holdsHead tells whether a head is kept back until more of the answer is here:
// some servers of gRPC send their status behind a head by itself, and it may be
// one on which the request is tried again. It is kept back only where the caller
// has nothing more to say, so that nobody waits for the other. mu is held.
func (st *stream) holdsHead(h *http2.Head) bool {
	x := &st.x
	p := x.tries.policy
	if p == nil || h.Status != 200 || !x.isGRPC() || !st.in.end || grpcStatus(h.Headers) >= 0 {
		return false
	}
	return p.On&route.OnGRPC != 0 && x.tries.n <= p.Attempts && st.hasBody()
}

// releaseHead sends on the head that was kept back. mu is held.
func (st *stream) releaseHead(up *http2.Stream) {
	if h := st.held; h != nil {
		st.held = nil
		st.acceptHead(up, h, false)
	}
}
