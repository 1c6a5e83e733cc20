package breaker

import (
	"testing"
	"time"
)

func TestRetryBudgetDefaults(t *testing.T) {
	if got, want := DefaultRetryBudget(), (RetryBudgetConfig{Ratio: 0.2, MinPerSecond: 10, TTL: 10 * time.Second}); got != want {
		t.Errorf("defaults: %+v", got)
	}
	for _, c := range []RetryBudgetConfig{{Ratio: -1, TTL: time.Second}, {Ratio: 1001, TTL: time.Second}, {TTL: 999 * time.Millisecond}, {TTL: 61 * time.Second}} {
		if c.Validate() == nil {
			t.Errorf("%+v is allowed", c)
		}
	}
	for _, c := range []RetryBudgetConfig{DefaultRetryBudget(), {TTL: time.Second}, {TTL: time.Minute}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// spend withdraws until refused.
func spend(b *RetryBudget, now time.Duration) (n int) {
	for n < 100_000 && b.TryWithdraw(now) {
		n++
	}
	return n
}

func TestRetryBudget(t *testing.T) {
	deposits := func(b *RetryBudget, n int, now time.Duration) {
		for range n {
			b.Deposit(now)
		}
	}
	t.Run("the reserve is 10 per second over 10s", func(t *testing.T) {
		b := NewRetryBudget(DefaultRetryBudget())
		if got := b.Balance(0); got != 100 {
			t.Errorf("balance %d", got)
		}
		if got := spend(b, 0); got != 100 {
			t.Errorf("%d retries, want 100", got)
		}
	})
	t.Run("five requests pay for one retry", func(t *testing.T) {
		b := NewRetryBudget(RetryBudgetConfig{Ratio: 0.2, TTL: 10 * time.Second})
		deposits(b, 4, 0)
		if got := spend(b, 0); got != 0 {
			t.Errorf("%d retries of 4 requests", got)
		}
		deposits(b, 1, 0)
		if got := spend(b, 0); got != 1 {
			t.Errorf("%d retries of 5 requests", got)
		}
		deposits(b, 1000, time.Second)
		if got := spend(b, time.Second); got != 200 {
			t.Errorf("%d retries of 1000 requests", got)
		}
	})
	t.Run("requests are forgotten after the TTL", func(t *testing.T) {
		b := NewRetryBudget(RetryBudgetConfig{Ratio: 0.2, TTL: 10 * time.Second})
		deposits(b, 100, 0)
		if got := b.Balance(10*time.Second - 1); got != 20 {
			t.Errorf("balance %d before the TTL", got)
		}
		if got := b.Balance(10 * time.Second); got != 0 {
			t.Errorf("balance %d after the TTL", got)
		}
	})
	t.Run("retries are forgotten after the TTL too", func(t *testing.T) {
		b := NewRetryBudget(DefaultRetryBudget())
		spend(b, 0)
		if got := b.Balance(9 * time.Second); got != 0 {
			t.Errorf("balance %d", got)
		}
		if got := b.Balance(10 * time.Second); got != 100 {
			t.Errorf("balance %d after the TTL, want the reserve", got)
		}
		if allowed, refused := b.Counts(); allowed != 100 || refused != 1 {
			t.Errorf("counts %d %d", allowed, refused)
		}
	})
	t.Run("more retries than requests", func(t *testing.T) {
		b := NewRetryBudget(RetryBudgetConfig{Ratio: 2, TTL: time.Second})
		deposits(b, 3, 0)
		if got := spend(b, 0); got != 6 {
			t.Errorf("%d retries, want 6", got)
		}
	})
	t.Run("a steady load: a fifth of it may be retried, and 10 a second", func(t *testing.T) {
		b := NewRetryBudget(DefaultRetryBudget())
		retries := 0
		const seconds = 100
		for now := time.Duration(0); now < seconds*time.Second; now += time.Millisecond {
			b.Deposit(now)
			if b.TryWithdraw(now) {
				retries++
			}
		}
		// 200 + 10 per second, and the first reserve.
		if want := 210 * seconds; retries < want-210 || retries > want+210 {
			t.Errorf("%d retries, want about %d", retries, want)
		}
	})
}
