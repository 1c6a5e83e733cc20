package proxy

import (
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// refuse gives the caller an answer of ours, which names its reason in the
// header recloser-reason and in the body, and ends the exchange. Where no
// answer can be given any more the connection just ends.
func (c *conn) refuse(why telemetry.Reason) (again bool) {
	x := &c.x
	a := why.Answer()
	x.reason = why
	x.closing = x.closing || a.Close || c.expired() || c.unread() || c.drained()
	if x.cluster == nil && why != telemetry.DirectResponse {
		c.srv.cfg.Metrics.Refuse(why)
	}
	if (a.Status != 0 || x.ours != nil) && !c.isGone() {
		if !c.enter(phaseStream) {
			c.revive(phaseStream) // the bound has done its work: room for the answer
		}
		c.answer()
	} else {
		x.closing = true
	}
	return c.finish()
}

// drained tells whether the server drains and no next request is here already.
func (c *conn) drained() bool {
	if !c.srv.draining.Load() {
		return false
	}
	if u := c.x.upload; u != nil {
		return !u.received() || len(u.left) == 0
	}
	return c.r == c.w
}

// unread tells whether bytes of the request's body are still to come, or may
// be: then the connection cannot carry another request.
func (c *conn) unread() bool {
	x := &c.x
	if x.malformed {
		return true
	}
	switch c.req.Body.Kind {
	case http1.BodyNone:
		return false
	case http1.BodyLength:
		if x.received == 0 && !c.req.Expect100 { // never looked at: it may be here
			if n := c.req.Body.Length; n <= int64(c.w-c.r) {
				c.r += int(n)
				return false
			}
		}
		return x.received < c.req.Body.Length
	default:
		return x.conn != nil || !x.whole || x.received == 0
	}
}

func (c *conn) answer() {
	x := &c.x
	status, headers, body := x.refusal()
	msg := http1.Answer{Status: status, Body: body, KeepAlive: !x.closing, Extra: headers}
	if !x.malformed {
		msg.Head = c.req.Head
		msg.HTTP10 = c.req.Minor == 0
	}
	x.status = status
	x.headSent = true
	c.out = msg.Append(c.out[:0])
	x.sent = int64(len(body))
	if c.reply(c.out) != telemetry.ViaUpstream {
		x.closing = true
	}
}

// refusal is the answer of ours that names x.reason, in the caller's terms: a
// gRPC caller gets it in trailers-only form, HTTP 200 and the status where a
// gRPC client looks for it. The body is plain text, and may be none.
func (x *exchange) refusal() (status int, headers []http1.Header, body []byte) {
	if o := x.ours; o != nil && (x.reason == telemetry.DirectResponse || x.reason == telemetry.FaultAborted) {
		return o.status, o.headers, o.body
	}
	a := x.answerRow()
	headers = make([]http1.Header, 0, 6)
	headers = append(headers, http1.Header{Name: []byte("recloser-reason"), Value: []byte(a.Details)})
	if x.reason == telemetry.LimitOverflow {
		headers = append(headers, http1.Header{Name: []byte("x-envoy-overloaded"), Value: []byte("true")})
	}
	body = []byte(a.Text)
	if x.detail != "" {
		body = append(append(body, ": "...), x.detail...)
	}
	if x.malformed || !x.isGRPC() {
		if !x.malformed && x.action != nil && x.action.CORS.Concerns(x.req) {
			headers = x.action.CORS.Answer(nil, headers, x.req)
		}
		return a.Status, headers, body
	}
	x.grpc = max(a.GRPC, grpcUnknown)
	return 200, append(headers, grpcFields(x.grpc, body)...), nil
}

// answerRow is the row of the table of reasons, with the status that the route
// says for backends that do not exist.
func (x *exchange) answerRow() telemetry.Answer {
	a := *x.reason.Answer()
	if x.reason == telemetry.ClusterNotFound && x.action != nil && x.action.MissingStatus != 0 {
		a.Status, a.GRPC = x.action.MissingStatus, telemetry.GRPCOf(x.action.MissingStatus)
	}
	return a
}

// grpcFields are the fields of an answer that is trailers only.
func grpcFields(status int, message []byte) []http1.Header {
	return []http1.Header{
		{Name: []byte("content-type"), Value: []byte("application/grpc")},
		{Name: []byte("grpc-status"), Value: strconv.AppendInt(nil, int64(status), 10)},
		{Name: []byte("grpc-message"), Value: percentEncode(message)},
	}
}

// percentEncode writes a grpc-message: printable ASCII but "%" stands for
// itself (gRPC over HTTP/2, Percent-Encoded).
func percentEncode(text []byte) []byte {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(text))
	for _, b := range text {
		if b >= ' ' && b <= '~' && b != '%' {
			out = append(out, b)
		} else {
			out = append(out, '%', digits[b>>4], digits[b&15])
		}
	}
	return out
}

// finish counts and logs the exchange, and tells whether the connection goes
// on. If not, it is closed such that the caller gets all that was written.
func (c *conn) finish() (again bool) {
	x := &c.x
	x.count()
	if c.srv.cfg.AccessLog.Enabled() {
		x.log(c.down, c.protocol())
	}
	if x.closing || c.expired() || c.isGone() {
		c.last = true
		return false
	}
	if u := x.upload; u != nil {
		// The next request's first bytes came with the end of the body. The
		// buffer of the present one is free only now.
		c.r, c.w = 0, copy(c.in.b, u.left)
		c.release(&u.buf)
	}
	return true
}

func (c *conn) protocol() string {
	if !c.x.malformed && c.req.Minor == 0 {
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// overloaded is what a connection beyond the bound is told.
func overloaded() []byte {
	a := telemetry.Overload.Answer()
	return http1.AppendError(nil, a.Status, "", []byte(a.Text), false,
		[]http1.Header{{Name: []byte("recloser-reason"), Value: []byte(a.Details)}})
}

var requestIDName = []byte("x-request-id")

// newRequestID makes an x-request-id (a version 4 UUID, as Envoy's is), so
// that one request can be followed through every log.
func (x *exchange) newRequestID() []http1.Header {
	var u [16]byte
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		u[i], u[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	id := x.requestID[:]
	hex.Encode(id[0:8], u[0:4])
	hex.Encode(id[9:13], u[4:6])
	hex.Encode(id[14:18], u[6:8])
	hex.Encode(id[19:23], u[8:10])
	hex.Encode(id[24:36], u[10:16])
	id[8], id[13], id[18], id[23] = '-', '-', '-', '-'
	x.extra[0] = http1.Header{Name: requestIDName, Value: id}
	return x.extra[:]
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
