package filter

import (
	"errors"
	"fmt"
	"time"
)

// Share is a share of the requests, in millionths; at most Every.
type Share uint32

// Every is the share of all requests.
const Every Share = 1_000_000

// Hits tells whether a request is one of the share; r is a random number of the
// full range.
func (s Share) Hits(r uint32) bool { return uint64(r)*uint64(Every)>>32 < uint64(s) }

// Percent of the requests.
func (s Share) Percent() float64 { return float64(s) / 10_000 }

// Fault delays and answers a share of the requests, in this order (Envoy's
// fault filter). The two chances are independent. Immutable.
type Fault struct {
	// Delay is waited before a request goes on; 0: none.
	Delay      time.Duration
	DelayShare Share
	// AbortStatus is one of HTTP, from 200 to 599; 0: AbortGRPC is what is
	// answered, a status of gRPC.
	AbortStatus int
	AbortGRPC   int
	AbortShare  Share
}

// Validate says everything that is wrong with f.
func (f *Fault) Validate(at string) error {
	var errs []error
	if f.DelayShare > Every || f.AbortShare > Every {
		errs = append(errs, fmt.Errorf("%s.percentage: must be at most 100%%", at))
	}
	if f.DelayShare > 0 && f.Delay <= 0 {
		errs = append(errs, fmt.Errorf("%s.delay.fixed_delay %v: must be above 0", at, f.Delay))
	}
	if f.AbortStatus != 0 && (f.AbortStatus < 200 || f.AbortStatus > 599) {
		errs = append(errs, fmt.Errorf("%s.abort.http_status %d: must be from 200 to 599", at, f.AbortStatus))
	}
	if f.AbortGRPC < 0 || f.AbortGRPC > 16 {
		errs = append(errs, fmt.Errorf("%s.abort.grpc_status %d: must be from 0 to 16", at, f.AbortGRPC))
	}
	return errors.Join(errs...)
}

// DelayOf is how long a request is held back; r is a random number of the full
// range. A nil Fault holds none back.
func (f *Fault) DelayOf(r uint32) time.Duration {
	if f == nil || !f.DelayShare.Hits(r) {
		return 0
	}
	return f.Delay
}

// Abort tells whether a request is answered, with which status of HTTP or, where
// that is 0, of gRPC; r is another random number. A nil Fault answers none.
func (f *Fault) Abort(r uint32) (status, grpc int, ok bool) {
	if f == nil || !f.AbortShare.Hits(r) {
		return 0, 0, false
	}
	return f.AbortStatus, f.AbortGRPC, true
}
