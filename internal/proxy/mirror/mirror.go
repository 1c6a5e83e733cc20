// Package mirror sends copies of requests to clusters that nobody waits for: a
// route's mirrors (Envoy's request_mirror_policies).
//
// A copy is sent as a request of its own is: the cluster's balancer chooses the
// endpoint, its breaker has to agree and hears the outcome, its limits count the
// copy, and its connections carry it, of HTTP/1.1 or HTTP/2. What differs is
// that a copy never waits for an endpoint, is never sent twice, and that its
// answer is read and thrown away.
//
// Each copy under way has a goroutine. A Sender bounds their number; Send never
// waits, and nothing that becomes of a copy reaches who sent the request.
package mirror

import (
	"context"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Defaults of a Config.
const (
	DefaultMax     = 256
	DefaultTimeout = 30 * time.Second
)

// Config of a Sender.
type Config struct {
	// Max bounds the copies under way. 0: DefaultMax; negative: none is sent.
	Max int
	// Timeout bounds one copy, from when it is sent to the end of its answer; a
	// Request may say less. 0: DefaultTimeout.
	Timeout time.Duration
	Clock   breaker.Clock // nil: breaker.Monotonic
	// HTTP1 bounds the heads of answers.
	HTTP1 http1.Limits
}

// Sender sends copies. Its methods may be called from any goroutine.
type Sender struct {
	cfg    Config
	ctx    context.Context // of all copies; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// Guarded by mu.
	mu     sync.Mutex
	flying int
	closed bool
}

// NewSender makes a Sender. Close ends it.
func NewSender(cfg Config) *Sender {
	if cfg.Max == 0 {
		cfg.Max = DefaultMax
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Clock == nil {
		cfg.Clock = breaker.Monotonic
	}
	s := &Sender{cfg: cfg}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Send sends a copy to a cluster and counts what becomes of it there. It does
// not wait. r must not be changed any more, and may be sent to several.
func (s *Sender) Send(to *upstream.Cluster, r *Request) {
	if !s.enter() {
		to.Metrics().Mirrored(telemetry.MirrorOverflow)
		return
	}
	go func() {
		defer s.leave()
		c := copying{sender: s, to: to, req: r}
		to.Metrics().Mirrored(c.run())
	}()
}

func (s *Sender) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.flying >= s.cfg.Max {
		return false
	}
	s.flying++
	s.wg.Add(1)
	return true
}

func (s *Sender) leave() {
	s.mu.Lock()
	s.flying--
	s.mu.Unlock()
	s.wg.Done()
}

// Flying is the number of copies under way.
func (s *Sender) Flying() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flying
}

// Close ends all copies under way, and waits until they have. Nothing is sent
// after it.
func (s *Sender) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}
