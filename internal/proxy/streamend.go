package proxy

import (
	"errors"
	"strconv"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is how a stream of an HTTP/2 caller ends: with the endpoint's answer,
// with one of ours, or by a reset.

// goneReason tells a caller that went away from one whose own deadline, which
// is the exchange's, has come first by a moment.
func (st *stream) goneReason() telemetry.Reason {
	if st.x.late() {
		return telemetry.RequestTimeout
	}
	return telemetry.DownstreamGone
}

// handedOver notes that all of the answer is with the engine. What still comes
// of the request is not wanted any more (RFC 9113 section 8.1). mu is held.
func (st *stream) handedOver() {
	st.answered = true
	st.handed.Store(true)
	st.unwanted()
}

// unwanted resets a stream whose caller has taken all of its answer and goes on
// with the request. Until it has, it is watched: it may never take it. mu is
// held.
func (st *stream) unwanted() {
	if st.handed.Load() && !st.in.end && st.down.Queued() == 0 {
		st.reset(xhttp2.ErrCodeNo)
	}
}

// reset ends the caller's stream, which says nothing more then. mu is held.
func (st *stream) reset(code xhttp2.ErrCode) {
	st.down.Reset(code)
	st.conn.h2.Flush()
	st.conn.remove(st)
}

// refuse gives the caller an answer of ours, or ends its stream where the
// endpoint's answer has begun, and ends the exchange.
func (st *stream) refuse(why telemetry.Reason) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.refuseLocked(why)
}

func (st *stream) refuseLocked(why telemetry.Reason) {
	x := &st.x
	x.reason = why
	if x.cluster == nil && why != telemetry.DirectResponse {
		st.conn.srv.cfg.Metrics.Refuse(why)
	}
	switch {
	case st.gone:
	case x.headSent && x.isGRPC() && !st.answered:
		st.sendStatus()
	case x.headSent || why.Answer().Status == 0 && x.ours == nil:
		st.reset(st.resetCode(why))
	default:
		st.sendRefusal()
	}
	st.finish()
}

// refuseView refuses what HTTP/2 allows and this proxy does not carry.
func (st *stream) refuseView(err error) {
	st.x.detail = err.Error()
	if errors.Is(err, bridge.ErrProtocol) {
		st.refuse(telemetry.UpgradeRefused)
		return
	}
	st.refuse(telemetry.MalformedMessage)
}

// sendRefusal sends the answer of ours that x.reason stands for.
func (st *stream) sendRefusal() {
	x := &st.x
	status, headers, body := x.refusal()
	fields := []http1.Header{{Name: []byte(":status"), Value: strconv.AppendInt(nil, int64(status), 10)}}
	fields = append(fields, headers...)
	if len(body) > 0 {
		if _, said := http1.Find(headers, "content-type"); !said {
			fields = append(fields, http1.Header{Name: []byte("content-type"), Value: []byte("text/plain; charset=utf-8")})
		}
		fields = append(fields, http1.Header{Name: []byte("content-length"), Value: strconv.AppendInt(nil, int64(len(body)), 10)})
	}
	if st.req.Head {
		body = nil
	}
	x.status = status
	x.headSent = true
	x.sent = int64(len(body))
	st.down.SendHead(fields, len(body) == 0)
	if len(body) > 0 {
		st.down.SendData(body, true)
	}
	st.handedOver()
	st.conn.h2.Flush()
}

// sendStatus ends the answer to a gRPC call that its endpoint has left in the
// middle: a reset would be INTERNAL to the caller, who is to know better whether
// to try again.
func (st *stream) sendStatus() {
	_, headers, _ := st.x.refusal()
	fields := headers[:0]
	for _, h := range headers {
		if http1.EqualFold(h.Name, "grpc-status") || http1.EqualFold(h.Name, "grpc-message") || http1.EqualFold(h.Name, "recloser-reason") {
			fields = append(fields, h)
		}
	}
	st.down.SendHead(fields, true)
	st.handedOver()
	st.conn.h2.Flush()
}

// resetCode is how a stream ends whose answer cannot be completed. What the
// endpoint says of its own stream (REFUSED_STREAM, for instance) would be a lie
// about this one.
func (st *stream) resetCode(why telemetry.Reason) xhttp2.ErrCode {
	if st.tunnel {
		return xhttp2.ErrCodeConnect // RFC 9113 section 8.5
	}
	switch why {
	case telemetry.RequestTimeout, telemetry.IdleTimeout, telemetry.BodyTimeout:
		return xhttp2.ErrCodeCancel
	default:
		return xhttp2.ErrCodeInternal
	}
}

// finish counts and logs the exchange, once. mu is held.
func (st *stream) finish() {
	if st.stage == over {
		return
	}
	st.stage = over
	st.expired.Store(false) // the end of the answer has its own time
	st.touch()
	if st.timer != nil {
		st.timer.Stop()
	}
	st.stopTryTimer()
	st.stopAnswerTimer()
	st.kept, st.held = nil, nil
	x := &st.x
	x.release()
	x.count()
	if x.srv.cfg.AccessLog.Enabled() {
		x.log(st.conn.down, "HTTP/2")
	}
}
