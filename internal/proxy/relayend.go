package proxy

import (
	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is how a relayed request ends, or begins anew at another endpoint.

// lostStream is the reason for which a stream of an endpoint ended too early.
func lostStream(e *http2.StreamError, begun bool) telemetry.Reason {
	switch {
	case e == nil, e.Conn && (e.Remote || e.Code == xhttp2.ErrCodeCancel || e.Code == xhttp2.ErrCodeNo):
		if begun {
			return telemetry.ConnectionLostMidway
		}
		return telemetry.ConnectionLost
	case e.Remote:
		if begun {
			return telemetry.RemoteResetMidway
		}
		return telemetry.RemoteReset
	default:
		return telemetry.UpstreamProtocol
	}
}

// replayable tells whether the request may be sent again on another
// connection: the endpoint says that it did not look at it, or the connection,
// which had served others, went, and twice is as good as once. mu is held.
func (st *stream) replayable(e *http2.StreamError) bool {
	x := &st.x
	if e == nil || x.headSent || st.lost || st.interims > 0 || st.gone || st.replays >= maxReplays || x.late() {
		return false
	}
	return e.Unprocessed || e.Conn && st.up.ID() > 1 && x.repeatable()
}

// replay sends the request again, to the same endpoint on another connection.
// Nothing of that reaches the caller or the breaker. mu is held.
func (st *stream) replay() {
	st.replays++
	st.retired = append(st.retired, st.up)
	st.up, st.held = nil, nil
	st.stage = choosing
	if st.done == nil {
		st.done = make(chan struct{})
	}
	st.conn.work.Go(st.relay)
}

// answerEnds ends the exchange: all of the answer is handed over. Of a tunnel
// it is one half that has ended. mu is held.
func (st *stream) answerEnds() {
	if st.tunnel && !st.in.end {
		st.answered = true
		return
	}
	st.x.settle(st.x.verdict())
	st.handedOver()
	// An endpoint that has answered may take no more of the request.
	if !st.in.end || !st.tunnel && st.up.Queued() > 0 {
		st.up.Reset(xhttp2.ErrCodeCancel)
		st.up.Conn().Flush()
	}
	st.finish()
}

// endRelay ends an exchange that failed, on both sides. mu is held.
func (st *stream) endRelay(why telemetry.Reason) {
	if st.stage == over {
		return
	}
	x := &st.x
	if why == telemetry.IdleTimeout && st.starves() {
		why = telemetry.BodyTimeout
	}
	x.settle(x.outcome(why, st.unheard() || st.starves()))
	if up := st.up; up != nil {
		up.Reset(xhttp2.ErrCodeCancel)
		up.Conn().Flush()
	}
	st.refuseLocked(why)
}

// starves tells whether it is the caller who keeps the exchange waiting, with a
// body that does not come. In gRPC it may be the endpoint's turn all the same.
// mu is held.
func (st *stream) starves() bool {
	if st.in.end || st.tunnel || st.x.isGRPC() {
		return false
	}
	return st.starving || st.up != nil && st.up.Queued() == 0
}

// unheard tells whether it is the caller who does not take the answer.
func (st *stream) unheard() bool { return st.down.Queued() > 0 }
