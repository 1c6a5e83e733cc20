package breaker

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// Unlimited is the value of a limit that is none.
const Unlimited = math.MaxUint32

// LimitsConfig bounds what one caller has in flight towards one service
// (Envoy's circuit_breakers thresholds). For the first four, 0 allows none and
// Unlimited any number.
type LimitsConfig struct {
	// MaxConnections open at a time.
	MaxConnections uint32
	// MaxPending requests that wait for a connection.
	MaxPending uint32
	// MaxRequests in flight.
	MaxRequests uint32
	// MaxRetries in flight. Not used with RetryBudget.
	MaxRetries uint32
	// MaxRequestsPerConnection closes a connection after so many. 1: no
	// keep-alive; 0 or Unlimited: no bound.
	MaxRequestsPerConnection uint32
	// PerEndpoint multiplies the first four with the number of endpoints.
	PerEndpoint bool
	// RetryBudget bounds retries by what is in flight instead of MaxRetries.
	RetryBudget *RetryConcurrency
}

// RetryConcurrency is Envoy's retry budget: as many retries in flight as
// Percent of the requests active and pending, and MinConcurrency in any case.
type RetryConcurrency struct {
	Percent        float64 // 0 to 100; Envoy's default 20
	MinConcurrency uint32  // Envoy's default 3
	// Interval: requests count for so long, whether or not they have ended.
	// 0: while they are active or pending. Limits.Sweep must be called then.
	Interval time.Duration
}

// UnlimitedLimits bounds nothing, as Istio has it without a DestinationRule.
func UnlimitedLimits() LimitsConfig {
	return LimitsConfig{MaxConnections: Unlimited, MaxPending: Unlimited, MaxRequests: Unlimited, MaxRetries: Unlimited}
}

// EnvoyLimits is Envoy's default: 1024 connections, 1024 pending, 1024
// requests, 3 retries.
func EnvoyLimits() LimitsConfig {
	return LimitsConfig{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
}

// Validate reports what is wrong with c; any number is a limit.
func (c LimitsConfig) Validate() error {
	b := c.RetryBudget
	if b != nil && !(b.Percent >= 0 && b.Percent <= 100) {
		return fmt.Errorf("RetryBudget.Percent: %v is not allowed: 0 to 100", b.Percent)
	}
	if b != nil && b.Interval < 0 {
		return fmt.Errorf("RetryBudget.Interval: %v is not allowed: 0 or more", b.Interval)
	}
	return nil
}

// Limits counts what is in flight. Each Try that gives true, and each Add, must
// be followed by one Release. Nothing allocates or locks.
type Limits struct {
	cfg       atomic.Pointer[LimitsConfig]
	endpoints atomic.Uint32

	connections, pending, requests, retries gauge

	// For RetryConcurrency.Interval.
	begun  atomic.Uint64 // requests so far
	before atomic.Uint64 // those that count no more
	past   past
}

// past is how many requests had begun when, in steps of a tenth of the interval.
// Owned by whoever calls Sweep.
type past struct {
	at    [windowSteps]time.Duration
	begun [windowSteps]uint64
	next  int
}

// NewLimits makes Limits with nothing in flight, for one endpoint.
func NewLimits(cfg LimitsConfig) *Limits {
	l := &Limits{}
	l.endpoints.Store(1)
	l.cfg.Store(&cfg)
	return l
}

// Update changes the limits. What is above them already may end in peace.
func (l *Limits) Update(cfg LimitsConfig) { l.cfg.Store(&cfg) }

// SetEndpoints tells the number of endpoints, for PerEndpoint; 0 counts as 1.
func (l *Limits) SetEndpoints(n int) {
	l.endpoints.Store(uint32(min(max(n, 1), math.MaxUint32-1))) //nolint:gosec // bounded
}

// TryConnection counts one connection if there is room.
func (l *Limits) TryConnection() bool {
	return l.connections.try(l.scaled(l.cfg.Load().MaxConnections))
}

// AddConnection counts a connection whatever the limit says: for the one that
// each endpoint may have in any case (Envoy's rule, so that no endpoint starves
// while others hold the limit).
func (l *Limits) AddConnection() { l.connections.now.Add(1) }

// ReleaseConnection ends what TryConnection or AddConnection began.
func (l *Limits) ReleaseConnection() { l.connections.release() }

// TryPending counts one waiting request if there is room.
func (l *Limits) TryPending() bool { return l.pending.try(l.scaled(l.cfg.Load().MaxPending)) }

// ReleasePending ends what TryPending began.
func (l *Limits) ReleasePending() { l.pending.release() }

// TryRequest counts one request in flight if there is room.
func (l *Limits) TryRequest() bool {
	cfg := l.cfg.Load()
	if !l.requests.try(l.scaled(cfg.MaxRequests)) {
		return false
	}
	if b := cfg.RetryBudget; b != nil && b.Interval > 0 {
		l.begun.Add(1)
	}
	return true
}

// Sweep forgets requests that began longer ago than RetryConcurrency.Interval.
// It is needed where that is set, a few times in each interval, and is called by
// one goroutine at a time.
func (l *Limits) Sweep(now time.Duration) {
	b := l.cfg.Load().RetryBudget
	if b == nil || b.Interval == 0 {
		return
	}
	p := &l.past
	last := (p.next + windowSteps - 1) % windowSteps
	if now-p.at[last] >= b.Interval/windowSteps {
		p.at[p.next], p.begun[p.next] = now, l.begun.Load()
		p.next = (p.next + 1) % windowSteps
	}
	before := uint64(0)
	for i, at := range p.at {
		if at != 0 && now-at >= b.Interval-b.Interval/windowSteps {
			before = max(before, p.begun[i])
		}
	}
	l.before.Store(max(before, l.before.Load()))
}

// ReleaseRequest ends what TryRequest began.
func (l *Limits) ReleaseRequest() { l.requests.release() }

// TryRetry counts one retry in flight if there is room: under MaxRetries, or
// under RetryBudget if that is set.
func (l *Limits) TryRetry() bool {
	cfg := l.cfg.Load()
	b := cfg.RetryBudget
	if b == nil {
		return l.retries.try(l.scaled(cfg.MaxRetries))
	}
	active := uint64(l.requests.now.Load()) + uint64(l.pending.now.Load())
	if b.Interval > 0 {
		active = max(active, l.begun.Load()-l.before.Load())
	}
	budget := uint64(b.Percent / 100 * float64(active))
	return l.retries.try(uint32(min(max(budget, uint64(b.MinConcurrency)), Unlimited))) //nolint:gosec // bounded
}

// ReleaseRetry ends what TryRetry began.
func (l *Limits) ReleaseRetry() { l.retries.release() }

// RequestsPerConnection is how many requests a connection may carry; Unlimited
// if there is no bound.
func (l *Limits) RequestsPerConnection() uint32 {
	if n := l.cfg.Load().MaxRequestsPerConnection; n != 0 {
		return n
	}
	return Unlimited
}

// LimitCounts is one number for each limit.
type LimitCounts struct{ Connections, Pending, Requests, Retries uint64 }

// Overflows counts what was refused since the start.
func (l *Limits) Overflows() LimitCounts {
	return LimitCounts{
		l.connections.refused.Load(), l.pending.refused.Load(), l.requests.refused.Load(), l.retries.refused.Load(),
	}
}

// InFlight counts what is in flight.
func (l *Limits) InFlight() LimitCounts {
	return LimitCounts{
		uint64(l.connections.now.Load()), uint64(l.pending.now.Load()),
		uint64(l.requests.now.Load()), uint64(l.retries.now.Load()),
	}
}

// scaled applies PerEndpoint.
func (l *Limits) scaled(limit uint32) uint32 {
	if limit == Unlimited || !l.cfg.Load().PerEndpoint {
		return limit
	}
	return uint32(min(uint64(limit)*uint64(l.endpoints.Load()), Unlimited-1)) //nolint:gosec // bounded
}

// gauge is a number in flight with its own count of refusals.
type gauge struct {
	now     atomic.Uint32
	refused atomic.Uint64
}

// try never lets now pass the limit, not even for an instant, so that nobody
// is refused because of another's attempt.
func (g *gauge) try(limit uint32) bool {
	for {
		n := g.now.Load()
		if n >= limit {
			g.refused.Add(1)
			return false
		}
		if g.now.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gauge) release() {
	if g.now.Add(^uint32(0)) == Unlimited {
		panic("breaker: a limit was released more often than it was taken")
	}
}
