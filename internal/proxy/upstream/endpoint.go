package upstream

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

var (
	// ErrOverflow says that a limit was reached (response flag UO).
	ErrOverflow = errors.New("limit reached")
	// ErrPendingTimeout says that no connection came free in time.
	ErrPendingTimeout = errors.New("no connection came free in time")
)

// Endpoint is one live endpoint of a cluster.
type Endpoint struct {
	// Immutable.
	address string
	cluster *Cluster
	metrics *telemetry.EndpointMetrics
	breaker *breaker.Endpoint

	load   balance.Load
	weight atomic.Uint32
	place  atomic.Pointer[Place]
	labels atomic.Pointer[telemetry.Labels]

	dialFailed atomic.Bool // the last dial

	http1 pool1
	http2 pool2
}

// Address is HOST:PORT.
func (e *Endpoint) Address() string { return e.address }

// Cluster is what the endpoint belongs to.
func (e *Endpoint) Cluster() *Cluster { return e.cluster }

// Metrics are the endpoint's counters.
func (e *Endpoint) Metrics() *telemetry.EndpointMetrics { return e.metrics }

// Labels say what runs there.
func (e *Endpoint) Labels() telemetry.Labels { return *e.labels.Load() }

// Place is where the endpoint stands among others.
func (e *Endpoint) Place() Place { return *e.place.Load() }

// Begin counts a request in flight; Observe or Abandon ends it.
func (e *Endpoint) Begin() { e.load.Begin() }

// Observe ends a request that was answered after rtt.
func (e *Endpoint) Observe(now, rtt time.Duration) {
	e.load.End()
	e.load.Observe(now, rtt)
}

// Abandon ends a request from whose duration nothing is to be learned.
func (e *Endpoint) Abandon() { e.load.End() }

// Get returns a pooled connection for HTTP/1.1, or a new one. A careful caller,
// whose request cannot be sent again, gets a pooled one only after a look
// whether its peer has closed it. Where the cluster's connection limit is
// reached it waits for one to come back, if the limit on pending requests
// allows, until done is closed or deadline has come; dialling ends with the
// deadline too. The error is ErrOverflow, ErrPendingTimeout, a dialling error,
// or context.Canceled for done.
func (e *Endpoint) Get(now, deadline time.Duration, careful bool, done <-chan struct{}) (*Conn, error) {
	return e.http1.get(now, deadline, careful, done)
}

// GetNew is Get, never from the pool: for a request whose pooled connection
// turned out to be dead.
func (e *Endpoint) GetNew(deadline time.Duration) (*Conn, error) {
	return e.http1.getNew(deadline)
}

// Put gives a connection back whose exchange is complete, byte for byte.
func (e *Endpoint) Put(c *Conn, now time.Duration) { e.http1.put(c, now) }

// Discard closes a connection that must not be used again.
func (e *Endpoint) Discard(c *Conn) { e.http1.discard(c) }

// TryOpen opens a stream of HTTP/2 without waiting; false where no connection
// has room now. fields and sink are as for http2.Conn.Open, and what is queued
// is sent by the connection's Flush.
func (e *Endpoint) TryOpen(fields []http1.Header, end bool, sink http2.Sink) (*http2.Stream, bool) {
	return e.http2.try(fields, end, sink)
}

// Open is TryOpen, and waits for a connection with room. The first is dialled
// for all who need it, and a further one when all are full and the cluster's
// connection limit allows it. Whoever does not have one dialled counts as
// pending. It waits until done is closed or deadline has come. The error is
// ErrOverflow, ErrPendingTimeout, context.DeadlineExceeded where there is no
// connection yet, a dialling error, why the peer's SETTINGS did not come, or
// context.Canceled for done.
func (e *Endpoint) Open(deadline time.Duration, done <-chan struct{}, fields []http1.Header, end bool, sink http2.Sink) (*http2.Stream, error) {
	s, ok := e.http2.try(fields, end, sink)
	if ok {
		return s, nil
	}
	err := e.http2.await(deadline, done, func() bool {
		s, ok = e.http2.try(fields, end, sink)
		return ok
	})
	return s, err
}

// ExtendedConnect tells whether the endpoint takes extended CONNECT (RFC 8441),
// which it says at the beginning of a connection of HTTP/2: it waits for one as
// Open does, with the same errors.
func (e *Endpoint) ExtendedConnect(deadline time.Duration, done <-chan struct{}) (takes bool, err error) {
	look := func() bool {
		list := e.http2.connections()
		if len(list) == 0 {
			return false
		}
		takes = list[0].h2.PeerExtendedConnect()
		return true
	}
	if !look() {
		err = e.http2.await(deadline, done, look)
	}
	return takes, err
}

// TimedOut tells of a request that had begun at asked and was not answered in
// time. A connection of HTTP/2 from which nothing at all was heard meanwhile may
// lead nowhere (its peer's machine died, or the way there broke), and TCP would
// need many minutes to find out: what comes goes to another. In HTTP/1.1 that
// happens by itself, as a connection ends with the request that failed on it.
func (e *Endpoint) TimedOut(now, asked time.Duration) {
	for _, c := range e.http2.connections() {
		if c.silent(now, asked) {
			c.retire()
		}
	}
}

// retire stops pooling. Requests on their way end in peace.
func (e *Endpoint) retire() {
	e.http1.retire()
	e.http2.drain(true)
}

// renew closes what is idle and lets the rest end, because new connections are
// to be of another kind.
func (e *Endpoint) renew() {
	e.http1.closeIdle(math.MaxInt64, math.MaxInt64)
	e.http2.drain(false)
}
