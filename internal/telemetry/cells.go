package telemetry

import (
	"sync"
	"sync/atomic"
	"time"
)

// traffic is what both ends of a connection count. The zero value is ready.
type traffic struct {
	opened  atomic.Uint64
	closed  atomic.Uint64
	read    atomic.Uint64
	written atomic.Uint64
}

// ConnOpened counts a connection that was made.
func (t *traffic) ConnOpened() { t.opened.Add(1) }

// ConnClosed counts the end of a connection that ConnOpened counted.
func (t *traffic) ConnClosed() { t.closed.Add(1) }

// BytesRead counts bytes that came from the peer.
func (t *traffic) BytesRead(n int) { t.read.Add(uint64(n)) }

// BytesWritten counts bytes that went to the peer.
func (t *traffic) BytesWritten(n int) { t.written.Add(uint64(n)) }

// OpenConnections gives the number of connections that are open now.
func (t *traffic) OpenConnections() int { return int(t.opened.Load() - t.closed.Load()) }

// exchanges counts requests and answers. The zero value is ready.
type exchanges struct {
	requests  atomic.Uint64
	latency   histogram
	responses responses
}

// Request counts a request that was sent, or would have been sent, there.
func (e *exchanges) Request() { e.requests.Add(1) }

// Response counts the end of a request that Request counted. status is the
// HTTP status (100 to 999; else it is left empty), grpc the grpc-status or -1,
// success the verdict of the breaker's classification, and latency the time
// from the request's head to the end of the answer.
func (e *exchanges) Response(status, grpc int, success bool, latency time.Duration) {
	e.responses.count(status, grpc, success)
	e.latency.observe(latency)
}

// EndpointMetrics counts what one endpoint of one cluster was asked and
// answered. Obtain it once per endpoint by ClusterMetrics.Endpoint.
type EndpointMetrics struct {
	exchanges
	traffic
	breaker breakerCell

	// Immutable after ClusterMetrics.Endpoint.
	cluster *ClusterMetrics
	addr    string
	labels  Labels

	refs       int       // guarded by Proxy.mu
	releasedAt time.Time // guarded by Proxy.mu
}

// Release ends the caller's use of the cell. The series stay for a while, so
// that the last counts are scraped, and go on when the endpoint comes back.
func (m *EndpointMetrics) Release() {
	p := m.cluster.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	m.refs--
	m.releasedAt = p.now()
	p.sweep()
}

// Transition records that the endpoint's breaker went from one state to
// another for a cause, which is one of the breaker's short stable names.
func (m *EndpointMetrics) Transition(from, to BreakerState, cause string) {
	m.breaker.transition(m.cluster.proxy.now(), from, to, cause)
}

// breakerCell keeps the state, the transitions and the time not closed.
type breakerCell struct {
	mu          sync.Mutex
	state       BreakerState
	since       time.Time // when it left closed; zero while closed
	open        time.Duration
	transitions map[transition]uint64
}

type transition struct {
	from, to BreakerState
	cause    string
}

func (b *breakerCell) transition(now time.Time, from, to BreakerState, cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.transitions == nil {
		b.transitions = make(map[transition]uint64)
	}
	b.transitions[transition{from, to, cause}]++
	b.state = to
	switch {
	case to == BreakerClosed && !b.since.IsZero():
		b.open += now.Sub(b.since)
		b.since = time.Time{}
	case to != BreakerClosed && b.since.IsZero():
		b.since = now
	}
}

// ClusterMetrics counts what concerns a cluster as a whole. Obtain it once per
// cluster by Proxy.Cluster.
type ClusterMetrics struct {
	closings
	retries
	mirrored
	own     exchanges // requests that no endpoint was asked
	refused [reasonCount]atomic.Uint64
	waiting atomic.Int64

	// Immutable after Proxy.Cluster.
	proxy     *Proxy
	direction Direction
	name      string
	service   ServiceRef

	endpoints  map[endpointKey]*EndpointMetrics // guarded by Proxy.mu
	refs       int                              // guarded by Proxy.mu
	releasedAt time.Time                        // guarded by Proxy.mu
}

type endpointKey struct {
	addr   string
	labels Labels
}

// Refuse counts a request that we answered and that no endpoint was asked. It
// appears in request_total and response_total of the service without an
// endpoint, so that a success rate includes it, and in recloser_refused_total.
// status is what the caller got; grpc is its grpc-status, -1: none.
func (c *ClusterMetrics) Refuse(r Reason, status, grpc int, latency time.Duration) {
	c.own.Request()
	c.own.Response(status, grpc, false, latency)
	c.refused[min(r, reasonCount-1)].Add(1)
}

// Failed counts an answer of ours in place of an endpoint's after an endpoint
// was asked: that endpoint's Request and Response have counted it already, so
// only recloser_refused_total grows.
func (c *ClusterMetrics) Failed(r Reason) { c.refused[min(r, reasonCount-1)].Add(1) }

// Waiting adds to the number of requests that wait for an endpoint.
func (c *ClusterMetrics) Waiting(delta int) { c.waiting.Add(int64(delta)) }

// Endpoint gives the cell of an endpoint, the same for the same address and
// labels. End its use with Release.
func (c *ClusterMetrics) Endpoint(addr string, labels Labels) *EndpointMetrics {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	key := endpointKey{addr, labels}
	m := c.endpoints[key]
	if m == nil {
		m = &EndpointMetrics{cluster: c, addr: addr, labels: labels}
		c.endpoints[key] = m
	}
	m.refs++
	return m
}

// Release ends the caller's use of the cell, as for endpoints.
func (c *ClusterMetrics) Release() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.refs--
	c.releasedAt = c.proxy.now()
	c.proxy.sweep()
}

// DownstreamMetrics counts the connections of callers on one listener.
type DownstreamMetrics struct {
	traffic
	closings
	mirrored
	refused [reasonCount]atomic.Uint64

	// Immutable after Proxy.Downstream.
	direction Direction
	port      string
}

// Refuse counts an answer of ours that concerns no cluster: no route, a
// malformed request, an overload.
func (d *DownstreamMetrics) Refuse(r Reason) { d.refused[min(r, reasonCount-1)].Add(1) }
