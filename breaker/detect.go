package breaker

import (
	"fmt"
	"math"
	"time"
)

// detectors is what the rules of an endpoint remember. Guarded by Endpoint.mu.
type detectors struct {
	run, gateway, local uint32 // failures in a row since a success or a detection
	row                 uint32 // failures in a row since a success, to be shown

	ewma    float64
	ewmaN   uint32
	rate    window // hits are successes
	slow    window // hits are slow calls
	calls   inflight
	between interval
	origin  interval // the same by whether there was a response at all
}

// interval counts the results since the last sweep of the statistical rules.
type interval struct{ good, all uint32 }

func (i *interval) count(good bool) {
	i.all++
	if good {
		i.good++
	}
}

// tripped is a set of reasons.
type tripped uint16

// observe counts one result and tells which detectors trip on it.
func (d *detectors) observe(cfg *policy, now time.Duration, r *Result, class Class) (t tripped) {
	if s := cfg.Detectors.SlowCalls; s != nil {
		t |= d.observeSlow(s, now, r, class)
	}
	if class == Ignored {
		return t
	}
	split := cfg.Classification.SplitLocalOrigin
	local := split && r.local()
	d.countRow(class)

	if split {
		d.origin.count(!local)
		if !local {
			d.local = 0
		} else if d.local++; reached(cfg.Detectors.ConsecutiveLocalOrigin, d.local) {
			t |= 1 << ConsecutiveLocalOriginFailures
		}
	}
	if !local {
		t |= d.observeRow(cfg, r, class)
		d.between.count(class == Success)
	}
	if s := cfg.Detectors.SuccessRateEWMA; s != nil {
		t |= d.observeEWMA(s, cfg.decay, class)
	}
	if s := cfg.Detectors.SuccessRateWindow; s != nil {
		d.rate.add(now, s.Window, class == Success)
		if d.rate.hits != d.rate.all && d.rate.all >= s.MinRequests && d.rate.share() < s.Threshold {
			t |= 1 << LowSuccessRate
		}
	}
	return t
}

// countRow keeps the number that people see; it goes on over probes.
func (d *detectors) countRow(class Class) {
	switch class {
	case Success:
		d.row = 0
	case Failure:
		d.row++
	case RateOnly, Ignored:
	}
}

// observeRow counts failures in a row. Envoy: a failure that is not a gateway
// error resets only the gateway count, a success resets both.
func (d *detectors) observeRow(cfg *policy, r *Result, class Class) (t tripped) {
	switch class {
	case Success:
		d.run, d.gateway = 0, 0
	case Failure:
		if d.run++; reached(cfg.Detectors.Consecutive, d.run) {
			t |= 1 << ConsecutiveFailures
		}
		if !r.gateway() {
			d.gateway = 0
		} else if d.gateway++; reached(cfg.Detectors.ConsecutiveGateway, d.gateway) {
			t |= 1 << ConsecutiveGatewayErrors
		}
	case RateOnly, Ignored:
	}
	return t
}

// observeEWMA follows Finagle: the first value starts the average, later ones
// weigh 1 - exp(-1/N), and only a failure after N requests can trip.
func (d *detectors) observeEWMA(s *SuccessRateEWMA, decay float64, class Class) tripped {
	x := 0.0
	if class == Success {
		x = 1
	}
	if d.ewmaN == 0 {
		d.ewma = x
	} else {
		d.ewma = x*(1-decay) + d.ewma*decay
	}
	if d.ewmaN < math.MaxUint32 {
		d.ewmaN++
	}
	if class != Success && d.ewmaN >= s.Requests && d.ewma < s.Threshold {
		return 1 << LowSuccessRateEWMA
	}
	return 0
}

func (d *detectors) observeSlow(s *SlowCalls, now time.Duration, r *Result, class Class) tripped {
	slow := r.Latency > s.Duration
	if class == Ignored && !slow || r.Cause == Overflow {
		return 0
	}
	d.slow.add(now, s.Window, slow)
	if d.slow.hits != 0 && d.slow.all >= s.MinRequests && d.slow.share() >= s.Share {
		return 1 << TooManySlowCalls
	}
	return 0
}

func reached(c *Consecutive, n uint32) bool { return c != nil && c.Failures > 0 && n >= c.Failures }

// reset forgets everything, for a new period.
func (d *detectors) reset() {
	calls := d.calls
	calls.reset()
	*d = detectors{calls: calls}
}

// finding is a detection in words, and the share of such that is acted on.
type finding struct {
	reason    Reason
	detail    string
	enforcing *uint32
}

// findings puts what tripped into words, in the order of the reasons, and lets
// those detectors start over.
func (d *detectors) findings(cfg *policy, t tripped) []finding {
	var out []finding
	for r := ConsecutiveFailures; r <= HungCall; r++ {
		if t&(1<<r) != 0 {
			out = append(out, d.finding(&cfg.Detectors, r))
		}
	}
	return out
}

func (d *detectors) finding(cfg *Detectors, r Reason) finding {
	f := finding{reason: r}
	row := func(c *Consecutive, n *uint32, what string) {
		f.detail, f.enforcing = fmt.Sprintf("%d %s in a row, limit %d", *n, what, c.Failures), c.Enforcing
		*n = 0
	}
	switch r {
	case ConsecutiveFailures:
		row(cfg.Consecutive, &d.run, "failures")
	case ConsecutiveGatewayErrors:
		row(cfg.ConsecutiveGateway, &d.gateway, "gateway errors")
	case ConsecutiveLocalOriginFailures:
		row(cfg.ConsecutiveLocalOrigin, &d.local, "calls without a response")
	case LowSuccessRateEWMA:
		s := cfg.SuccessRateEWMA
		f.enforcing = s.Enforcing
		f.detail = fmt.Sprintf("success rate %s on average over %d requests, below %s",
			percent(d.ewma), s.Requests, percent(s.Threshold))
		d.ewma, d.ewmaN = 0, 0
	case LowSuccessRate:
		s := cfg.SuccessRateWindow
		f.enforcing = s.Enforcing
		f.detail = fmt.Sprintf("success rate %s (%d of %d requests in %v), below %s",
			percent(d.rate.share()), d.rate.hits, d.rate.all, s.Window, percent(s.Threshold))
		d.rate.clear()
	case TooManySlowCalls:
		s := cfg.SlowCalls
		f.enforcing = s.Enforcing
		f.detail = fmt.Sprintf("%d of %d calls in %v (%s) slower than %v, limit %s",
			d.slow.hits, d.slow.all, s.Window, percent(d.slow.share()), s.Duration, percent(s.Share))
		d.slow.clear()
	}
	return f
}

// percent prints a share of 1.
func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }
