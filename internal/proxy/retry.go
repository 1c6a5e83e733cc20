package proxy

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is when a request goes out again, the same for every protocol;
// retry1.go and retry2.go carry it out for callers of HTTP/1.x and of HTTP/2.
//
// A try is from the choice of an endpoint to the end of the answer's head. When
// it ends badly, and the route has it so, nothing of it reaches the caller: its
// endpoint's breaker hears of it, and after a pause another endpoint is tried.
// What has to hold for that, besides the route's conditions: nothing of an
// answer has gone to the caller, not even an interim one; all of the body that
// has come is still here; the request may reach endpoints twice, or has reached
// none; the cluster has room for a retry; and the pause ends before the
// exchange's deadline. Upgrades and CONNECT go out once.

// tries is what an exchange knows of its tries. The zero value is that of a
// request that goes out once, without a bound for the try.
type tries struct {
	policy *route.Retry
	n      uint32        // number of the present one, from 1
	ends   atomic.Int64  // when its time is over; 0: it has no bound of its own, or not yet, or its head came
	headed atomic.Bool   // its answer's head came
	again  bool          // another follows it
	pause  time.Duration // before that
	held   bool          // it has a place among the cluster's retries
	failed []*upstream.Endpoint
	// limited is why there was no further try although the route's conditions
	// held: RetriesSpent or LimitOverflow.
	limited telemetry.Reason
	closing bool // HTTP/1.x: what exchange1.closing was before it
}

// mayRetry takes up the policy of the route, where one can hold.
func (x *exchange) mayRetry() {
	if p := x.action.Retry; p != nil && !x.req.Connect && x.req.Upgrade == nil {
		x.tries.policy = p
	}
}

// retries tells whether there may be a further try at all.
func (x *exchange) retries() bool {
	p := x.tries.policy
	return p != nil && p.Attempts > 0
}

// beginTry begins the first try, or a further one: an endpoint has been chosen.
func (x *exchange) beginTry() {
	x.settled = false
	t := &x.tries
	t.n++
	if t.policy == nil {
		return
	}
	t.again = false
	t.ends.Store(0)
	t.headed.Store(false)
}

// boundTry begins the time of a try, once all of the request is here: an upload
// takes none of it (Envoy). It gives that time; 0: there is no bound, or it runs
// already, or the head came before.
func (x *exchange) boundTry() time.Duration {
	t := &x.tries
	if t.policy == nil || t.policy.PerTry <= 0 || t.ends.Load() != 0 || t.headed.Load() {
		return 0
	}
	t.ends.Store(int64(x.srv.clock() + t.policy.PerTry))
	return t.policy.PerTry
}

// tryEnds is when the time of the present try is over; 0: it has no bound.
func (x *exchange) tryEnds() time.Duration {
	if x.tries.policy == nil {
		return 0
	}
	return time.Duration(x.tries.ends.Load())
}

// tryLate tells whether the time of the present try is over.
func (x *exchange) tryLate() bool {
	ends := x.tryEnds()
	return ends != 0 && x.srv.clock() >= ends
}

// unseen tells whether a failure says that no endpoint has looked at the
// request.
func (x *exchange) unseen(why telemetry.Reason) bool {
	if why == telemetry.ConnectFailure || why == telemetry.ConnectTimeout {
		return true
	}
	e, ok := errors.AsType[*http2.StreamError](x.failure)
	return ok && e.Unprocessed
}

// retryFailure tells whether a try that failed for this reason is followed by
// another, and takes a place among the cluster's retries if so.
func (x *exchange) retryFailure(why telemetry.Reason) bool {
	if !x.retries() || x.headSent {
		return false
	}
	unseen := x.unseen(why)
	return x.failureCounts(why, unseen) && x.takeRetry(unseen)
}

// failureCounts holds a failure against the route's conditions.
func (x *exchange) failureCounts(why telemetry.Reason, unseen bool) bool {
	switch why {
	case telemetry.ConnectFailure, telemetry.ConnectTimeout, telemetry.ConnectionLost, telemetry.RemoteReset,
		telemetry.UpstreamProtocol, telemetry.PerTryTimeout:
	default:
		return false
	}
	on := x.tries.policy.On
	connect := why == telemetry.ConnectFailure || why == telemetry.ConnectTimeout
	switch {
	case on&(route.OnReset|route.On5xx|route.OnGatewayError) != 0,
		connect && on&(route.OnConnectFailure|route.OnResetBeforeRequest) != 0,
		unseen && !connect && on&route.OnRefusedStream != 0:
		return true
	}
	// What the caller would be told counts as an endpoint's word does.
	a := why.Answer()
	if x.isGRPC() {
		return on&grpcCondition(a.GRPC) != 0
	}
	return on&route.OnStatuses != 0 && x.tries.policy.HasStatus(a.Status)
}

// retryAnswer is retryFailure for an answer whose status, x.status and x.grpc,
// is known; head are the fields of its head.
func (x *exchange) retryAnswer(head []http1.Header) bool {
	if !x.retries() || x.headSent {
		return false
	}
	// Who is at its limits is not helped by being asked again (Envoy).
	if _, over := http1.Find(head, "x-envoy-overloaded"); over {
		return false
	}
	return x.answerCounts(head) && x.takeRetry(false)
}

// answerCounts holds an answer against the route's conditions.
func (x *exchange) answerCounts(head []http1.Header) bool {
	p, status := x.tries.policy, x.status
	on := p.On
	switch {
	case on&route.On5xx != 0 && status/100 == 5,
		on&route.OnGatewayError != 0 && status >= 502 && status <= 504,
		on&route.OnRetriable4xx != 0 && status == 409,
		on&route.OnStatuses != 0 && p.HasStatus(status),
		on&route.OnHeaders != 0 && p.HasHeader(head):
		return true
	case on&route.OnRateLimited != 0:
		if _, limited := http1.Find(head, "x-envoy-ratelimited"); limited {
			return true
		}
	}
	return x.grpc > 0 && on&grpcCondition(x.grpc) != 0
}

// grpcCondition is the condition that a status of gRPC is; 0: none.
func grpcCondition(status int) route.RetryOn {
	switch status {
	case 1:
		return route.OnCancelled
	case 4:
		return route.OnDeadlineExceeded
	case 8:
		return route.OnResourceExhausted
	case 13:
		return route.OnInternal
	case 14:
		return route.OnUnavailable
	}
	return 0
}

// takeRetry asks for a further try, now that the conditions hold. unseen: no
// endpoint has looked at the request.
func (x *exchange) takeRetry(unseen bool) bool {
	t := &x.tries
	if !unseen && !x.mayRepeat() || !t.policy.Repeats(x.req) {
		return false
	}
	if t.n > t.policy.Attempts {
		t.limited = telemetry.RetriesSpent
		x.cluster.Metrics().RetriesSpent()
		return false
	}
	pause := t.policy.Backoff(t.n, rand.Float64())
	if x.deadline != 0 && x.srv.clock()+pause >= x.deadline {
		return false // what is here is all that the caller can still get
	}
	x.giveRetryBack()
	if !x.cluster.TryRetry() {
		t.limited = telemetry.LimitOverflow
		x.cluster.Metrics().RetryOverflow()
		return false
	}
	t.held, t.again, t.pause = true, true, pause
	return true
}

// mayRepeat tells whether endpoints may get the request more than once: twice is
// as good as once, or the route or the request says that it is. A call of gRPC
// knows one method only, so conditions of gRPC speak of calls like it.
func (x *exchange) mayRepeat() bool {
	p := x.tries.policy
	if p.AnyMethod || x.repeatable() || p.On&route.OnGRPC != 0 && x.isGRPC() {
		return true
	}
	for _, name := range &idempotencyKeys {
		if _, has := http1.Find(x.req.Headers, name); has {
			return true
		}
	}
	return false
}

// idempotencyKeys are fields by which a request says that its recipient knows
// repetitions of it (draft-ietf-httpapi-idempotency-key-header).
var idempotencyKeys = [...]string{"idempotency-key", "x-idempotency-key"}

// giveUp takes back that another try follows.
func (x *exchange) giveUp() {
	x.tries.again = false
	x.giveRetryBack()
}

// giveRetryBack ends the place among the cluster's retries.
func (x *exchange) giveRetryBack() {
	if x.tries.held {
		x.tries.held = false
		x.cluster.ReleaseRetry()
	}
}

// endTry accounts for a try that another follows; r is what its endpoint's
// breaker hears of it.
func (x *exchange) endTry(r breaker.Result) {
	x.settle(r)
	x.endpoint.Metrics().Response(r.Status, r.GRPCStatus, x.success, r.Latency)
	x.tries.failed = append(x.tries.failed, x.endpoint)
	x.cluster.Metrics().Retried()
	x.endpoint = nil
	x.status, x.grpc, x.headAt = 0, -1, 0
	x.failure, x.detail, x.success = nil, "", false
	x.tries.ends.Store(0)
	x.answerBy.Store(0)
}

// waitTurn waits for the pause before a further try, until done is closed.
func (x *exchange) waitTurn(done <-chan struct{}) telemetry.Reason {
	t := time.NewTimer(x.tries.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return telemetry.ViaUpstream
	case <-done:
		return telemetry.DownstreamGone
	}
}

// readmit is the pause and then the choice of an endpoint for a further try: one
// that has not failed, while there is any.
func (x *exchange) readmit(done <-chan struct{}) telemetry.Reason {
	if why := x.waitTurn(done); why != telemetry.ViaUpstream {
		return why
	}
	x.asked = x.srv.clock()
	if x.late() {
		return telemetry.RequestTimeout
	}
	e, permit, ok := x.cluster.PickOther(x.asked, x.key, x.tries.failed)
	if !ok {
		e, permit, ok = x.cluster.Pick(x.asked, x.key)
	}
	if !ok {
		return x.awaitAdmit(done)
	}
	x.endpoint, x.permit = e, permit
	e.Begin()
	return telemetry.ViaUpstream
}

// headCame notes that the answer's head is here: the try has no bound of its own
// any more.
func (x *exchange) headCame() {
	x.tries.headed.Store(true)
	x.tries.ends.Store(0)
}

var attemptName = []byte("x-envoy-attempt-count")
