package telemetry

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Describe sends nothing: the labels of a metric differ by direction, which
// makes this what Prometheus calls an unchecked collector.
func (p *Proxy) Describe(chan<- *prometheus.Desc) {}

// Collect sends the state of all cells. Cells whose labels are the same, such
// as those of two subsets of one service, are added up into one series.
func (p *Proxy) Collect(out chan<- prometheus.Metric) {
	s := series{now: p.now(), index: make(map[string]*sample)}
	p.mu.RLock()
	for _, c := range p.clusters {
		s.cluster(c)
	}
	for _, d := range p.downstream {
		s.downstream(d)
	}
	p.mu.RUnlock()
	s.xds(&p.xds)
	s.add(&proxyInfo, proxyInfo.Outbound, 1, p.version)
	for _, one := range s.list {
		out <- one.metric()
	}
}

// series gathers samples by descriptor and label values.
type series struct {
	now   time.Time
	index map[string]*sample
	list  []*sample
}

type sample struct {
	descriptor *Descriptor
	labels     []string
	values     []string
	value      float64 // of a histogram: the sum
	count      uint64
	buckets    map[float64]uint64
}

func (s *series) sample(d *Descriptor, labels, values []string) *sample {
	key := d.Name + "\x00" + strings.Join(values, "\x00")
	if have := s.index[key]; have != nil {
		return have
	}
	one := &sample{descriptor: d, labels: labels, values: values}
	s.index[key] = one
	s.list = append(s.list, one)
	return one
}

func (s *series) add(d *Descriptor, labels []string, v float64, values ...string) {
	s.sample(d, labels, values).value += v
}

// metric leaves out empty labels, which to Prometheus are the same as absent ones.
func (s *sample) metric() prometheus.Metric {
	var labels, values []string
	for i, v := range s.values {
		if v != "" {
			labels = append(labels, s.labels[i])
			values = append(values, strings.ToValidUTF8(v, "\uFFFD"))
		}
	}
	desc := s.descriptor.desc(labels)
	if s.descriptor.Type == "histogram" {
		return prometheus.MustNewConstHistogram(desc, s.count, s.value, s.buckets, values...)
	}
	return prometheus.MustNewConstMetric(desc, s.descriptor.valueType(), s.value, values...)
}

func (s *series) cluster(c *ClusterMetrics) {
	svc := []string{c.service.Name, c.service.Namespace, c.service.Port}
	var ready, pending int
	for _, m := range c.endpoints {
		target := c.targetLabels(m.addr, m.labels)
		s.exchanges(c.direction, &m.exchanges, target)
		s.traffic(c.direction, "dst", &m.traffic, target)
		if m.refs <= 0 || c.direction == Inbound {
			continue
		}
		if s.breaker(c, m, svc) == BreakerClosed {
			ready++
		} else {
			pending++
		}
	}
	if c.own.requests.Load() > 0 {
		s.exchanges(c.direction, &c.own, c.targetLabels("", Labels{}))
	}
	s.refusals(c, svc)
	if c.direction == Outbound && c.refs > 0 {
		s.add(&balancerEndpoints, balancerEndpoints.Outbound, float64(ready), with(svc, c.name, "ready")...)
		s.add(&balancerEndpoints, balancerEndpoints.Outbound, float64(pending), with(svc, c.name, "pending")...)
		s.add(&waitingRequests, waitingRequests.Outbound, float64(c.waiting.Load()), with([]string{c.name}, svc...)...)
	}
}

// targetLabels gives the values of endpointLabels, or of "port" for inbound.
func (c *ClusterMetrics) targetLabels(addr string, l Labels) []string {
	if c.direction == Inbound {
		return []string{c.service.Port}
	}
	return []string{c.service.Name, c.service.Namespace, c.service.Port, l.Workload, l.WorkloadKind, l.Pod, addr}
}

func labelsFor(d *Descriptor, dir Direction) []string {
	if dir == Inbound {
		return d.Inbound
	}
	return d.Outbound
}

func (s *series) exchanges(dir Direction, e *exchanges, target []string) {
	values := with([]string{dir.String()}, target...)
	s.add(&requestTotal, labelsFor(&requestTotal, dir), float64(e.requests.Load()), values...)
	e.responses.each(func(k statusKey, n uint64) {
		s.add(&responseTotal, labelsFor(&responseTotal, dir), float64(n),
			with(values, k.classification(), k.status(), k.grpc())...)
	})
	count, sum, buckets := e.latency.read()
	h := s.sample(&responseLatency, labelsFor(&responseLatency, dir), values)
	h.count += count
	h.value += sum
	if h.buckets == nil {
		h.buckets = buckets
		return
	}
	for bound, n := range buckets {
		h.buckets[bound] += n
	}
}

func (s *series) traffic(dir Direction, peer string, t *traffic, target []string) {
	values := with([]string{dir.String(), peer}, target...)
	// closed first: a connection that opens and closes meanwhile must not make
	// the difference negative.
	closed := t.closed.Load()
	opened := t.opened.Load()
	for _, one := range []struct {
		d *Descriptor
		v uint64
	}{
		{&tcpOpenConnections, opened - closed},
		{&tcpOpenTotal, opened},
		{&tcpCloseTotal, closed},
		{&tcpReadBytes, t.read.Load()},
		{&tcpWriteBytes, t.written.Load()},
	} {
		s.add(one.d, labelsFor(one.d, dir), float64(one.v), values...)
	}
}

func (s *series) breaker(c *ClusterMetrics, m *EndpointMetrics, svc []string) BreakerState {
	values := with([]string{c.name, m.addr}, with(svc, m.labels.Workload, m.labels.Pod)...)
	b := &m.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.open
	if !b.since.IsZero() {
		open += s.now.Sub(b.since)
	}
	s.add(&breakerState, breakerState.Outbound, float64(b.state), values...)
	s.add(&breakerOpenSeconds, breakerOpenSeconds.Outbound, open.Seconds(), values...)
	for t, n := range b.transitions {
		s.add(&breakerTransitions, breakerTransitions.Outbound, float64(n),
			with(values, t.from.String(), t.to.String(), t.cause)...)
	}
	return b.state
}

func (s *series) refusals(c *ClusterMetrics, svc []string) {
	where := with([]string{c.direction.String(), c.name}, svc...)
	if c.direction == Inbound {
		where = []string{c.direction.String(), c.name, c.service.Port}
	}
	for r := range reasonCount {
		if n := c.refused[r].Load(); n > 0 {
			s.add(&refusedTotal, labelsFor(&refusedTotal, c.direction), float64(n), with(where, r.Flag(), r.Details())...)
		}
	}
	s.closings(c.direction, &c.closings, where)
	s.mirrored(c.direction, &c.mirrored, where)
	if c.direction == Outbound {
		s.retried(&c.retries, c.name, svc)
	}
}

func (s *series) downstream(d *DownstreamMetrics) {
	where := []string{d.direction.String(), "", "", "", ""}
	var target []string
	if d.direction == Inbound {
		where = []string{d.direction.String(), "", d.port}
		target = []string{d.port}
	} else {
		target = slices.Repeat([]string{""}, len(endpointLabels))
	}
	s.traffic(d.direction, "src", &d.traffic, target)
	for r := range reasonCount {
		if n := d.refused[r].Load(); n > 0 {
			s.add(&refusedTotal, labelsFor(&refusedTotal, d.direction), float64(n), with(where, r.Flag(), r.Details())...)
		}
	}
	s.closings(d.direction, &d.closings, where)
	s.mirrored(d.direction, &d.mirrored, where)
}

func (s *series) xds(x *XDSMetrics) {
	connected := 0.0
	if x.connected.Load() {
		connected = 1
	}
	s.add(&xdsConnected, nil, connected)
	s.add(&xdsConnects, nil, float64(x.connects.Load()))
	s.add(&xdsUpdates, xdsUpdates.Outbound, float64(x.accepted.Load()), "accepted")
	s.add(&xdsUpdates, xdsUpdates.Outbound, float64(x.rejected.Load()), "rejected")
}
