package route

import (
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Action is what a matched route does with a request. Immutable.
type Action struct {
	// RouteName is the route's name, for logs and metrics.
	RouteName string
	// Backends share the requests by weight. Empty: none exists.
	Backends []Backend
	// Timeout bounds the whole exchange, waiting included. 0: none.
	Timeout time.Duration
	// IdleTimeout bounds the time without a byte in either direction. 0: as the
	// listener has it; negative: not at all.
	IdleTimeout time.Duration
	// ResponseTimeout bounds the time from when the request is sent to the end
	// of the answer. 0: not at all.
	ResponseTimeout time.Duration
	// Retry is nil where a request goes out once.
	Retry *Retry
	// Mirrors get copies of the requests.
	Mirrors []Mirror

	total uint64 // sum of the weights
}

// Backend is one weighted target of an Action.
type Backend struct {
	// Cluster is nil where the configuration names one that does not exist:
	// its share of requests is then refused (Gateway API, HTTPBackendRef).
	Cluster *upstream.Cluster
	// Weight is the share beside the other backends; 0 is never chosen.
	Weight uint32
}

// NewAction makes an Action with its weights summed.
func NewAction(name string, timeout time.Duration, backends ...Backend) *Action {
	a := &Action{RouteName: name, Timeout: timeout, Backends: backends}
	for _, b := range backends {
		a.total += uint64(b.Weight)
	}
	return a
}

// Pick chooses a backend's cluster by weight; r is a random number of the full
// range. nil: the chosen backend does not exist.
func (a *Action) Pick(r uint32) *upstream.Cluster {
	if len(a.Backends) == 1 {
		return a.Backends[0].Cluster
	}
	at := uint64(r) * a.total >> 32
	for i := range a.Backends {
		b := &a.Backends[i]
		if at < uint64(b.Weight) {
			return b.Cluster
		}
		at -= uint64(b.Weight)
	}
	return nil
}
