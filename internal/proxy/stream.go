package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// stage is how far a stream's exchange has come, and so who owns it.
type stage uint8

const (
	choosing stage = iota // proceed owns the exchange
	relaying              // the handlers of both streams do, under mu (relay.go)
	carrying              // a goroutine does (carry.go)
	over
)

// stream is a request that came by HTTP/2, with its answer. Nothing of it waits
// on the connection's reader: what has to wait, for the control plane, for an
// endpoint, for a connection, or for an endpoint of HTTP/1.1, has a goroutine
// meanwhile; a stream between two connections of HTTP/2 has none.
//
// It is the Sink of the caller's stream; answerSink is that of the endpoint's.
type stream struct {
	conn *h2conn
	down *http2.Stream
	req  http1.Request

	moved   atomic.Uint64 // tick at which a byte last moved
	expired atomic.Bool   // nothing moved for too long
	idle    atomic.Int64  // the route's bound on that, as idleOr has it
	open    atomic.Bool   // its answer has begun and may last
	handed  atomic.Bool   // all of its answer is with the engine

	mu    sync.Mutex
	news  sync.Cond // on mu: in, gone or the room for the answer has changed
	x     exchange  // owned as stage says
	stage stage
	in    inbox // of the request's body
	gone  bool  // the caller is gone
	// done is closed when the caller is gone; nil while nobody waits for that.
	done  chan struct{}
	timer *time.Timer // of the deadline; nil: none

	up          *http2.Stream   // the endpoint's; nil: none
	retired     []*http2.Stream // those of earlier tries
	held        *http2.Head     // of an answer, kept back until more is known of it; nil: none
	answerTimer *time.Timer     // of the answer's time; nil: none
	tryTimer    *time.Timer     // of the present try; nil: none
	sealed      bool            // nothing more is taken of the body
	upEnded     bool            // its head was all of the request
	owed        int             // bytes of the body for which the caller has no window back yet
	answered    bool            // all of the answer is handed over
	kept        []byte          // of the body: what a replay would send again
	lost        bool            // there was more than could be kept
	replays     int             // on other connections
	interims    int             // 1xx that were sent on
	hinted      int             // bytes of their fields
	tunnel      bool            // both sides send bytes as they like
	starving    bool            // the endpoint waits for more of the request's body
	current     *upstream.Conn  // of HTTP/1.1; nil: none

	listed     bool // guarded by conn.mu, as are next and prev
	next, prev *stream
}

// inbox is what a stream has brought and nobody has taken yet. The stream's
// window bounds it.
type inbox struct {
	data     []byte
	end      bool
	trailers []http1.Header
}

const (
	// maxReplays bounds how often that is done for one request.
	maxReplays = 3
)

func (st *stream) touch() { st.moved.Store(st.conn.srv.tick.Load()) }

// bound is how long nothing may move. A call of gRPC may be silent for hours;
// whether its two ends live, the connections' PINGs tell. But nobody has reason
// not to take the end of an answer.
func (st *stream) bound() time.Duration {
	t := &st.conn.srv.t
	switch {
	case st.handed.Load():
		return t.Stream
	case st.open.Load() && (st.req.Connect || st.req.Upgrade != nil):
		return idleOr(st.idle.Load(), t.Tunnel)
	case st.x.isGRPC():
		return idleOr(st.idle.Load(), 0)
	}
	return idleOr(st.idle.Load(), t.Stream)
}

// proceed takes the request as far as it comes without waiting. It is called on
// the connection's reader, and what has to wait goes on in a goroutine.
func (st *stream) proceed() {
	x := &st.x
	why, known := x.known()
	if !known {
		st.later(st.awaitRoutes)
		return
	}
	if why == telemetry.ViaUpstream {
		why = x.choose()
	}
	if why != telemetry.ViaUpstream {
		st.refuse(why)
		return
	}
	st.startTimer()
	if !x.tryAdmit() {
		st.later(st.awaitAdmit)
		return
	}
	st.admittedNow()
	if st.relays() && st.tryRelay() {
		return
	}
	st.later(st.forward)
}

func (st *stream) later(f func()) {
	st.mu.Lock()
	st.done = make(chan struct{})
	st.mu.Unlock()
	st.conn.work.Go(f)
}

func (st *stream) awaitRoutes() {
	why := st.x.awaitRoutes()
	if why == telemetry.ViaUpstream {
		why = st.x.choose()
	}
	if why != telemetry.ViaUpstream {
		st.refuse(why)
		return
	}
	st.startTimer()
	if !st.x.tryAdmit() {
		st.awaitAdmit()
		return
	}
	st.admitted()
}

func (st *stream) awaitAdmit() {
	if why := st.x.awaitAdmit(st.done); why != telemetry.ViaUpstream {
		st.refuse(why)
		return
	}
	st.admitted()
}

func (st *stream) admitted() {
	st.admittedNow()
	st.forward()
}

// forward sends the request to its endpoint, in a goroutine that may wait.
func (st *stream) forward() {
	switch {
	case st.req.Connect:
		st.carryBytes()
	case !st.relays():
		st.carry()
	case st.req.Upgrade == nil:
		st.relay()
	default:
		st.relayUpgrade()
	}
}

// relays tells whether the endpoint is to be spoken to by HTTP/2. A call of gRPC
// is also where HTTP/1.1 is declared, be it by the name of a port that was only
// meant to say "not TCP": there is no gRPC in HTTP/1.1, so nothing can be lost.
func (st *stream) relays() bool {
	return !st.req.Connect && (st.x.cluster.Config().Protocol != upstream.HTTP1 || st.x.isGRPC())
}

// startTimer sees to the deadline. Few requests have one, so the sweeper's
// precision can be bettered by a timer of their own.
func (st *stream) startTimer() {
	if st.x.deadline == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.timer = time.AfterFunc(st.x.deadline-st.x.srv.clock(), func() { st.cut(telemetry.RequestTimeout) })
}

// expire ends an exchange on which nothing moved for too long.
func (st *stream) expire() { st.cut(telemetry.IdleTimeout) }

// cut ends the exchange from outside, for a bound that it has reached.
func (st *stream) cut(why telemetry.Reason) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if why == telemetry.RequestTimeout && st.tunnel {
		return // the timer had begun when it was stopped
	}
	switch st.stage {
	case choosing, carrying: // its goroutine sees to it
		st.interrupt()
	case relaying:
		st.endRelay(why)
	case over: // but for the end of the answer, which the caller does not take
		if st.expired.Load() {
			st.reset(xhttp2.ErrCodeCancel)
		}
	}
}

// interrupt wakes the goroutine that owns the exchange. mu is held.
func (st *stream) interrupt() {
	if st.current != nil {
		st.current.Interrupt()
	}
	st.news.Broadcast()
}

// Head is not for streams that callers open.
func (st *stream) Head(*http2.Stream, *http2.Head, bool) {}

// Data is a piece of the request's body.
func (st *stream) Data(_ *http2.Stream, b []byte, end bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stage == over { // nobody wants it any more, and no more of it
		st.in.end = st.in.end || end
		return
	}
	st.touch()
	st.x.received += int64(len(b))
	st.x.copyBody(b, end, nil)
	st.owed += len(b)
	if st.stage == relaying {
		st.keep(b)
		st.credit(st.up.SendData(b, end))
		st.conn.h2.FlushAfter(st.up.Conn())
		if end {
			st.requestSent()
		}
	} else {
		st.in.data = append(st.in.data, b...)
		st.news.Broadcast()
	}
	st.in.end = st.in.end || end
	st.otherHalf()
}

// otherHalf ends the exchange where both halves of a tunnel have ended. mu is
// held.
func (st *stream) otherHalf() {
	if st.stage == relaying && st.tunnel && st.answered && st.in.end {
		st.finish()
	}
}

// Trailers end the request's body.
func (st *stream) Trailers(_ *http2.Stream, fields []http1.Header) {
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.in.end = true
	st.in.trailers = fields
	st.x.copyBody(nil, true, fields)
	if st.stage == relaying {
		st.up.SendHead(fields, true)
		st.conn.h2.FlushAfter(st.up.Conn())
		st.requestSent()
	}
	st.otherHalf()
	st.news.Broadcast()
}

// Sent tells that bytes of the answer have left: the endpoint may send more.
func (st *stream) Sent(_ *http2.Stream, n int) {
	st.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	if up := st.up; up != nil {
		up.Consumed(n)
		up.Conn().Flush()
	}
	st.unwanted()
	st.news.Broadcast()
}

// Closed is the end of the caller's stream.
func (st *stream) Closed(_ *http2.Stream, err error) {
	st.conn.remove(st)
	if err == nil {
		return // the answer was handed over, and so accounted for
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.gone = true
	if st.done != nil {
		close(st.done)
	}
	switch st.stage {
	case relaying:
		st.endRelay(st.goneReason())
	case choosing, carrying:
		if st.tunnel {
			st.lastBytes()
			return
		}
		st.interrupt()
	}
}

// lastBytes lets what a caller sent into a tunnel before it went reach the
// endpoint: the end of many a WebSocket is a close frame and then the
// connection's. mu is held.
func (st *stream) lastBytes() {
	st.in.end = true
	st.news.Broadcast()
	st.timer = time.AfterFunc(st.conn.srv.t.Linger, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.interrupt()
	})
}

// credit gives the caller window for n bytes that went on: once, also where
// they go twice. mu is held.
func (st *stream) credit(n int) {
	n = min(n, st.owed)
	st.owed -= n
	st.down.Consumed(n)
}

// maxHinted bounds the fields of all interim answers of one request: heads are
// not under flow control, so a caller that reads nothing would have them pile up.
const maxHinted = 64 << 10

// countInterim counts an interim answer. False: there are too many.
func (st *stream) countInterim(fields []http1.Header) bool {
	st.interims++
	for i := range fields {
		st.hinted += len(fields[i].Name) + len(fields[i].Value)
	}
	return st.interims <= maxInterims && st.hinted <= maxHinted
}

// keep remembers what was sent of the body, while it may have to be sent again.
// mu is held.
func (st *stream) keep(b []byte) {
	switch {
	case st.lost || st.x.headSent:
	case len(st.kept)+len(b) > st.conn.srv.maxKept():
		st.kept, st.lost = nil, true
	default:
		st.kept = append(st.kept, b...)
	}
}
