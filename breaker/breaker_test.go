package breaker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func newBreaker(t *testing.T, cfg Config, now *time.Duration) *Breaker {
	t.Helper()
	b, err := New("x", cfg, Options{Clock: func() time.Duration { return *now }, Rand: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewRefusesABadConfig(t *testing.T) {
	cfg := LinkerdConsecutive()
	cfg.Recovery.Max = 0
	if _, err := New("x", cfg, Options{}); err == nil || !strings.Contains(err.Error(), "breaker x: Recovery.Max: 0s") {
		t.Errorf("error is %v", err)
	}
}

func TestDo(t *testing.T) {
	var now time.Duration
	ctx := context.Background()
	boom := errors.New("boom")
	fail := func(context.Context) error { return boom }
	b := newBreaker(t, guarded(Guards{}), &now)
	if err := b.Do(ctx, fail); !errors.Is(err, boom) {
		t.Errorf("error is %v", err)
	}
	called := false
	err := b.Do(ctx, func(context.Context) error { called = true; return nil })
	var open *OpenError
	if called || !errors.Is(err, ErrOpen) || !errors.As(err, &open) {
		t.Fatalf("error is %v, called %v", err, called)
	}
	if open.RetryAfter != time.Second || open.Reason != ConsecutiveFailures || open.Name != "x" {
		t.Errorf("error is %+v", open)
	}
	// While a probe is out nobody knows when the next may go.
	now = time.Second
	err = b.Do(ctx, func(context.Context) error {
		inner := b.Do(ctx, fail)
		if !errors.As(inner, &open) || open.RetryAfter != 0 {
			t.Errorf("error beside a probe: %+v", inner)
		}
		return nil
	})
	if err != nil || b.State() != Closed {
		t.Errorf("error %v, state %v", err, b.State())
	}
}

func TestDoCountsAPanic(t *testing.T) {
	var now time.Duration
	b := newBreaker(t, guarded(Guards{}), &now)
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not go on")
			}
		}()
		_ = b.Do(context.Background(), func(context.Context) error { panic("boom") })
	}()
	if b.State() != Open {
		t.Errorf("state %v", b.State())
	}
}

// A Breaker has no owner that sweeps: it does so itself.
func TestBreakerSweepsItself(t *testing.T) {
	var now time.Duration
	cfg := EnvoyOutlier()
	cfg.Guards = Guards{}
	b := newBreaker(t, cfg, &now)
	for range 5 {
		_ = b.Do(context.Background(), func(context.Context) error { return errors.New("boom") })
	}
	now = 25 * time.Second
	_, err := b.Acquire()
	var open *OpenError
	if !errors.As(err, &open) {
		t.Fatalf("error is %v", err)
	}
	now += open.RetryAfter
	if _, err := b.Acquire(); err != nil {
		t.Errorf("at %v: %v", b.Now(), err)
	}
}

type timeoutError struct{ error }

func (timeoutError) Timeout() bool { return true }

func TestResultOf(t *testing.T) {
	live := context.Background()
	gone, cancel := context.WithCancel(live)
	cancel()
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want Cause
	}{
		{"none", live, nil, Response},
		{"caller gave up", gone, context.Canceled, Cancelled},
		{"somebody else gave up", live, context.Canceled, Failed},
		{"deadline", live, context.DeadlineExceeded, RequestTimeout},
		{"net timeout", live, timeoutError{http.ErrHandlerTimeout}, RequestTimeout},
		{"no connection", live, dial, ConnectFailure},
		{"no connection in time", live, &net.OpError{Op: "dial", Err: timeoutError{errors.New("i/o timeout")}}, ConnectTimeout},
		{"read", live, &net.OpError{Op: "read", Err: errors.New("reset")}, Failed},
		{"anything", live, errors.New("boom"), Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ResultOf(tt.ctx, tt.err).Cause; got != tt.want {
				t.Errorf("cause is %v, want %v", got, tt.want)
			}
		})
	}
}
