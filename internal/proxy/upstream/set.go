package upstream

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// sweepInterval is how often live clusters are looked at for what only time
// brings about. Detectors have their own, longer, intervals.
const sweepInterval = 100 * time.Millisecond

// idleInterval is how often pooled connections are looked at: it looks at each
// endpoint, and idle timeouts need no precision.
const idleInterval = 5 * time.Second

// leaveAfter is how long a cluster that is no longer configured keeps its
// endpoints, for requests that have looked up their route already: without it
// those would wait in vain for an endpoint.
const leaveAfter = time.Second

// SetOptions are a Set's surroundings.
type SetOptions struct {
	Clock   breaker.Clock
	Metrics *telemetry.Proxy
	Logger  *slog.Logger
	// OnEvent is told of every breaker transition, without delay and possibly
	// under locks: it must neither block nor call back into the Set. May be
	// nil.
	OnEvent func(*Cluster, breaker.Event)
}

// Set is all live clusters of a proxy.
type Set struct {
	opts   SetOptions
	dials  dials
	roster roster

	mu       sync.Mutex
	clusters map[string]*Cluster
	leaving  map[string]leaver // no longer configured, and not emptied yet
}

type leaver struct {
	cluster *Cluster
	since   time.Duration
}

// NewSet makes an empty Set.
func NewSet(opts SetOptions) *Set {
	if opts.Clock == nil {
		opts.Clock = breaker.Monotonic
	}
	return &Set{opts: opts, clusters: map[string]*Cluster{}, leaving: map[string]leaver{}}
}

// Apply makes the live clusters those of cfgs, which must be valid and have
// names of their own. Clusters and endpoints that stay keep their state; those
// that go are drained: requests on their way end in peace, nothing is pooled.
// A cluster does so a moment later, and comes back as it was within that. The
// result is the clusters by name.
func (s *Set) Apply(cfgs []Config) map[string]*Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Clock()
	next := make(map[string]*Cluster, len(cfgs))
	for _, cfg := range cfgs {
		c := s.clusters[cfg.Name]
		if c == nil {
			c = s.leaving[cfg.Name].cluster
			delete(s.leaving, cfg.Name)
		}
		if c == nil {
			c = s.newCluster(cfg)
		}
		c.apply(cfg.withDefaults(), now)
		next[cfg.Name] = c
	}
	for name, c := range s.clusters {
		if next[name] == nil {
			s.leaving[name] = leaver{c, now}
		}
	}
	s.clusters = next
	return maps.Clone(next)
}

func (s *Set) newCluster(cfg Config) *Cluster {
	c := &Cluster{
		name:      cfg.Name,
		opts:      &s.opts,
		dials:     &s.dials,
		roster:    &s.roster,
		endpoints: map[string]*Endpoint{},
		changed:   make(chan struct{}),
		metrics:   s.opts.Metrics.Cluster(cfg.Direction, cfg.Name, cfg.Service),
	}
	c.byName.Store(&map[string]*Endpoint{})
	c.plan.Store(&plan{})
	c.nextProbe.Store(never)
	c.group = breaker.NewGroup(cfg.Breaker, breaker.Options{
		Clock: s.opts.Clock,
		OnEvent: func(ev breaker.Event) {
			c.dirty.Store(true)
			c.note(ev)
			if s.opts.OnEvent != nil {
				s.opts.OnEvent(c, ev)
			}
		},
	})
	return c
}

// Clusters are the live clusters, by name.
func (s *Set) Clusters() []*Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Cluster, 0, len(s.clusters))
	for _, c := range s.clusters {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Cluster) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return list
}

// sweep lets clusters do what only time brings about, and empties those that
// have left.
func (s *Set) sweep(now time.Duration) {
	for _, c := range s.Clusters() {
		c.sweep(now)
	}
	s.emptyLeaving(now, leaveAfter)
	s.roster.sweep(now)
}

// emptyLeaving empties the clusters that have been leaving for so long.
func (s *Set) emptyLeaving(now, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.leaving {
		if now-l.since >= after {
			l.cluster.empty(now)
			delete(s.leaving, name)
		}
	}
}

// Run sweeps until ctx ends, then closes what is pooled, and all connections of
// HTTP/2; nothing is pooled after that.
func (s *Set) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	idle := time.NewTicker(idleInterval)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			s.emptyLeaving(s.opts.Clock(), 0)
			for _, c := range s.Clusters() {
				for _, e := range c.Endpoints() {
					e.retire() // what is still busy closes when it is given back
				}
			}
			s.dials.end()
			return nil
		case <-ticker.C:
			s.sweep(s.opts.Clock())
		case <-idle.C:
			now := s.opts.Clock()
			for _, c := range s.Clusters() {
				c.closeIdle(now)
			}
		}
	}
}

// apply makes the cluster what cfg says.
func (c *Cluster) apply(cfg Config, now time.Duration) {
	old := c.cfg.Swap(&cfg)
	c.group.Update(cfg.Breaker)
	if l := c.limits.Load(); l == nil {
		c.limits.Store(breaker.NewLimits(cfg.Limits))
	} else {
		l.Update(cfg.Limits)
	}
	c.limits.Load().SetEndpoints(len(cfg.Endpoints))
	c.applyBudget(old, &cfg)
	var known []*hashed // hashes is changed here only, by one at a time
	if old != nil && old.LB == cfg.LB && old.MinRing == cfg.MinRing && old.MaxRing == cfg.MaxRing && old.TableSize == cfg.TableSize {
		known = c.hashes
	}
	tables := hashTables(&cfg, known)

	c.mu.Lock()
	defer c.mu.Unlock()
	if old == nil || old.LB != cfg.LB || old.Choices != cfg.Choices {
		c.pickers = map[pickerKey]*balance.Picker{}
	}
	keep := make(map[string]*Endpoint, len(cfg.Endpoints))
	c.list = c.list[:0:0]
	for _, ec := range cfg.Endpoints {
		e := c.endpoints[ec.Address]
		if e == nil {
			e = c.newEndpoint(ec, now)
		} else if old.Transport != cfg.Transport {
			e.renew()
		}
		e.labels.Store(&ec.Labels)
		e.weight.Store(max(ec.Weight, 1))
		if e.place.Swap(&ec.Place).Priority != ec.Place.Priority {
			c.group.SetTier(e.breaker, int(ec.Place.Priority))
		}
		if tables != nil {
			h := tables[ec.Place.Priority]
			h.endpoints = append(h.endpoints, e)
		}
		keep[ec.Address] = e
		c.list = append(c.list, e)
	}
	c.hashes = tables
	for address, e := range c.endpoints {
		if keep[address] == nil {
			c.group.Remove(e.breaker)
			e.retire()
			e.metrics.Release()
		}
	}
	c.endpoints = keep
	c.byName.Store(&keep)
	c.rebuildLocked(now)
	c.wake() // also where there is nothing to pick: the fail-fast time may be another
}

// empty drains a cluster that is no longer configured.
func (c *Cluster) empty(now time.Duration) {
	cfg := *c.cfg.Load()
	cfg.Endpoints = nil
	c.apply(cfg, now)
	c.metrics.Release()
}

func (c *Cluster) newEndpoint(ec EndpointConfig, now time.Duration) *Endpoint {
	e := &Endpoint{
		address: ec.Address,
		cluster: c,
		breaker: c.group.AddTier(ec.Address, int(ec.Place.Priority)),
		metrics: c.metrics.Endpoint(ec.Address, ec.Labels),
	}
	e.http1.e, e.http2.e = e, e
	e.place.Store(&ec.Place)
	e.load.Init(now)
	return e
}

// note keeps the metrics of the endpoint that a breaker's event is about. One
// that is back in use gets its share from the start: what was learned of its
// speed while it failed does not count.
func (c *Cluster) note(ev breaker.Event) {
	e := (*c.byName.Load())[ev.Endpoint]
	if e == nil || ev.Kind != breaker.Transition {
		return
	}
	e.metrics.Transition(metricState(ev.From), metricState(ev.To), ev.Reason.String())
	if ev.To == breaker.Closed {
		e.load.Forget(ev.At, c.fastest(e, ev.At))
	}
}

// fastest is the shortest average of the endpoints in use but one, at now: those
// that were idle meanwhile have faded, and so must what is compared with them.
func (c *Cluster) fastest(but *Endpoint, now time.Duration) time.Duration {
	best := balance.DefaultRTT
	c.plan.Load().each(func(e *Endpoint) bool {
		if e != but {
			best = min(best, e.load.RTT(now))
		}
		return true
	})
	return best
}

func metricState(s breaker.State) telemetry.BreakerState {
	switch s {
	case breaker.Closed:
		return telemetry.BreakerClosed
	case breaker.HalfOpen:
		return telemetry.BreakerHalfOpen
	default:
		return telemetry.BreakerOpen
	}
}
