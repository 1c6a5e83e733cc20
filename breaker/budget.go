package breaker

import (
	"errors"
	"math"
	"sync"
	"time"
)

// RetryBudgetConfig bounds retries to a share of recent requests (Finagle's and
// Linkerd's retry budget).
type RetryBudgetConfig struct {
	// Ratio of retries to requests, 0 to 1000. Linkerd's default 0.2.
	Ratio float64
	// MinPerSecond retries are allowed in addition. Linkerd's default 10.
	MinPerSecond uint32
	// TTL is how long a request counts, 1s to 60s. Linkerd's default 10s.
	TTL time.Duration
}

// DefaultRetryBudget is Linkerd's: 0.2, 10 per second, 10s.
func DefaultRetryBudget() RetryBudgetConfig {
	return RetryBudgetConfig{Ratio: 0.2, MinPerSecond: 10, TTL: 10 * time.Second}
}

// Validate reports everything that is wrong with c.
func (c RetryBudgetConfig) Validate() error {
	v := &validation{}
	v.within("Ratio", c.Ratio, 0, 1000)
	v.check(c.TTL >= time.Second && c.TTL <= time.Minute, "TTL", c.TTL, "1s to 60s")
	return errors.Join(v.errs...)
}

// RetryBudget is a token bucket: each request deposits Ratio of a retry, each
// retry withdraws one; both are forgotten after TTL; MinPerSecond x TTL retries
// in each TTL are free. It is safe for use by many goroutines and allocates
// nothing.
type RetryBudget struct {
	// Immutable.
	deposit, reserve int64 // in millionths of a retry
	step             int64 // nanoseconds

	mu sync.Mutex
	// Guarded by mu.
	newest  int64 // number of the newest step
	sum     int64
	balance [windowSteps]int64
	spent   uint64
	refused uint64
}

// retry is the price of one, in the bucket's units.
const retry = 1_000_000

// NewRetryBudget makes a full RetryBudget. cfg must be valid.
func NewRetryBudget(cfg RetryBudgetConfig) *RetryBudget {
	return &RetryBudget{
		deposit: int64(math.Round(cfg.Ratio * retry)),
		reserve: int64(math.Round(float64(cfg.MinPerSecond) * cfg.TTL.Seconds() * retry)),
		step:    max(int64(cfg.TTL)/windowSteps, 1),
	}
}

// Deposit counts a request (not a retry) at now.
func (b *RetryBudget) Deposit(now time.Duration) {
	b.mu.Lock()
	b.advance(now)
	b.add(b.deposit)
	b.mu.Unlock()
}

// TryWithdraw pays for one retry at now if the budget allows it.
func (b *RetryBudget) TryWithdraw(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	if b.sum+b.reserve < retry {
		b.refused++
		return false
	}
	b.add(-retry)
	b.spent++
	return true
}

// Balance is how many retries the budget would allow at now.
func (b *RetryBudget) Balance(now time.Duration) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	return int(max(b.sum+b.reserve, 0) / retry)
}

// Counts tells how many withdrawals were allowed and refused.
func (b *RetryBudget) Counts() (allowed, refused uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent, b.refused
}

func (b *RetryBudget) add(n int64) {
	b.balance[b.newest%windowSteps] += n
	b.sum += n
}

// advance forgets what is older than TTL.
func (b *RetryBudget) advance(now time.Duration) {
	step := int64(now) / b.step
	if step-b.newest >= windowSteps {
		b.newest, b.sum, b.balance = step, 0, [windowSteps]int64{}
		return
	}
	for b.newest < step {
		b.newest++
		b.sum -= b.balance[b.newest%windowSteps]
		b.balance[b.newest%windowSteps] = 0
	}
}
