package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// exchange is one request and its answer, whichever protocol the two sides
// speak: what was decided about it, and what came of it. A connection of
// HTTP/1.1 resets its one for each request, a stream of HTTP/2 has one of its
// own. Those who carry the bytes own it; it takes no lock.
//
// The steps are, in their order: known or awaitRoutes; choose; tryAdmit or
// awaitAdmit; the carrying; settle; release; count. Those that may wait come in
// two, so that who must not wait can hand over to somebody who may.
type exchange struct {
	srv  *Server
	down *listener.Conn
	req  *http1.Request
	fwd  *http1.Request // as it is sent on: req, unless the route edits it

	protocol string // of the caller

	start     time.Duration // when the head was read
	asked     time.Duration // when an endpoint was to be had: its time runs from here
	deadline  time.Duration // 0: none
	malformed bool          // req is not to be looked at
	detail    string        // what more there is to say of the reason

	table    *route.Table
	action   *route.Action
	backend  *route.Backend
	ours     *ownAnswer // of the route itself; nil: none
	edits    *edited    // nil: nothing is edited
	hash     route.Hash
	key      upstream.Key
	delay    time.Duration // that is still to be waited
	delayed  time.Duration // that a fault took
	cluster  *upstream.Cluster
	limits   *breaker.Limits // that count the request; nil: none does
	endpoint *upstream.Endpoint
	permit   breaker.Permit
	tries    tries
	answerBy atomic.Int64 // when the answer must have come to its end; 0: no bound. Set by who sends the request's end.
	copies   *copies      // for mirrors, while it is not complete; nil: none
	settled  bool         // permit and load are done
	success  bool         // the breaker's verdict
	reason   telemetry.Reason

	requestID [36]byte
	extra     [1]http1.Header

	status   int           // what the caller got; 0: nothing yet
	grpc     int           // the grpc-status of the answer; -1: none
	headAt   time.Duration // when the endpoint's head came; 0: it did not
	headSent bool          // an answer has begun
	received int64         // bytes of the request's body
	sent     int64         // bytes of the answer's body
	failure  error         // of the upstream transport
}

// begin begins an exchange, in place of one that has ended.
func (x *exchange) begin(s *Server, down *listener.Conn, protocol string, req *http1.Request) {
	now := s.clock()
	req.Secure = !down.Plain()
	*x = exchange{srv: s, down: down, protocol: protocol, req: req, fwd: req, start: now, asked: now, grpc: -1}
}

// known looks up the routes of the request's authority. False: the control
// plane has to be asked first.
func (x *exchange) known() (why telemetry.Reason, known bool) {
	if x.req.Connect && x.srv.cfg.Direction != telemetry.Outbound {
		return telemetry.RouteNotFound, true
	}
	x.table, known = x.srv.cfg.Hosts.Lookup(x.req.Host)
	if known && x.table == nil {
		return x.noHost(), true
	}
	return telemetry.ViaUpstream, known
}

// noHost says which host it is that is not there: a port left out, or a name
// that means nothing in this namespace, is seen at once then.
func (x *exchange) noHost() telemetry.Reason {
	if x.detail = "the mesh has no host " + string(x.req.Host); len(x.req.Host) == 0 {
		x.detail = "it names no host"
	}
	return telemetry.RouteNotFound
}

// awaitRoutes asks the control plane for the authority, on its first use.
func (x *exchange) awaitRoutes() telemetry.Reason {
	ctx, cancel := context.WithTimeout(context.Background(), x.srv.t.Hosts)
	defer cancel()
	var err error
	x.table, err = x.srv.cfg.Hosts.Await(ctx, string(x.req.Host))
	x.asked = x.srv.clock()
	switch {
	case x.table != nil:
		return telemetry.ViaUpstream
	case errors.Is(err, context.DeadlineExceeded):
		return telemetry.NoControlPlane
	case errors.Is(err, snapshot.ErrTooManyHosts):
		return telemetry.Overload
	default:
		return x.noHost()
	}
}

// choose finds the route and the cluster, and counts the request against the
// cluster's limit until release.
func (x *exchange) choose() telemetry.Reason {
	if x.req.Connect {
		x.action = x.table.TCP()
	} else {
		x.action = x.table.Match(x.req)
	}
	if x.action == nil {
		return telemetry.RouteNotFound
	}
	if why := x.treat(); why != telemetry.ViaUpstream {
		return why
	}
	if x.backend = x.action.Pick(rand.Uint32()); x.backend == nil || x.backend.Cluster == nil {
		if x.backend != nil {
			x.detail = noCluster(x.backend.Name)
		}
		return telemetry.ClusterNotFound
	}
	x.cluster = x.backend.Cluster
	x.place()
	x.mayRetry()
	if x.action.Timeout > 0 && !x.req.Connect {
		x.deadline = x.start + x.action.Timeout
	}
	if d := x.action.MaxStream; d > 0 && (x.deadline == 0 || x.start+d < x.deadline) {
		x.deadline = x.start + d
	}
	if d, ok := x.grpcTimeout(); ok && (x.deadline == 0 || x.start+d < x.deadline) {
		x.deadline = x.start + d
	}
	if x.late() { // no endpoint could be to blame
		return telemetry.RequestTimeout
	}
	limits := x.cluster.Limits()
	if !limits.TryRequest() {
		return telemetry.LimitOverflow
	}
	x.limits = limits
	x.cluster.CountRequest(x.start)
	return x.edit()
}

// release ends what choose has counted.
func (x *exchange) release() {
	if x.limits != nil {
		x.limits.ReleaseRequest()
		x.limits = nil
	}
	x.giveRetryBack()
	x.forget()
}

// tryAdmit gets an endpoint and its breaker's permit if any endpoint takes the
// request now.
func (x *exchange) tryAdmit() (ok bool) {
	if x.delay > 0 {
		return false
	}
	if x.endpoint, x.permit, ok = x.cluster.Pick(x.asked, x.key); ok {
		x.endpoint.Begin()
	}
	return ok
}

// awaitAdmit is tryAdmit that waits, until done is closed.
func (x *exchange) awaitAdmit(done <-chan struct{}) telemetry.Reason {
	if why := x.hold(done); why != telemetry.ViaUpstream {
		return why
	}
	var err error
	x.endpoint, x.permit, err = x.cluster.Await(x.srv.clock(), x.deadline, done, x.key)
	x.asked = x.srv.clock()
	switch {
	case err == nil:
		x.endpoint.Begin()
		return telemetry.ViaUpstream
	case errors.Is(err, upstream.ErrOverflow):
		return telemetry.WaitingFull
	case errors.Is(err, context.DeadlineExceeded):
		return telemetry.RequestTimeout
	case errors.Is(err, context.Canceled):
		return telemetry.DownstreamGone
	default:
		return telemetry.NoHealthyUpstream
	}
}

// connectBefore is when a connection to the endpoint must be there.
func (x *exchange) connectBefore() time.Duration {
	before := x.deadline
	if before == 0 {
		before = x.srv.clock() + x.srv.t.Stream
	}
	if ends := x.tryEnds(); ends != 0 {
		before = min(before, ends)
	}
	return before
}

// late tells whether the request's deadline has come.
func (x *exchange) late() bool {
	return x.deadline != 0 && x.srv.clock() >= x.deadline || x.slow()
}

// connectFailure is the reason for which there is no connection.
func (x *exchange) connectFailure(err error) telemetry.Reason {
	x.failure = err
	switch {
	case errors.Is(err, upstream.ErrOverflow):
		return telemetry.LimitOverflow
	case errors.Is(err, context.Canceled):
		return telemetry.DownstreamGone
	case x.late():
		return telemetry.RequestTimeout
	case x.tryLate():
		return telemetry.PerTryTimeout
	case errors.Is(err, upstream.ErrPendingTimeout):
		return telemetry.RequestTimeout
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return telemetry.ConnectTimeout
	default:
		x.detail = connectDetail(err)
		return telemetry.ConnectFailure
	}
}

// connectDetail is the kind of a failure, as far as it is the caller's to know;
// the access log has all of it.
func connectDetail(err error) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	alert, refused := errors.AsType[tls.AlertError](err)
	_, spoken := errors.AsType[*http2.ConnError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses connections"
	case untrusted:
		return "its certificate is not trusted"
	case record:
		return "it does not speak TLS"
	case refused:
		return alert.Error()
	case spoken, errors.Is(err, transport.ErrNoHTTP2):
		return "it does not speak HTTP/2"
	}
	return ""
}

// repeatable tells whether the request may reach an endpoint twice: only if
// twice is as good as once (RFC 9110 section 9.2.2).
func (x *exchange) repeatable() bool {
	switch string(x.req.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// isGRPC tells whether the caller speaks gRPC, whose errors are in trailers
// (gRPC over HTTP2, Requests).
func (x *exchange) isGRPC() bool {
	return http1.GRPC(x.req.Headers)
}

// forwardFields appends what the forwarded request has beyond the caller's
// fields, and states how much is left of the caller's deadline.
func (x *exchange) forwardFields(dst []http1.Header) []http1.Header {
	x.shortenDeadline()
	dst = x.attempts(dst)
	if x.fwd.HasRequestID {
		return dst
	}
	if x.extra[0].Value == nil {
		x.newRequestID()
	}
	return append(dst, x.extra[0])
}
