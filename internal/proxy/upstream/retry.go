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
func (c *Cluster) TryRetry() bool { return c.limits.Load().TryRetry() }

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
	// The picker prefers one that was tried: any other, then.
	set := c.ready.Load().endpoints
	if len(set) == 0 {
		return nil, breaker.Permit{}, false
	}
	for i, from := 0, rand.IntN(len(set)); i < len(set); i++ {
		e := set[(from+i)%len(set)]
		if slices.Contains(tried, e) {
			continue
		}
		if p, ok := e.breaker.Acquire(now); ok {
			return e, p, true
		}
	}
	return nil, breaker.Permit{}, false
}
