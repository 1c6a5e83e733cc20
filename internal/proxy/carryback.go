package proxy

import (
	"errors"
	"io"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the way back of what carry.go carries: the answer of an endpoint
// of HTTP/1.1 to a caller of HTTP/2.

// receive reads the answer and sends it on. The result is ViaUpstream when all
// of it is handed over.
func (k *carrier) receive() telemetry.Reason {
	if why := k.head(); why != telemetry.ViaUpstream {
		return why
	}
	x := k.x
	x.headAt = x.srv.clock()
	x.status = k.resp.Status
	if !bridge.Acceptable(&k.resp, x.req) {
		return k.declined()
	}
	if k.resp.Tunnel {
		x.status = 200 // what a 101 is in HTTP/2
		return k.switched()
	}
	if x.tries.policy != nil && k.dropsAnswer() {
		return telemetry.ViaUpstream
	}
	if x.permit.Probe() || k.resp.Status >= 500 {
		x.settle(x.verdict())
	}
	if why := k.body(); why != telemetry.ViaUpstream {
		return why
	}
	k.st.mu.Lock()
	x.settle(x.verdict())
	k.st.handedOver()
	k.st.mu.Unlock()
	k.st.conn.h2.Flush()
	return telemetry.ViaUpstream
}

// declined is an answer that does not fit: to a request to upgrade an ordinary
// one, which says that there is no WebSocket here and nothing of the endpoint's
// health beyond its status, or a 101 that nobody asked for.
func (k *carrier) declined() telemetry.Reason {
	x := k.x
	if x.status != 101 {
		x.settle(x.verdict())
		x.success = false // not for the caller
	}
	x.status = 0
	x.detail = "an answer that does not fit a request to upgrade"
	return telemetry.UpstreamProtocol
}

// reply sends resp's head.
func (k *carrier) reply(end bool) {
	st := k.st
	space := st.conn.srv.fields.Get().(*fieldSpace)
	came := k.resp.Headers // its room is for the next answer, that of the edited ones is not
	k.resp.Headers = k.x.editAnswer(k.resp.Status, came)
	space.fields = bridge.AppendResponse2(space.fields[:0], &space.arena, &k.resp, &st.req)
	k.resp.Headers = came
	st.mu.Lock()
	if st.stage != over && !st.gone {
		st.down.SendHead(space.fields, end)
		st.x.headSent = st.x.headSent || k.resp.Status >= 200 || k.resp.Tunnel
	}
	st.mu.Unlock()
	space.free(st.conn.srv)
}

// body sends the head and the body.
func (k *carrier) body() telemetry.Reason {
	k.reply(k.resp.Body.Kind == http1.BodyNone)
	switch k.resp.Body.Kind {
	case http1.BodyLength:
		return k.lengthBody(k.resp.Body.Length)
	case http1.BodyChunked:
		return k.chunkedBody()
	case http1.BodyUntilClose:
		return k.openBody()
	default:
		return telemetry.ViaUpstream // what is left in the buffer, nobody claims
	}
}

func (k *carrier) lengthBody(left int64) telemetry.Reason {
	for {
		n := min(left, int64(k.w-k.r))
		if left -= n; n > 0 {
			if why := k.pass(k.in.b[k.r:k.r+int(n)], left == 0); why != telemetry.ViaUpstream {
				return why
			}
			k.r += int(n)
		}
		if left == 0 {
			return telemetry.ViaUpstream
		}
		if why := k.more(); why != telemetry.ViaUpstream {
			return why
		}
	}
}

// more reads when all that was read has been used.
func (k *carrier) more() telemetry.Reason {
	k.st.conn.h2.Flush()
	k.r, k.w = 0, 0
	if n, err := k.read(); n == 0 {
		return k.lost(err)
	}
	k.x.settleStream()
	return telemetry.ViaUpstream
}

func (k *carrier) chunkedBody() telemetry.Reason {
	k.chunk.Reset(&k.x.srv.cfg.HTTP1)
	for {
		var n int
		var done bool
		var err error
		k.plain, n, done, err = k.chunk.Decode(k.plain[:0], k.in.b[k.r:k.w])
		if err != nil {
			return k.broken(err)
		}
		k.r += n
		trailers := k.chunk.Trailers()
		if len(k.plain) > 0 || done && len(trailers) == 0 {
			if why := k.pass(k.plain, done && len(trailers) == 0); why != telemetry.ViaUpstream {
				return why
			}
		}
		if done {
			k.trailers(trailers)
			return telemetry.ViaUpstream
		}
		if why := k.more(); why != telemetry.ViaUpstream {
			return why
		}
	}
}

func (k *carrier) trailers(fields []http1.Header) {
	if len(fields) == 0 {
		return
	}
	st := k.st
	k.x.hearStatus(fields)
	space := st.conn.srv.fields.Get().(*fieldSpace)
	space.fields = bridge.AppendTrailers2(space.fields[:0], &space.arena, fields)
	st.mu.Lock()
	st.down.SendHead(space.fields, true)
	st.mu.Unlock()
	space.free(st.conn.srv)
}

// openBody is a body that ends with the endpoint's connection.
func (k *carrier) openBody() telemetry.Reason {
	for {
		if k.w > k.r {
			if why := k.pass(k.in.b[k.r:k.w], false); why != telemetry.ViaUpstream {
				return why
			}
		}
		k.st.conn.h2.Flush()
		k.r, k.w = 0, 0
		if n, err := k.read(); n == 0 {
			if errors.Is(err, io.EOF) {
				return k.pass(nil, true)
			}
			return k.lost(err)
		}
		k.x.settleStream()
	}
}

// pass hands a piece of the answer's body over, and waits while too much of it
// waits for the caller.
func (k *carrier) pass(b []byte, end bool) telemetry.Reason {
	st := k.st
	st.mu.Lock()
	defer st.mu.Unlock()
	if why := st.stopped(); why != telemetry.ViaUpstream {
		return why
	}
	st.x.sent += int64(len(b))
	st.down.SendData(b, end)
	for !end && st.down.Queued() > queuedMost {
		st.conn.h2.Flush()
		st.news.Wait()
		if why := st.stopped(); why != telemetry.ViaUpstream {
			return why
		}
	}
	return telemetry.ViaUpstream
}

// read reads more of the endpoint's bytes behind in.b[:w].
func (k *carrier) read() (int, error) {
	switch {
	case k.w < len(k.in.b):
	case k.r > 0:
		k.w = copy(k.in.b, k.in.b[k.r:k.w])
		k.r = 0
	default: // a large head; the codec's bound ends the growth
		larger := &buffer{make([]byte, 2*len(k.in.b))}
		copy(larger.b, k.in.b[:k.w])
		if len(k.in.b) == bufferSize {
			k.st.conn.srv.buffers.Put(k.in)
		}
		k.in = larger
	}
	n, err := k.conn.Read(k.in.b[k.w:])
	k.w += n
	k.x.endpoint.Metrics().BytesRead(n)
	k.st.touch()
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// broken notes what the codec found wrong with the answer.
func (k *carrier) broken(err error) telemetry.Reason {
	k.x.detail = broken(err)
	return telemetry.UpstreamProtocol
}

// head reads until the final head is in resp. Interim answers are sent on.
func (k *carrier) head() telemetry.Reason {
	for {
		if k.w > k.r {
			n, err := k.resp.Parse(k.in.b[k.r:k.w], k.st.req.Head, false, &k.x.srv.cfg.HTTP1)
			switch {
			case err == nil && !k.resp.Informational:
				k.r += n
				return telemetry.ViaUpstream
			case err == nil:
				if why := k.interim(); why != telemetry.ViaUpstream {
					return why
				}
				k.r += n
				continue
			case !errors.Is(err, http1.ErrMore):
				return k.broken(err)
			}
		}
		n, err := k.read()
		switch {
		case n > 0:
		case k.w == 0 && k.st.interims == 0 && k.replayable():
			if why := k.replay(); why != telemetry.ViaUpstream {
				return why
			}
		default:
			return k.lost(err)
		}
	}
}

func (k *carrier) interim() telemetry.Reason {
	if !k.st.countInterim(k.resp.Headers) {
		k.x.detail = "too many interim answers"
		return telemetry.UpstreamProtocol
	}
	k.reply(false)
	k.st.conn.h2.Flush()
	return telemetry.ViaUpstream
}
