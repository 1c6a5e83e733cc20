package proxy

import (
	"errors"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the end of an exchange: the verdict on its endpoint, and what is
// counted.

// verdict is what the breaker hears of an answer that came.
func (x *exchange) verdict() breaker.Result {
	return breaker.Result{
		Status:     x.status,
		GRPCStatus: x.grpc,
		Cause:      breaker.Response,
		Latency:    x.srv.clock() - x.asked,

		Classification: x.action.Classification,
	}
}

// outcome is what the breaker hears of an exchange that failed. onCaller: it
// was the caller that all waited for.
func (x *exchange) outcome(why telemetry.Reason, onCaller bool) breaker.Result {
	r := breaker.Result{GRPCStatus: -1, Latency: x.srv.clock() - x.asked}
	switch why {
	case telemetry.ConnectFailure:
		r.Cause = breaker.ConnectFailure
	case telemetry.ConnectTimeout:
		r.Cause = breaker.ConnectTimeout
	case telemetry.RequestTimeout, telemetry.PerTryTimeout, telemetry.IdleTimeout:
		switch {
		case errors.Is(x.failure, upstream.ErrPendingTimeout):
			r.Cause = breaker.Overflow // the endpoint never saw it
		case onCaller:
			r.Cause = breaker.Cancelled
		default:
			r.Cause = breaker.RequestTimeout
		}
	case telemetry.LimitOverflow:
		r.Cause = breaker.Overflow
	case telemetry.DownstreamGone, telemetry.MalformedRequest, telemetry.BodyTimeout:
		r.Cause = breaker.Cancelled
	default:
		r.Cause = breaker.Reset
	}
	r.Status = why.Answer().Status
	return r
}

// settle gives the verdict on the endpoint, once: to its breaker and to its
// load.
func (x *exchange) settle(r breaker.Result) {
	if x.settled {
		return
	}
	x.settled = true
	now := x.srv.clock()
	x.success = x.permit.Done(now, r) == breaker.Success
	if r.Cause == breaker.Response && !x.permit.Probe() { // a probe meets cold caches
		x.endpoint.Observe(now, x.headAt-x.asked)
	} else {
		x.endpoint.Abandon()
	}
	if r.Cause == breaker.RequestTimeout {
		x.endpoint.TimedOut(now, x.asked)
	}
}

// settleStream gives the verdict on an answer that streams for a while: that
// on a stream of hours cannot wait for its end. Of gRPC only the end tells.
func (x *exchange) settleStream() {
	if !x.settled && x.headAt+settleAfter < x.srv.clock() && (x.permit.Probe() || !x.isGRPC()) {
		x.settle(x.verdict())
	}
}

// count counts the exchange once it has ended.
func (x *exchange) count() {
	x.dropCopies(telemetry.MirrorFailed) // of what never came to its end
	took := x.srv.clock() - x.start
	status, grpc := x.status, x.grpc
	if status == 0 { // the caller did not wait for what it was to get
		a := x.reason.Answer()
		if status = a.Status; !x.malformed && x.isGRPC() {
			status, grpc = 200, a.GRPC
		}
	}
	switch {
	case x.endpoint == nil && x.cluster != nil:
		x.cluster.Metrics().Refuse(x.reason, status, grpc, took)
	case x.reason == telemetry.DownstreamGone && x.status == 0:
		// A caller that did not wait says nothing about the service.
	case x.endpoint != nil:
		// Of an answer that its caller did not take to the end, the status tells.
		success := x.success || x.reason == telemetry.DownstreamGone && status < 500
		x.endpoint.Metrics().Response(status, grpc, success, took)
		if success && x.tries.n > 1 {
			x.cluster.Metrics().RetrySucceeded()
		}
		if x.reason != telemetry.ViaUpstream {
			x.cluster.Metrics().Failed(x.reason)
		}
	}
}
