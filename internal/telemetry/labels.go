package telemetry

// Direction tells on which side of the workload the proxy acted.
type Direction uint8

// The two directions, seen from the workload that the proxy stands beside.
const (
	// Outbound is a call that the workload makes.
	Outbound Direction = iota
	// Inbound is a call that the workload receives.
	Inbound
)

// String gives the value of the label "direction".
func (d Direction) String() string {
	if d == Inbound {
		return "inbound"
	}
	return "outbound"
}

// ServiceRef names a port of a Service. An inbound cluster has only a Port.
type ServiceRef struct {
	Namespace string
	Name      string
	Port      string
}

// Labels say which workload instance an endpoint is. All may be empty:
// an endpoint of a file or a foreign control plane has only its address.
type Labels struct {
	Namespace    string
	Pod          string
	Workload     string
	WorkloadKind string
}

// BreakerState is a breaker's state as the gauge recloser_breaker_state shows
// it: the higher, the less traffic.
type BreakerState uint8

// The values of recloser_breaker_state.
const (
	BreakerClosed   BreakerState = 0
	BreakerHalfOpen BreakerState = 1
	BreakerOpen     BreakerState = 2
)

// String gives the value of the labels "from" and "to".
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerHalfOpen:
		return "half_open"
	default:
		return "open"
	}
}
