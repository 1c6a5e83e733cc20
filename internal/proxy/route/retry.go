package route

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// RetryOn is a set of conditions on which a request is tried again.
type RetryOn uint32

// The conditions, in Envoy's words (retry_on and x-envoy-retry-grpc-on).
const (
	// OnConnectFailure: there was no connection, so no endpoint saw the request.
	OnConnectFailure RetryOn = 1 << iota
	// OnRefusedStream: the endpoint says that it did not look at the request
	// (RFC 9113 section 8.7).
	OnRefusedStream
	// OnReset: no answer began, for whatever reason, the time of a try included.
	OnReset
	// OnResetBeforeRequest: no answer began, and the request had not gone out.
	OnResetBeforeRequest
	// On5xx: any status of 500 to 599, and all that OnReset has.
	On5xx
	// OnGatewayError: 502, 503 and 504, and all that OnReset has.
	OnGatewayError
	// OnRetriable4xx: 409.
	OnRetriable4xx
	// OnStatuses: the statuses of Retry.Statuses.
	OnStatuses
	// The statuses of gRPC, in the head or, without a body before them, in the
	// trailers.
	OnCancelled
	OnDeadlineExceeded
	OnInternal
	OnResourceExhausted
	OnUnavailable
	// OnHeaders: an answer whose head one of Retry.Headers matches.
	OnHeaders
	// OnRateLimited: an answer that has x-envoy-ratelimited.
	OnRateLimited

	// OnGRPC is all that gRPC adds.
	OnGRPC = OnCancelled | OnDeadlineExceeded | OnInternal | OnResourceExhausted | OnUnavailable
)

// retryNames are the conditions by bit.
var retryNames = [...]string{
	"connect-failure", "refused-stream", "reset", "reset-before-request", "5xx", "gateway-error", "retriable-4xx",
	"retriable-status-codes", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	"retriable-headers", "envoy-ratelimited",
}

// ParseRetryOn reads names that are separated by commas. A number is a status
// (Istio), which comes in statuses.
func ParseRetryOn(text string) (on RetryOn, statuses []StatusRange, err error) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		var code uint32
		if n, _ := fmt.Sscanf(name, "%d", &code); n == 1 && code >= 100 && code < 600 && len(name) == 3 {
			on |= OnStatuses
			statuses = append(statuses, StatusRange{code, code})
			continue
		}
		if name == "http3-post-connect-failure" {
			continue // there is no HTTP/3 that could fail
		}
		i := slices.Index(retryNames[:], name)
		if i < 0 {
			return 0, nil, fmt.Errorf("retry_on %q: allowed are %s", name, strings.Join(retryNames[:], ", "))
		}
		on |= 1 << i
	}
	return on, statuses, nil
}

// String lists the conditions, separated by commas.
func (on RetryOn) String() string {
	var names []string
	for i, name := range retryNames {
		if on&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// StatusRange is of HTTP statuses, both ends included.
type StatusRange struct{ First, Last uint32 }

// Back-off of Envoy's, where a policy says nothing.
const (
	DefaultRetryBase = 25 * time.Millisecond
	retryMaxFactor   = 10
)

// Retry is when a request is tried again, and how often. Immutable.
type Retry struct {
	On RetryOn
	// Attempts after the first; 0: none, and only PerTry holds.
	Attempts uint32
	// Statuses for OnStatuses.
	Statuses []StatusRange
	// PerTry bounds each try, from when its endpoint is chosen, but not before
	// all of the request has come, to the end of the answer's head. 0: only the
	// route's timeout does.
	PerTry time.Duration
	// BackoffMin is waited before each further try, and the pause on top of it.
	BackoffMin time.Duration
	// BackoffBase and BackoffMax bound the pause before a further try. 0: 25 ms,
	// and ten times the base.
	BackoffBase, BackoffMax time.Duration
	// AnyMethod: whoever wrote the policy wants requests of every method tried
	// again. Else those that may have reached an endpoint are only where that
	// is as good as once (RFC 9110 section 9.2.2), or the request says so.
	AnyMethod bool
	// Headers for OnHeaders, one of which must match the answer's head.
	Headers []HeaderMatch
	// RequestHeaders, one of which must match for a request to be tried again
	// at all; none: any may be.
	RequestHeaders []HeaderMatch

	answers, requests []headerMatcher // of the two; of a compiled Retry only
}

// compiled gives r with its matchers; nil for nil.
func (r *Retry) compiled() *Retry {
	if r == nil {
		return nil
	}
	c := *r
	for _, h := range r.Headers {
		c.answers = append(c.answers, newHeaderMatcher(h))
	}
	for _, h := range r.RequestHeaders {
		c.requests = append(c.requests, newHeaderMatcher(h))
	}
	return &c
}

// Repeats tells whether the headers of a request let it be tried again; its
// method is not looked at.
func (r *Retry) Repeats(req *http1.Request) bool {
	for i := range r.requests {
		if r.requests[i].match(req) {
			return true
		}
	}
	return len(r.requests) == 0
}

// HasHeader tells whether the head of an answer is one for OnHeaders.
func (r *Retry) HasHeader(head []http1.Header) bool {
	for i := range r.answers {
		if r.answers[i].matchAnswer(head) {
			return true
		}
	}
	return false
}

// HasStatus tells whether an answer of status is one of Statuses.
func (r *Retry) HasStatus(status int) bool {
	for _, s := range r.Statuses {
		if status >= int(s.First) && status <= int(s.Last) {
			return true
		}
	}
	return false
}

// Backoff is the pause before the n-th further try, n from 1: BackoffMin and
// anything from 0 to base x (2^n - 1), which is bounded by BackoffMax (Envoy's jittered
// exponential back-off). random is in [0, 1).
func (r *Retry) Backoff(n uint32, random float64) time.Duration {
	base := r.BackoffBase
	if base <= 0 {
		base = DefaultRetryBase
	}
	most := r.BackoffMax
	if most <= 0 {
		most = retryMaxFactor * base
	}
	span := min(float64(base)*(math.Ldexp(1, int(min(n, 62)))-1), float64(most))
	return r.BackoffMin + time.Duration(random*span)
}

// Validate says what is wrong with r.
func (r *Retry) Validate() error {
	switch {
	case r.PerTry < 0:
		return fmt.Errorf("per_try_timeout %v: must not be negative", r.PerTry)
	case r.BackoffBase < 0 || r.BackoffMax < 0:
		return fmt.Errorf("retry_back_off %v to %v: must not be negative", r.BackoffBase, r.BackoffMax)
	case r.BackoffMax > 0 && r.BackoffMax < r.BackoffBase:
		return fmt.Errorf("retry_back_off.max_interval %v: must be at least base_interval, %v", r.BackoffMax, r.BackoffBase)
	}
	for _, s := range r.Statuses {
		if s.First < 100 || s.Last > 599 || s.First > s.Last {
			return fmt.Errorf("retriable_status_codes %d to %d: must be of 100 to 599", s.First, s.Last)
		}
	}
	var errs []error
	for i := range r.Headers {
		errs = append(errs, r.Headers[i].validate(fmt.Sprintf("retriable_headers[%d]", i), r.Headers[i].Name))
	}
	for i := range r.RequestHeaders {
		errs = append(errs, r.RequestHeaders[i].validate(fmt.Sprintf("retriable_request_headers[%d]", i), r.RequestHeaders[i].Name))
	}
	return errors.Join(errs...)
}
