package breaker

import (
	"slices"
	"time"
)

// Cause is how a call ended.
type Cause uint8

const (
	// Response: the endpoint answered; Status and GRPCStatus decide.
	Response Cause = iota
	// ConnectFailure: no connection (refused, unreachable). Counts as 503.
	ConnectFailure
	// ConnectTimeout: no connection in time. Counts as 504.
	ConnectTimeout
	// RequestTimeout: no complete response in time. Counts as 504.
	RequestTimeout
	// Reset: the connection was lost before the response was complete. Counts
	// as 502.
	Reset
	// Cancelled: the caller gave up before the endpoint answered. No verdict.
	Cancelled
	// Overflow: a limit of ours refused the call; the endpoint never saw it.
	// No verdict.
	Overflow
	// Failed: the call failed and nothing more is known. Counts as 500.
	Failed
)

// String is the cause as a short stable name, such as "connect_timeout".
func (c Cause) String() string {
	return name(c, "response", "connect_failure", "connect_timeout", "request_timeout", "reset", "cancelled", "overflow", "failed")
}

// Result is what became of one call.
type Result struct {
	// Status is the HTTP status, 0 if there is none.
	Status int
	// GRPCStatus is the gRPC status code from the trailers (or the headers of
	// a trailers-only response), -1 or 0 if there is none.
	GRPCStatus int
	Cause      Cause
	// Latency is from the start of the call to its end; 0: from Acquire to
	// Done.
	Latency time.Duration
	// Classification is this call's own, such as that of its route. nil: that
	// of the Config.
	Classification *Classification
}

// Class is the verdict on a Result.
type Class uint8

const (
	// Success resets consecutive counts and lets a probe pass.
	Success Class = iota
	// Failure counts everywhere and fails a probe.
	Failure
	// RateOnly hurts success rates and fails a probe, but leaves consecutive
	// counts as they are.
	RateOnly
	// Ignored says nothing about the endpoint.
	Ignored
)

// String is the class as a short stable name.
func (c Class) String() string { return name(c, "success", "failure", "rate_only", "ignored") }

// StatusRange is a range of HTTP statuses, both ends included.
type StatusRange struct{ First, Last int }

// Classification tells failures from successes. The zero Classification counts
// 500-599 and the gRPC codes that Linkerd counts.
type Classification struct {
	// Failures are the HTTP statuses that are failures. Empty: 500-599.
	Failures []StatusRange
	// GRPCFailures are the gRPC codes that are failures. Empty: UNKNOWN 2,
	// DEADLINE_EXCEEDED 4, PERMISSION_DENIED 7, INTERNAL 13, UNAVAILABLE 14,
	// DATA_LOSS 15.
	GRPCFailures []uint32
	// RateOnly and GRPCRateOnly are the statuses and codes of class RateOnly,
	// where they are not failures. Empty: none.
	RateOnly     []StatusRange
	GRPCRateOnly []uint32
	// SplitLocalOrigin keeps calls that got no response apart from responses
	// (Envoy's split_external_local_origin_errors): Consecutive,
	// ConsecutiveGateway, SuccessRateOutlier and FailurePercentage see
	// responses only, and ConsecutiveLocalOrigin sees the others.
	SplitLocalOrigin bool
}

// Classify gives the class of r: the worse of what its HTTP status and its gRPC
// status say. A call without a response is a failure, whatever the statuses,
// unless it was cancelled or never sent.
func (c *Classification) Classify(r Result) Class { return c.classify(&r) }

func (c *Classification) classify(r *Result) Class {
	switch r.Cause {
	case Response:
	case Cancelled, Overflow:
		return Ignored
	default:
		return Failure
	}
	if r.Classification != nil {
		c = r.Classification
	}
	class := c.http(r.Status)
	if r.GRPCStatus > 0 && class != Failure {
		if g := c.grpc(uint32(r.GRPCStatus)); g != Success { //nolint:gosec // positive, see above
			class = g
		}
	}
	return class
}

func (c *Classification) http(status int) Class {
	if len(c.Failures) == 0 {
		if status >= 500 && status <= 599 {
			return Failure
		}
	} else if within(c.Failures, status) {
		return Failure
	}
	if within(c.RateOnly, status) {
		return RateOnly
	}
	return Success
}

func (c *Classification) grpc(code uint32) Class {
	const usual = 1<<2 | 1<<4 | 1<<7 | 1<<13 | 1<<14 | 1<<15
	switch {
	case len(c.GRPCFailures) == 0 && code < 32 && usual&(1<<code) != 0,
		slices.Contains(c.GRPCFailures, code):
		return Failure
	case slices.Contains(c.GRPCRateOnly, code):
		return RateOnly
	default:
		return Success
	}
}

// local tells whether the call ended without a response.
func (r *Result) local() bool {
	return r.Cause != Response && r.Cause != Cancelled && r.Cause != Overflow
}

// gateway tells whether a failure is one that a gateway answers 502, 503 or 504
// for.
func (r *Result) gateway() bool {
	switch r.Cause {
	case Response:
		// DEADLINE_EXCEEDED and UNAVAILABLE are what gRPC has for these.
		return r.Status >= 502 && r.Status <= 504 || r.GRPCStatus == 4 || r.GRPCStatus == 14
	case Failed:
		return false
	default:
		return r.local()
	}
}

func within(ranges []StatusRange, status int) bool {
	for _, s := range ranges {
		if status >= s.First && status <= s.Last {
			return true
		}
	}
	return false
}

// name gives the i-th of names.
func name[T ~uint8](i T, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}
