package route

import (
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Action is what a matched route does with a request. Immutable.
//
// The steps are, in their order: CORS answers preflights; Fault delays and
// aborts; Redirect or Direct answers; else a backend is picked, its
// RequestHeaders are edited, Path and the host are rewritten, and Mirrors get
// what the backend gets. An answer's headers are edited by the ResponseHeaders,
// then by CORS.
type Action struct {
	// RouteName is the route's name, for logs and metrics.
	RouteName string
	Origin    Origin
	// Backends share the requests by weight. Empty: none exists.
	Backends []Backend
	// MissingStatus is answered where the picked backend does not exist: 404, 500
	// or 503. 0: the proxy's own.
	MissingStatus int
	// Redirect and Direct answer without a backend; nil: they do not.
	Redirect *filter.Redirect
	Direct   *Direct
	// ResponseHeaders are edited in answers that no backend gave: of Redirect
	// and Direct. nil: nothing is.
	ResponseHeaders *filter.Headers
	// Path is rewritten; nil: it stays.
	Path *filter.Path
	// Mirrors get copies of the requests.
	Mirrors []Mirror
	// CORS and Fault may be nil, there is none; their methods allow that.
	CORS *filter.CORS
	// Classification says what is a failure to the breaker; nil: the cluster's
	// does.
	Classification *breaker.Classification
	Fault          *filter.Fault
	// Retry is nil where a request goes out once.
	Retry *Retry
	// Timeout bounds the whole exchange, waiting and retries included. 0: none.
	Timeout time.Duration
	// IdleTimeout bounds the time without a byte in either direction. 0: as the
	// listener has it; NoTimeout: none.
	IdleTimeout time.Duration
	// ResponseTimeout bounds the time from when the request was sent to the end
	// of its answer. 0: none.
	ResponseTimeout time.Duration
	// MaxStream bounds a stream from its begin to its end. 0: none.
	MaxStream time.Duration

	hash  []hashPolicy
	total uint64 // sum of the weights
}

// Backend is one weighted target of an Action.
type Backend struct {
	// Cluster is nil where the configuration names one that does not exist:
	// its share of requests is then refused (Gateway API, HTTPBackendRef).
	Cluster *upstream.Cluster
	// Name is the cluster's, there or not.
	Name string
	// Weight is the share beside the other backends; 0 is never chosen.
	Weight uint32
	// RequestHeaders and ResponseHeaders are all edits for this backend: its
	// own, the rule's, and those around it. nil: nothing is edited.
	RequestHeaders, ResponseHeaders *filter.Headers
	// Host takes the place of the request's authority; nil: it stays.
	Host []byte
}

// Direct answers with a status and a body.
type Direct struct {
	Status int
	Body   []byte
}

// NewAction makes an Action with its weights summed.
func NewAction(name string, timeout time.Duration, backends ...Backend) *Action {
	a := &Action{RouteName: name, Timeout: timeout, Backends: backends}
	for i := range backends {
		a.total += uint64(backends[i].Weight)
	}
	return a
}

// Pick chooses a backend by weight; r is a random number of the full range. nil:
// there is none. The Cluster of the chosen one is nil where it does not exist.
func (a *Action) Pick(r uint32) *Backend {
	if len(a.Backends) == 1 {
		return &a.Backends[0]
	}
	at := uint64(r) * a.total >> 32
	for i := range a.Backends {
		b := &a.Backends[i]
		if at < uint64(b.Weight) {
			return b
		}
		at -= uint64(b.Weight)
	}
	return nil
}

// PickCluster chooses a backend's cluster by weight. nil: the chosen backend
// does not exist.
func (a *Action) PickCluster(r uint32) *upstream.Cluster {
	if b := a.Pick(r); b != nil {
		return b.Cluster
	}
	return nil
}
