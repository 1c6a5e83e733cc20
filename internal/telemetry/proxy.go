package telemetry

import (
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// retention is how long the series of a released cell stay: several scrapes.
const retention = 2 * time.Minute

// Options of NewProxy. The zero value is the ordinary one.
type Options struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Version is shown by recloser_proxy_info.
	Version string
}

// Proxy holds the cells of one proxy and exposes them as a prometheus.Collector.
type Proxy struct {
	// Immutable after NewProxy.
	now     func() time.Time
	version string

	xds XDSMetrics

	mu         sync.RWMutex
	clusters   map[clusterKey]*ClusterMetrics       // guarded by mu
	downstream map[downstreamKey]*DownstreamMetrics // guarded by mu
}

type clusterKey struct {
	direction Direction
	name      string
	service   ServiceRef
}

type downstreamKey struct {
	direction Direction
	port      string
}

// NewProxy makes the registry of one proxy.
func NewProxy(o Options) *Proxy {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Proxy{
		now:        o.Now,
		version:    o.Version,
		clusters:   make(map[clusterKey]*ClusterMetrics),
		downstream: make(map[downstreamKey]*DownstreamMetrics),
	}
}

// Cluster gives the cell of a cluster, the same for the same arguments. An
// inbound cluster has only a Port in its ServiceRef. End its use with Release.
func (p *Proxy) Cluster(dir Direction, name string, svc ServiceRef) *ClusterMetrics {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := clusterKey{dir, name, svc}
	c := p.clusters[key]
	if c == nil {
		c = &ClusterMetrics{
			proxy: p, direction: dir, name: name, service: svc,
			endpoints: make(map[endpointKey]*EndpointMetrics),
		}
		p.clusters[key] = c
	}
	c.refs++
	return c
}

// Downstream gives the cell of a listener: callers' connections and what was
// refused before a cluster was known. port is empty for the outbound listener.
func (p *Proxy) Downstream(dir Direction, port string) *DownstreamMetrics {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := downstreamKey{dir, port}
	d := p.downstream[key]
	if d == nil {
		d = &DownstreamMetrics{direction: dir, port: port}
		p.downstream[key] = d
	}
	return d
}

// XDS gives the cells of the connection to the control plane.
func (p *Proxy) XDS() *XDSMetrics { return &p.xds }

// XDSMetrics counts what came from the control plane.
type XDSMetrics struct {
	connected atomic.Bool
	connects  atomic.Uint64
	accepted  atomic.Uint64
	rejected  atomic.Uint64
}

// Connected says whether the stream to the control plane is up.
func (x *XDSMetrics) Connected(up bool) {
	if up && !x.connected.Swap(true) {
		x.connects.Add(1)
		return
	}
	x.connected.Store(up)
}

// Update counts an answer of the control plane, accepted or rejected by us.
func (x *XDSMetrics) Update(accepted bool) {
	if accepted {
		x.accepted.Add(1)
		return
	}
	x.rejected.Add(1)
}

// sweep forgets cells that nobody has used for the retention. mu is held.
func (p *Proxy) sweep() {
	old := p.now().Add(-retention)
	for ck, c := range p.clusters {
		for ek, m := range c.endpoints {
			if m.refs <= 0 && m.releasedAt.Before(old) {
				delete(c.endpoints, ek)
			}
		}
		if c.refs <= 0 && len(c.endpoints) == 0 && c.releasedAt.Before(old) {
			delete(p.clusters, ck)
		}
	}
}

// Handler serves the proxy's metrics and those of its process in Prometheus'
// formats.
func (p *Proxy) Handler() http.Handler {
	r := prometheus.NewRegistry()
	// What shows whether something piles up: goroutines, and the heap that the
	// last collection found alive.
	runtime := collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
		collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}))
	r.MustRegister(p, runtime, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}
