package upstream

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// ErrNoHealthyUpstream says that no endpoint was ready within the fail-fast
// time (response flag UH).
var ErrNoHealthyUpstream = errors.New("no healthy upstream")

// never is a time that does not come.
const never = math.MaxInt64

// Cluster is one live cluster. Its methods may be called from any goroutine.
type Cluster struct {
	name  string
	opts  *SetOptions
	group *breaker.Group

	cfg    atomic.Pointer[Config]
	limits atomic.Pointer[breaker.Limits]
	budget atomic.Pointer[breaker.RetryBudget] // nil: none

	plan      atomic.Pointer[plan] // what Pick chooses from
	dirty     atomic.Bool          // plan is older than a breaker's last change
	nextProbe atomic.Int64         // when an open endpoint next admits a probe
	downSince atomic.Int64         // when the last endpoint went; 0: some are ready
	waiting   atomic.Int64
	tcp       atomic.Bool // it has carried opaque bytes

	dials   *dials  // of the Set
	roster  *roster // of the Set
	metrics *telemetry.ClusterMetrics
	byName  atomic.Pointer[map[string]*Endpoint] // for events, which come under locks

	// Guarded by mu.
	mu        sync.Mutex
	endpoints map[string]*Endpoint
	list      []*Endpoint // in the order of the configuration
	hashes    []*hashed   // by priority, for balancers that hash
	pickers   map[pickerKey]*balance.Picker
	lastUsed  int           // the last priority of the plan
	changed   chan struct{} // closed when there is something new to pick, then replaced
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Config is the configuration in force.
func (c *Cluster) Config() *Config { return c.cfg.Load() }

// Metrics are the cluster's counters.
func (c *Cluster) Metrics() *telemetry.ClusterMetrics { return c.metrics }

// Limits are the cluster's live limits.
func (c *Cluster) Limits() *breaker.Limits { return c.limits.Load() }

// Waiting is the number of requests that wait for an endpoint.
func (c *Cluster) Waiting() int { return int(c.waiting.Load()) }

// States tells each endpoint's breaker state.
func (c *Cluster) States() []breaker.EndpointState { return c.group.States() }

// Endpoints are the live endpoints, in the order of the configuration.
func (c *Cluster) Endpoints() []*Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Endpoint(nil), c.list...)
}

// Pick chooses an endpoint that takes a request now. An endpoint whose probe
// is due comes first: recovery then waits for the next request, not for a
// lucky draw. The permit must be ended by Done.
func (c *Cluster) Pick(now time.Duration, key Key) (*Endpoint, breaker.Permit, bool) {
	if c.dirty.Load() {
		c.rebuild(now)
	}
	if int64(now) >= c.nextProbe.Load() {
		if e, p, ok := c.probe(now); ok {
			return e, p, true
		}
	}
	// A chosen endpoint may have opened between the look and the grasp: a few
	// tries, then the truth anew.
	for range 3 {
		e := c.plan.Load().pick(now, key)
		if e == nil {
			break
		}
		if p, ok := e.breaker.Acquire(now); ok {
			return e, p, true
		}
		c.rebuild(now)
	}
	return nil, breaker.Permit{}, false
}

// probe looks for an open endpoint that admits a probe.
func (c *Cluster) probe(now time.Duration) (*Endpoint, breaker.Permit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.list {
		if e.breaker.ProbeDue(now) && c.probes(e) {
			if p, ok := e.breaker.Acquire(now); ok {
				c.scheduleProbe()
				return e, p, true
			}
		}
	}
	c.scheduleProbe()
	return nil, breaker.Permit{}, false
}

// probes tells whether a request may be an endpoint's probe: those of priorities
// after the last in use are left alone, unless nothing else is left. mu is held.
func (c *Cluster) probes(e *Endpoint) bool {
	return int(e.place.Load().Priority) <= c.lastUsed || len(c.plan.Load().levels) == 0
}

// scheduleProbe notes when the next probe falls due. mu is held.
func (c *Cluster) scheduleProbe() {
	first := time.Duration(never)
	for _, e := range c.list {
		if at, ok := e.breaker.NextProbe(); ok && at < first && c.probes(e) {
			first = at
		}
	}
	c.nextProbe.Store(int64(first))
}

// rebuild makes the plan of what the breakers say now.
func (c *Cluster) rebuild(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebuildLocked(now)
}

func (c *Cluster) rebuildLocked(now time.Duration) {
	c.dirty.Store(false) // before the look: a change after it marks again
	p, last := c.makePlan()
	c.lastUsed = last
	c.plan.Store(p)
	c.scheduleProbe()
	if len(p.levels) > 0 {
		c.downSince.Store(0)
		c.wake()
	} else {
		c.downSince.CompareAndSwap(0, max(int64(now), 1))
	}
}

// wake lets those who wait look again. mu is held.
func (c *Cluster) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Await is Pick for when Pick found none: it waits until an endpoint takes the
// request, at most until the cluster's fail-fast time has passed since its
// last endpoint went, or until deadline (0: none), or until done is closed.
// The error is ErrNoHealthyUpstream, ErrOverflow (too many wait already),
// context.DeadlineExceeded or context.Canceled.
func (c *Cluster) Await(now, deadline time.Duration, done <-chan struct{}, key Key) (*Endpoint, breaker.Permit, error) {
	return c.await(now, deadline, done, key, c.Pick)
}

// await is Await with pick in place of Pick.
func (c *Cluster) await(now, deadline time.Duration, done <-chan struct{}, key Key,
	pick func(now time.Duration, key Key) (*Endpoint, breaker.Permit, bool),
) (*Endpoint, breaker.Permit, error) {
	cfg := c.cfg.Load()
	limit := c.failFastAt(now, cfg.FailFast)
	if now >= limit {
		return nil, breaker.Permit{}, ErrNoHealthyUpstream
	}
	if c.waiting.Add(1) > int64(cfg.MaxWaiting) {
		c.waiting.Add(-1)
		return nil, breaker.Permit{}, ErrOverflow
	}
	c.metrics.Waiting(1)
	defer func() {
		c.waiting.Add(-1)
		c.metrics.Waiting(-1)
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed, available := c.changedChan(), c.group.Available()
		if e, p, ok := pick(now, key); ok {
			return e, p, nil
		}
		limit = c.failFastAt(now, c.cfg.Load().FailFast)
		switch {
		case deadline != 0 && now >= deadline:
			return nil, breaker.Permit{}, context.DeadlineExceeded
		case now >= limit:
			return nil, breaker.Permit{}, ErrNoHealthyUpstream
		}
		wake := limit
		if deadline != 0 {
			wake = min(wake, deadline)
		}
		if at, ok := c.group.NextAvailable(now); ok && at > now {
			wake = min(wake, at)
		}
		timer.Reset(wake - now)
		select {
		case <-timer.C:
		case <-changed:
		case <-available:
			c.dirty.Store(true) // the event that says so may still be on its way
		case <-done:
			return nil, breaker.Permit{}, context.Canceled
		}
		now = c.opts.Clock()
	}
}

// failFastAt is when waiting ends. It leaves downSince as it is: only who makes
// the ready set knows whether anything is down.
func (c *Cluster) failFastAt(now, failFast time.Duration) time.Duration {
	since := time.Duration(c.downSince.Load())
	if since == 0 { // an endpoint came back this moment
		since = now
	}
	return since + failFast
}

func (c *Cluster) changedChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// sweep lets time-driven detectors and recoveries act.
func (c *Cluster) sweep(now time.Duration) {
	if at := c.group.NextSweep(); at != 0 && at <= now {
		c.group.Sweep(now)
	}
	if c.dirty.Load() {
		c.rebuild(now)
	}
	c.limits.Load().Sweep(now)
	c.probeByDialling(now)
}

// before is the instant that is so long ago; for NoTimeout, and 0, none is.
func before(now, d time.Duration) time.Duration {
	if d <= 0 {
		return math.MinInt64
	}
	return now - d
}

// closeIdle closes connections that were idle for too long or are too old, and
// those that their peer has closed.
func (c *Cluster) closeIdle(now time.Duration) {
	cfg := c.cfg.Load()
	idleSince, madeAt := before(now, cfg.IdleTimeout), before(now, cfg.MaxConnectionDuration)
	for _, e := range c.Endpoints() {
		e.http1.closeIdle(idleSince, madeAt)
	}
}
