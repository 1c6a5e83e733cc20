package proxy

import (
	"runtime"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// carrier carries the request of an HTTP/2 stream to an endpoint of HTTP/1.1,
// and the answer back, in a goroutine that waits on the endpoint's connection.
// It is reused for one stream after the other.
type carrier struct {
	st   *stream
	x    *exchange // st's
	conn *upstream.Conn

	out   []byte // the head, with as much of the body as was there
	first int    // bytes of the body in out
	whole bool   // out is all of the request

	resp  http1.Response
	chunk http1.ChunkReader
	in    *buffer // in.b[r:w] was read from the endpoint and not used yet
	r, w  int
	plain []byte // decoded chunks

	uploaded chan struct{} // closed when the uploader has ended; nil: none
	intact   bool          // the uploader sent all; valid once uploaded is closed
}

// queuedMost is how much of an answer may wait for the caller before no more is
// read from the endpoint.
const queuedMost = 32 << 10

// carry is the whole exchange with an endpoint of HTTP/1.1.
func (st *stream) carry() {
	k := st.conn.srv.carriers.Get().(*carrier)
	k.begin(st)
	why := k.try()
	for k.goesAgain(why) {
		why = k.again()
	}
	k.end(why)
}

// try is the exchange with one endpoint.
func (k *carrier) try() telemetry.Reason {
	// A caller that has thought better of it by now costs the endpoint nothing:
	// each connection that is given up midway is one to be made anew.
	why := k.interrupted()
	if why == telemetry.ViaUpstream {
		why = k.send()
	}
	if why == telemetry.ViaUpstream {
		why = k.receive()
	}
	return why
}

func (k *carrier) begin(st *stream) {
	// What is not named here is made anew before it is looked at.
	k.st, k.x, k.conn = st, &st.x, nil
	k.first, k.whole = 0, false
	k.in, k.r, k.w = st.conn.srv.buffers.Get().(*buffer), 0, 0
	k.uploaded, k.intact = nil, false
	st.mu.Lock()
	st.stage = carrying
	st.mu.Unlock()
}

// end accounts for the exchange, and gives back all that it used.
func (k *carrier) end(why telemetry.Reason) {
	st, x := k.st, k.x
	k.giveBack(why)
	st.mu.Lock()
	if why == telemetry.ViaUpstream {
		st.handedOver() // of a tunnel, the caller's half may not have ended
		st.finish()
	} else {
		x.settle(x.outcome(why, st.unheard() || st.starves()))
		st.refuseLocked(why)
	}
	st.mu.Unlock()
	srv := st.conn.srv
	if len(k.in.b) == bufferSize {
		srv.buffers.Put(k.in)
	}
	k.st, k.x, k.in = nil, nil, nil
	srv.carriers.Put(k)
}

// send connects and sends the head, with what is there of the body; an
// uploader sends the rest.
func (k *carrier) send() telemetry.Reason {
	k.compose()
	if why := k.connect(false); why != telemetry.ViaUpstream {
		return why
	}
	err := k.write()
	if err != nil && k.replayable() {
		if why := k.replay(); why != telemetry.ViaUpstream {
			return why
		}
	} else if err != nil {
		// The endpoint may have answered before it hung up: receive looks.
		k.x.failure = err
		return k.interrupted()
	}
	k.st.credited(k.first)
	// Others write their requests while this endpoint works: a read that comes
	// too early costs a system call and a wait.
	runtime.Gosched()
	if k.whole {
		k.st.sent()
	} else {
		k.uploaded = make(chan struct{})
		go k.upload()
	}
	return telemetry.ViaUpstream
}

// compose makes what is sent first. A body whose length was not announced and
// that is all here is given its length.
func (k *carrier) compose() {
	st := k.st
	var data []byte
	var trailers []http1.Header
	end := true // of a request to upgrade: what follows it belongs to the tunnel
	if st.req.Upgrade == nil {
		st.mu.Lock()
		end, trailers = st.in.end, st.in.trailers
		if k.x.retries() {
			data = st.keptBody()
		} else {
			data, st.in.data = st.in.data, nil
		}
		st.mu.Unlock()
	}
	k.first, k.whole = len(data), end || k.complete(int64(len(data)))
	body := &st.req.Body
	if end && trailers == nil && body.Kind == http1.BodyChunked {
		*body = http1.Body{Kind: http1.BodyLength, Length: int64(len(data))}
		if len(data) == 0 {
			*body = http1.Body{}
		}
	}
	var extra [2]http1.Header
	k.x.fwd.Body = *body
	k.out = bridge.AppendRequest1(k.out[:0], k.x.fwd, k.x.forwardFields(extra[:0]))
	k.out = k.appendBody(k.out, data, end, trailers)
}

// complete tells whether n bytes are all of a body whose length was announced:
// its stream may end a moment later.
func (k *carrier) complete(n int64) bool {
	body := k.st.req.Body
	return body.Kind == http1.BodyLength && n == body.Length
}

// appendBody frames a piece of the request's body.
func (k *carrier) appendBody(dst, data []byte, end bool, trailers []http1.Header) []byte {
	if k.st.req.Body.Kind != http1.BodyChunked {
		return append(dst, data...)
	}
	dst = appendChunk(dst, data)
	if end {
		dst = bridge.AppendTrailers1(dst, trailers)
	}
	return dst
}

// appendChunk appends b as one chunk (RFC 9112 section 7.1), if it is any.
func appendChunk(dst, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(b)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, b...)
	return append(dst, "\r\n"...)
}

// connect gets a connection to the chosen endpoint.
func (k *carrier) connect(fresh bool) telemetry.Reason {
	st, x := k.st, k.x
	var err error
	if fresh {
		k.conn, err = x.endpoint.GetNew(x.connectBefore())
	} else {
		k.conn, err = x.endpoint.Get(x.srv.clock(), x.connectBefore(), !x.repeatable() || !k.whole, st.done)
	}
	if err != nil {
		return x.connectFailure(err)
	}
	st.use(k.conn)
	return k.interrupted()
}

// use makes c what an interruption of the exchange interrupts.
func (st *stream) use(c *upstream.Conn) {
	st.mu.Lock()
	st.current = c
	st.mu.Unlock()
	st.touch()
}

func (k *carrier) write() error {
	n, err := k.conn.Write(k.out)
	k.x.endpoint.Metrics().BytesWritten(n)
	return err
}

// replayable tells whether a failure of the connection, before a byte of an
// answer, may be its age and not the endpoint.
func (k *carrier) replayable() bool {
	return k.conn.Reused() && k.whole && k.x.repeatable() && k.interrupted() == telemetry.ViaUpstream
}

// replay sends the request again, on a new connection to the same endpoint.
func (k *carrier) replay() telemetry.Reason {
	k.st.use(nil)
	k.x.endpoint.Discard(k.conn)
	k.conn = nil
	if why := k.connect(true); why != telemetry.ViaUpstream {
		return why
	}
	if err := k.write(); err != nil {
		k.x.failure = err
		return k.lost(err)
	}
	return telemetry.ViaUpstream
}

// interrupted tells why a wait was cut short, ViaUpstream if nobody did.
func (k *carrier) interrupted() telemetry.Reason {
	k.st.mu.Lock()
	defer k.st.mu.Unlock()
	return k.st.stopped()
}

// stopped tells why the exchange is not to go on, ViaUpstream if it may. mu is
// held.
func (st *stream) stopped() telemetry.Reason {
	switch {
	case st.gone:
		return st.goneReason()
	case st.expired.Load() && st.starving:
		return telemetry.BodyTimeout
	case st.expired.Load():
		return telemetry.IdleTimeout
	case st.x.late() && !st.open.Load():
		return telemetry.RequestTimeout
	case st.x.tryLate():
		return telemetry.PerTryTimeout
	}
	return telemetry.ViaUpstream
}

// lost says why the endpoint's bytes ended too early.
func (k *carrier) lost(err error) telemetry.Reason {
	if why := k.interrupted(); why != telemetry.ViaUpstream {
		return why
	}
	k.x.failure = err
	if k.x.headSent {
		return telemetry.ConnectionLostMidway
	}
	return telemetry.ConnectionLost
}

// take waits for more of the request's body and moves it to b.
func (st *stream) take(b []byte) (n int, end bool, trailers []http1.Header, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for len(st.in.data) == 0 && !st.in.end || st.sealed {
		if st.sealed || st.answered || st.stopped() != telemetry.ViaUpstream {
			return 0, false, nil, false
		}
		st.starving = true
		st.news.Wait()
	}
	st.starving = false
	n = copy(b, st.in.data)
	if st.x.retries() {
		st.keep(b[:n])
	}
	if n == len(st.in.data) {
		st.in.data = st.in.data[:0]
	} else {
		st.in.data = st.in.data[n:]
	}
	if end = st.in.end && len(st.in.data) == 0; end {
		trailers = st.in.trailers
	}
	return n, end, trailers, true
}

// credited is credit for a goroutine of the stream's own.
func (st *stream) credited(n int) {
	st.mu.Lock()
	st.credit(n)
	st.mu.Unlock()
	st.conn.h2.Flush()
	st.touch()
}

// upload sends what comes of the body after the head went out.
func (k *carrier) upload() {
	defer close(k.uploaded)
	st := k.st
	buf := st.conn.srv.buffers.Get().(*buffer)
	defer st.conn.srv.buffers.Put(buf)
	var framed []byte
	for sent := int64(k.first); ; {
		n, end, trailers, ok := st.take(buf.b)
		if !ok {
			return
		}
		sent += int64(n)
		end = end || k.complete(sent)
		framed = k.appendBody(framed[:0], buf.b[:n], end, trailers)
		wrote, err := k.conn.Write(framed)
		k.x.endpoint.Metrics().BytesWritten(wrote)
		if err != nil {
			return // the endpoint may have answered all the same
		}
		st.credited(n)
		if end {
			k.intact = true
			st.sent()
			return
		}
	}
}

// endUpload stops the uploader. True: all of the request was sent.
func (k *carrier) endUpload() bool {
	if k.uploaded == nil {
		return k.whole
	}
	select {
	case <-k.uploaded:
	default:
		k.st.mu.Lock()
		k.st.answered = true
		k.st.interrupt()
		k.st.mu.Unlock()
		<-k.uploaded
		// It may have been done but for noticing: then the connection is good.
		_ = k.conn.SetDeadline(time.Time{})
	}
	return k.intact
}

// giveBack returns the connection to its pool if the exchange on it is
// complete on both sides.
func (k *carrier) giveBack(why telemetry.Reason) {
	if k.conn == nil {
		return
	}
	uploaded := k.endUpload()
	k.st.use(nil)
	if why == telemetry.ViaUpstream && uploaded && k.x.failure == nil && k.resp.KeepAlive && !k.resp.Tunnel &&
		k.r == k.w && k.interrupted() == telemetry.ViaUpstream {
		k.x.endpoint.Put(k.conn, k.x.srv.clock())
	} else {
		k.x.endpoint.Discard(k.conn)
	}
	k.conn = nil
}
