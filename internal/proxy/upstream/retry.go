package upstream

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// This file is what retries need beyond first tries.

// TryRetry counts one retry in flight if the cluster's max_retries, or its retry
// budget, has room for it. ReleaseRetry ends it.
func (c *Cluster) TryRetry() bool {
	limits := c.limits.Load()
	if !limits.TryRetry() {
		return false
	}
	if b := c.budget.Load(); b != nil && !b.TryWithdraw(c.opts.Clock()) {
		limits.ReleaseRetry()
		return false
	}
	return true
}

// CountRequest tells the budget of retries, if there is one, of a request that
// is no retry.
func (c *Cluster) CountRequest(now time.Duration) {
	if b := c.budget.Load(); b != nil {
		b.Deposit(now)
	}
}

// applyBudget keeps what a budget has counted while it stays the same.
func (c *Cluster) applyBudget(old, cfg *Config) {
	switch {
	case cfg.RetryBudget == nil:
		c.budget.Store(nil)
	case old == nil || old.RetryBudget == nil || *old.RetryBudget != *cfg.RetryBudget:
		c.budget.Store(breaker.NewRetryBudget(*cfg.RetryBudget))
	}
}

// ReleaseRetry ends what TryRetry began.
func (c *Cluster) ReleaseRetry() { c.limits.Load().ReleaseRetry() }

// PickOther is Pick among the endpoints that are not in tried (Envoy's
// previous_hosts); false where each that takes a request now was tried.
func (c *Cluster) PickOther(now time.Duration, key Key, tried []*Endpoint) (*Endpoint, breaker.Permit, bool) {
	e, p, ok := c.Pick(now, key)
	if !ok || !slices.Contains(tried, e) {
		return e, p, ok
	}
	p.Done(now, breaker.Result{Cause: breaker.Cancelled})
	plan := c.plan.Load()
	for step := range mostSteps {
		e := plan.again(now, key, step+1)
		if e == nil || slices.Contains(tried, e) {
			continue
		}
		if p, ok := e.breaker.Acquire(now); ok {
			return e, p, true
		}
	}
	return plan.any(now, tried)
}

// again chooses once more: the next by the key's hash, or another by chance.
func (p *plan) again(now time.Duration, key Key, step int) *Endpoint {
	if len(p.levels) == 0 {
		return nil
	}
	l := p.level(key)
	if l.hash == nil || !key.Hashed {
		return p.pick(now, key)
	}
	if e := l.hash.endpoints[l.hash.table.At(key.Hash, step)]; e.takes() {
		return e
	}
	return nil
}

// any looks at all, beginning somewhere.
func (p *plan) any(now time.Duration, tried []*Endpoint) (*Endpoint, breaker.Permit, bool) {
	for i := range p.levels {
		for _, m := range p.levels[i].members {
			n := len(m.endpoints)
			for j, from := 0, rand.IntN(n); j < n; j++ {
				e := m.endpoints[(from+j)%n]
				if slices.Contains(tried, e) {
					continue
				}
				if permit, ok := e.breaker.Acquire(now); ok {
					return e, permit, true
				}
			}
		}
	}
	return nil, breaker.Permit{}, false
}
