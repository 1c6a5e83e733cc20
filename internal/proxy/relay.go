package proxy

import (
	"errors"
	"strconv"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file carries a request from one connection of HTTP/2 to another: the
// readers of the two connections hand frames over as they come, each side's
// window opens as the other side takes the bytes, and no goroutine waits.

// answerSink is a stream as the Sink of the endpoint's side.
type answerSink stream

// fieldSpace is room for the fields of a head that is passed on.
type fieldSpace struct {
	fields []http1.Header
	arena  []byte
}

func (f *fieldSpace) free(s *Server) {
	clear(f.fields)
	f.fields, f.arena = f.fields[:0], f.arena[:0]
	s.fields.Put(f)
}

// requestFields are the fields for an endpoint of HTTP/2.
func (x *exchange) requestFields(space *fieldSpace) []http1.Header {
	var extra [2]http1.Header
	scheme := "http"
	if x.cluster.Config().Transport != "" {
		scheme = "https"
	}
	space.fields = bridge.AppendRequest2(space.fields[:0], &space.arena, x.fwd, scheme, x.forwardFields(extra[:0]))
	return space.fields
}

// tryRelay opens the endpoint's stream if that needs no waiting. It runs on the
// caller's reader.
func (st *stream) tryRelay() bool {
	if st.req.Upgrade != nil {
		return false // whether the endpoint takes it may have to be asked
	}
	space := st.conn.srv.fields.Get().(*fieldSpace)
	defer space.free(st.conn.srv)
	up, ok := st.x.endpoint.TryOpen(st.x.requestFields(space), st.bodyless(), (*answerSink)(st))
	if !ok {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.joined(up)
	st.conn.h2.FlushAfter(up.Conn())
	return true
}

// bodyless tells whether the head is all of the request, and remembers what it
// said.
func (st *stream) bodyless() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.upEnded = st.in.end && len(st.in.data) == 0 && len(st.kept) == 0 && st.in.trailers == nil
	return st.upEnded
}

// relay opens the endpoint's stream, waiting for a connection.
func (st *stream) relay() {
	space := st.conn.srv.fields.Get().(*fieldSpace)
	defer space.free(st.conn.srv)
	x := &st.x
	up, err := x.endpoint.Open(x.connectBefore(), st.done, x.requestFields(space), st.bodyless(), (*answerSink)(st))
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil {
		st.failRelay(x.connectFailure(err))
		return
	}
	st.joined(up)
	up.Conn().Flush()
	st.conn.h2.Flush()
}

// relayUpgrade is relay for a WebSocket (RFC 8441), if the endpoint takes them
// so; otherwise it is asked in the way of HTTP/1.1.
func (st *stream) relayUpgrade() {
	x := &st.x
	takes, err := x.endpoint.ExtendedConnect(x.connectBefore(), st.done)
	switch {
	case err != nil:
		st.mu.Lock()
		defer st.mu.Unlock()
		st.endRelay(x.connectFailure(err))
	case takes:
		st.relay()
	default:
		st.carry()
	}
}

// joined begins the relaying. The endpoint may have answered already. mu is
// held.
func (st *stream) joined(up *http2.Stream) {
	if st.isRetired(up) { // it is being replaced already
		return
	}
	if st.stage == over { // its answer was so quick that it is all here
		if !st.upEnded {
			up.Reset(xhttp2.ErrCodeCancel) // the rest of the request stays here
		}
		return
	}
	st.up = up
	st.touch() // the wait for it was another's time
	if st.gone {
		st.endRelay(st.goneReason())
		return
	}
	if st.x.late() {
		st.endRelay(telemetry.RequestTimeout)
		return
	}
	if st.x.tryLate() {
		st.failRelay(telemetry.PerTryTimeout)
		return
	}
	st.stage = relaying
	if st.in.end {
		st.requestSent()
	}
	if st.upEnded {
		return
	}
	again := st.kept // by an earlier try
	b := st.in.data
	st.in.data = nil
	st.keep(b)
	end := st.in.end && st.in.trailers == nil
	if len(again) > 0 {
		st.credit(up.SendData(again, end && len(b) == 0))
	}
	if len(b) > 0 || end && len(again) == 0 {
		st.credit(up.SendData(b, end))
	}
	if st.in.trailers != nil {
		up.SendHead(st.in.trailers, true)
	}
}

// Head is an interim answer or the head of the final one.
func (a *answerSink) Head(up *http2.Stream, h *http2.Head, end bool) {
	st := (*stream)(a)
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stale(up) {
		return
	}
	if h.Status < 200 {
		if !st.countInterim(h.Headers) {
			st.x.detail = "too many interim answers"
			st.endRelay(telemetry.UpstreamProtocol)
			return
		}
		st.passHead(up, h, false)
		return
	}
	x := &st.x
	x.headAt = x.srv.clock()
	x.status = h.Status
	x.hearStatus(h.Headers) // of a trailers-only answer
	if end {
		x.statusMissing()
	}
	if x.tries.policy != nil {
		st.headCame()
		if st.passesOver(h.Headers) {
			return
		}
		if !end && st.holdsHead(h) {
			st.held = h
			return
		}
	}
	st.acceptHead(up, h, end)
}

// acceptHead takes the final head for the caller's answer. mu is held.
func (st *stream) acceptHead(up *http2.Stream, h *http2.Head, end bool) {
	x := &st.x
	x.headSent = true
	st.kept = nil
	if end || h.Status >= 500 || x.permit.Probe() && !x.isGRPC() {
		x.settle(x.verdict())
	}
	if st.req.Upgrade != nil && h.Status/100 == 2 {
		st.settleTunnel()
	}
	st.passHead(up, h, end)
	if end {
		st.answerEnds()
	}
}

// settleTunnel notes that the exchange of heads is over, and what follows is
// without bounds but that on idleness. mu is held.
func (st *stream) settleTunnel() {
	st.x.settle(st.x.verdict())
	st.tunnel = true
	st.open.Store(true)
	if st.timer != nil {
		st.timer.Stop()
	}
}

// passHead sends the head of an answer on: an answer is never altered.
func (st *stream) passHead(up *http2.Stream, h *http2.Head, end bool) {
	space := st.conn.srv.fields.Get().(*fieldSpace)
	defer space.free(st.conn.srv)
	space.arena = strconv.AppendInt(space.arena[:0], int64(h.Status), 10)
	space.fields = append(append(space.fields[:0], http1.Header{Name: statusName, Value: space.arena}), st.x.editAnswer(h.Status, h.Headers)...)
	st.down.SendHead(space.fields, end)
	up.Conn().FlushAfter(st.conn.h2)
}

var statusName = []byte(":status")

// Data is a piece of the answer's body.
func (a *answerSink) Data(up *http2.Stream, b []byte, end bool) {
	st := (*stream)(a)
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stale(up) {
		return
	}
	st.releaseHead(up)
	x := &st.x
	x.sent += int64(len(b))
	up.Consumed(st.down.SendData(b, end))
	up.Conn().FlushAfter(st.conn.h2)
	x.settleStream()
	if end {
		x.statusMissing()
		st.answerEnds()
	}
}

// Trailers end the answer; in gRPC they say how it went.
func (a *answerSink) Trailers(up *http2.Stream, fields []http1.Header) {
	st := (*stream)(a)
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stale(up) {
		return
	}
	st.x.hearStatus(fields)
	st.x.statusMissing()
	if st.held != nil && st.passesOver(fields) {
		return
	}
	st.releaseHead(up)
	st.down.SendHead(fields, true)
	up.Conn().FlushAfter(st.conn.h2)
	st.answerEnds()
}

// Sent tells that bytes of the request have left: the caller may send more.
func (a *answerSink) Sent(_ *http2.Stream, n int) {
	st := (*stream)(a)
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.credit(n)
	st.conn.h2.Flush()
}

// Closed is the end of the endpoint's stream.
func (a *answerSink) Closed(up *http2.Stream, err error) {
	st := (*stream)(a)
	if err == nil {
		return // the end of the answer came before, and said so
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stale(up) {
		return
	}
	failure, _ := errors.AsType[*http2.StreamError](err)
	if st.replayable(failure) {
		st.replay()
		return
	}
	st.x.failure = err
	st.failRelay(lostStream(failure, st.x.headSent))
}

// stale tells whether an event is not about the exchange any more, and takes
// note of the stream that it came on. mu is held.
func (st *stream) stale(up *http2.Stream) bool {
	if st.stage == over || st.isRetired(up) || st.up != nil && st.up != up {
		return true
	}
	st.up = up // its first event may come before Open has returned
	return false
}
