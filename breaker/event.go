package breaker

import "time"

// State of an endpoint's breaker.
type State uint8

const (
	// Closed: in use.
	Closed State = iota
	// Open: out of use.
	Open
	// HalfOpen: one probe is out.
	HalfOpen
	// gone: removed from its group.
	gone
)

// String is the state as a short stable name.
func (s State) String() string { return name(s, "closed", "open", "half_open", "removed") }

// Reason is why an event happened, as metrics and filters name it.
type Reason uint8

const (
	// Detectors.
	ConsecutiveFailures Reason = iota
	ConsecutiveGatewayErrors
	ConsecutiveLocalOriginFailures
	LowSuccessRateEWMA
	LowSuccessRate
	OutlierSuccessRate
	HighFailurePercentage
	TooManySlowCalls
	HungCall
	// Recovery.
	ProbeStarted
	ProbeSucceeded
	ProbeFailed
	ProbeTimedOut
	ProbeCancelled
	EjectionTimeOver
	// From outside.
	SwitchedOff
	GuardRestored
	EndpointRemoved
	// The group as a whole.
	PanicStarted
	PanicEnded
)

// String is the reason as a short stable name.
func (r Reason) String() string {
	return name(r,
		"consecutive_failures", "consecutive_gateway_errors", "consecutive_local_origin_failures",
		"success_rate_ewma", "success_rate_window", "success_rate_outlier", "failure_percentage",
		"slow_calls", "hung_calls",
		"probe_started", "probe_succeeded", "probe_failed", "probe_timed_out", "probe_cancelled",
		"ejection_time_over",
		"switched_off", "guard_restored", "endpoint_removed",
		"panic_started", "panic_ended")
}

// Kind tells what an Event is about.
type Kind uint8

const (
	// Transition: the state went from From to To. (EndpointRemoved: the
	// endpoint left the group while it was not closed; To is Closed.)
	Transition Kind = iota
	// Refused: a detector tripped and a guard refused the ejection.
	Refused
	// NotEnforced: a detector tripped and its Enforcing share let it go.
	NotEnforced
	// Panic: the group began or ceased to use all endpoints. Endpoint is "".
	Panic
)

// String is the kind as a short stable name.
func (k Kind) String() string { return name(k, "transition", "refused", "not_enforced", "panic") }

// Event is one thing that a breaker did, or that it was kept from doing. The
// state of every endpoint follows from the events: it is To of its last
// Transition, and Closed before the first.
type Event struct {
	// Seq counts the events of a group from 1, without gaps.
	Seq      uint64
	At       time.Duration // instant
	Endpoint string
	Kind     Kind
	From, To State // equal unless Kind is Transition
	Reason   Reason
	// Detail is the reason in words, with the numbers that tripped it.
	Detail string
	// Until is the instant when an Open endpoint may next be tried (Probe) or
	// its ejection time is over (Timed); of a HalfOpen one, when its probe is
	// given up. 0 otherwise.
	Until time.Duration
	// Ejected of Endpoints are not closed, after the event.
	Ejected, Endpoints int
	// Last are the endpoint's last requests before the event, oldest first.
	Last []Record
}

// Record is one past request.
type Record struct {
	At      time.Duration // instant of its end
	Latency time.Duration
	Status  int
	GRPC    int // -1: none
	Cause   Cause
	Class   Class
	Probe   bool
}
