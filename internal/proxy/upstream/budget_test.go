package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// TestRetryBudget: retries are a share of the requests of some time, whatever
// is in flight, and what was counted outlives a change of other settings.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		clock := func() time.Duration { return time.Since(start) }
		s := newSet(clock)
		cfg := config("a:1")
		cfg.RetryBudget = &breaker.RetryBudgetConfig{Ratio: 0.5, TTL: 10 * time.Second}
		c := s.Apply([]Config{cfg})[cfg.Name]
		retries := func() (n int) {
			for c.TryRetry() {
				c.ReleaseRetry()
				n++
			}
			return n
		}
		if n := retries(); n != 0 {
			t.Errorf("%d retries without a request", n)
		}
		count := func(n int) {
			for range n {
				c.CountRequest(clock())
			}
		}
		count(10)
		if n := retries(); n != 5 {
			t.Errorf("%d retries for 10 requests", n)
		}
		count(10)
		cfg.MaxWaiting, cfg.RetryBudget = 7, &breaker.RetryBudgetConfig{Ratio: 0.5, TTL: 10 * time.Second}
		s.Apply([]Config{cfg})
		if n := retries(); n != 5 {
			t.Errorf("%d retries after a change of something else", n)
		}
		count(10)
		<-time.After(11 * time.Second)
		if n := retries(); n != 0 {
			t.Errorf("%d retries for requests that are long over", n)
		}
		cfg.Limits.MaxRetries = 0
		count(10)
		s.Apply([]Config{cfg})
		if n := retries(); n != 0 {
			t.Errorf("%d retries where none may be in flight", n)
		}
		cfg.Limits.MaxRetries, cfg.RetryBudget = 1, nil
		s.Apply([]Config{cfg})
		if !c.TryRetry() || c.TryRetry() {
			t.Error("without a budget the limit alone counts")
		}
	})
}
