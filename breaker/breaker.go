package breaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrOpen is what a call that a Breaker refused wraps; see OpenError.
var ErrOpen = errors.New("breaker is open")

// OpenError tells why a Breaker refused a call. It wraps ErrOpen.
type OpenError struct {
	Name string
	// RetryAfter is how long until a call may be let through again; 0 when
	// that depends on the probe that is out.
	RetryAfter time.Duration
	// Reason and Detail of the trip.
	Reason Reason
	Detail string
}

func (e *OpenError) Error() string {
	s := fmt.Sprintf("%s: %v: %s", e.Name, ErrOpen, e.Detail)
	if e.RetryAfter > 0 {
		s += fmt.Sprintf("; next try in %v", round(e.RetryAfter))
	}
	return s
}

func (e *OpenError) Unwrap() error { return ErrOpen }

// A Breaker guards one thing: a function, or a client of one server. It is a
// Group of one endpoint that sweeps itself when it is used.
type Breaker struct {
	group    *Group
	endpoint *Endpoint
	clock    Clock
	sweeps   bool // the policy needs sweeps
}

// New makes a closed Breaker. The name stands in events and errors. It fails if
// cfg is not valid.
func New(name string, cfg Config, opts Options) (*Breaker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("breaker %s: %w", name, err)
	}
	g := NewGroup(cfg, opts)
	return &Breaker{
		group: g, endpoint: g.Add(name), clock: g.clock,
		sweeps: cfg.Recovery.Mode == Timed || cfg.Detectors.HungCalls != nil || cfg.Detectors.statistical(),
	}, nil
}

// Do calls fn if the breaker lets it, and counts its error by ResultOf. The
// error is fn's own, or an *OpenError if fn was not called. A panic of fn
// counts as a failure and goes on.
func (b *Breaker) Do(ctx context.Context, fn func(context.Context) error) error {
	return b.DoResult(ctx, func(ctx context.Context) (Result, error) {
		err := fn(ctx)
		return ResultOf(ctx, err), err
	})
}

// DoResult is Do for a function that knows its own Result, such as a status.
func (b *Breaker) DoResult(ctx context.Context, fn func(context.Context) (Result, error)) error {
	p, err := b.Acquire()
	if err != nil {
		return err
	}
	r := Result{Cause: Failed} // should fn panic
	defer func() { p.Done(b.clock(), r) }()
	r, err = fn(ctx)
	return err
}

// Acquire asks for one call by hand; the error is an *OpenError. The permit
// must be ended by its Done, with Now.
func (b *Breaker) Acquire() (Permit, error) {
	now := b.clock()
	if b.sweeps {
		if next := b.group.NextSweep(); next != 0 && next <= now {
			b.group.Sweep(now)
		}
	}
	if p, ok := b.endpoint.Acquire(now); ok {
		return p, nil
	}
	return Permit{}, b.group.openError(b.endpoint, now)
}

// Now is the present instant of the breaker's clock.
func (b *Breaker) Now() time.Duration { return b.clock() }

// State is the present state.
func (b *Breaker) State() State { return b.endpoint.State() }

func (g *Group) openError(e *Endpoint, now time.Duration) *OpenError {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := &OpenError{Name: e.name, Reason: e.reason, Detail: e.detail}
	if stateOf(e.word.Load()) == Open {
		err.RetryAfter = max(g.usable(e)-now, 0)
	}
	return err
}

// ResultOf judges an error as a client of a server gives it: none is success;
// the caller's own cancellation says nothing; a time-out, a refused connection
// and anything else are failures.
func ResultOf(ctx context.Context, err error) Result {
	var timeout interface{ Timeout() bool }
	var op *net.OpError
	late := errors.As(err, &timeout) && timeout.Timeout() // as context.DeadlineExceeded is
	dial := errors.As(err, &op) && op.Op == "dial"
	switch {
	case err == nil:
		return Result{}
	case errors.Is(err, context.Canceled) && errors.Is(ctx.Err(), context.Canceled):
		return Result{Cause: Cancelled}
	case dial && late:
		return Result{Cause: ConnectTimeout}
	case dial:
		return Result{Cause: ConnectFailure}
	case late:
		return Result{Cause: RequestTimeout}
	default:
		return Result{Cause: Failed}
	}
}
