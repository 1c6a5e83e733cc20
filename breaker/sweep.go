package breaker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Sweep does at now what no call's result does: it gives up probes whose
// deadline has passed, finds hung calls and, at the end of each
// Config.SweepInterval, re-admits endpoints (Timed) and compares success rates.
// It may be called at any time; NextSweep says when it has something to do.
func (g *Group) Sweep(now time.Duration) {
	g.mu.Lock()
	defer g.unlock()
	g.swept = now
	for _, e := range g.endpoints {
		g.expire(e, now)
		g.checkHung(e, now)
	}
	if now < g.interval {
		return
	}
	// A late sweep does not make up for those that were missed.
	g.interval = plus(g.interval, g.cfg.SweepInterval)
	if g.interval <= now {
		g.interval = plus(now, g.cfg.SweepInterval)
	}
	if g.cfg.Recovery.Mode == Timed {
		g.readmit(now)
	}
	if g.cfg.Detectors.statistical() {
		g.compare(now)
	}
}

// NextSweep is the instant of the next Sweep that is of use; 0 if there is
// nothing to do until a call ends or a state changes.
func (g *Group) NextSweep() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := never
	timed := g.cfg.Recovery.Mode == Timed
	if g.cfg.Detectors.statistical() {
		first = g.interval
	}
	for _, e := range g.endpoints {
		switch stateOf(e.word.Load()) {
		case HalfOpen:
			first = min(first, e.until)
		case Open:
			if timed {
				first = min(first, g.interval)
			}
		default:
			if timed && e.attempt > 0 {
				first = min(first, g.interval)
			}
		}
		if h := g.cfg.Detectors.HungCalls; h != nil {
			first = min(first, g.nextHung(e, h.Age))
		}
	}
	if first == never {
		return 0
	}
	return max(first, 1)
}

// nextHung is when a call of e may be found hung. A call that begins after a
// sweep is not hung before that sweep is Age ago.
func (g *Group) nextHung(e *Endpoint, age time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest, any := e.det.calls.oldest(); any && oldest != e.det.calls.told {
		return plus(oldest, age)
	}
	return plus(g.swept, age)
}

// checkHung trips HungCalls. A detection that comes to nothing is told once for
// each oldest call. If a guard refused it, the next sweeps try again, silently.
func (g *Group) checkHung(e *Endpoint, now time.Duration) {
	h := g.cfg.Detectors.HungCalls
	if h == nil || stateOf(e.word.Load()) != Closed {
		return
	}
	e.mu.Lock()
	oldest, any := e.det.calls.oldest()
	told := oldest == e.det.calls.told
	hung := any && now-oldest >= h.Age
	if hung {
		e.det.calls.told = oldest
	}
	e.mu.Unlock()
	if !hung || told && (h.Enforcing != nil || !g.mayEject(g.ejected+1)) {
		return
	}
	g.eject(e, now, finding{
		reason: HungCall, enforcing: h.Enforcing,
		detail: fmt.Sprintf("oldest call in flight for %v, limit %v", round(now-oldest), h.Age),
	})
}

// readmit closes the endpoints whose ejection time is over, and lowers the
// multiplier of those that were in service.
func (g *Group) readmit(now time.Duration) {
	for _, e := range g.endpoints {
		switch stateOf(e.word.Load()) {
		case Open:
			if now >= e.until {
				g.reclose(e, now, EjectionTimeOver, fmt.Sprintf("ejection time of %v over", round(e.pause)))
			}
		case Closed:
			if e.attempt > 0 {
				e.attempt--
			}
		}
	}
}

// sample is an endpoint's interval.
type sample struct {
	e *Endpoint
	interval
}

func (s sample) successPercent() float64 { return 100 * float64(s.good) / float64(s.all) }

// compare runs the statistical detectors over the interval that just ended.
func (g *Group) compare(now time.Duration) {
	d := &g.cfg.Detectors
	g.compareSamples("", g.samples(func(d *detectors) *interval { return &d.between }), d.SuccessRateOutlier, d.FailurePercentage, now)
	if g.cfg.Classification.SplitLocalOrigin {
		g.compareSamples("calls without a response: ", g.samples(func(d *detectors) *interval { return &d.origin }), d.LocalSuccessRateOutlier, d.LocalFailurePercentage, now)
	}
}

// samples takes an interval from each endpoint. Those that are not closed are
// left out, as Envoy does. The worst goes first when the guards leave room for
// some only.
func (g *Group) samples(of func(*detectors) *interval) []sample {
	out := make([]sample, 0, len(g.endpoints))
	for _, e := range g.endpoints {
		e.mu.Lock()
		s := sample{e, *of(&e.det)}
		*of(&e.det) = interval{}
		e.mu.Unlock()
		if stateOf(e.word.Load()) == Closed && s.all > 0 {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b sample) int {
		return cmp.Compare(a.successPercent(), b.successPercent())
	})
	return out
}

// of says whose rates they are, where these are not the responses'.
func (g *Group) compareSamples(of string, samples []sample, o *SuccessRateOutlier, f *FailurePercentage, now time.Duration) {
	if o != nil {
		g.compareOutlier(of, o, enough(samples, o.MinHosts, o.RequestVolume), now)
	}
	if f != nil {
		g.compareFailures(of, f, enough(samples, f.MinHosts, f.RequestVolume), now)
	}
}

// enough gives the samples with the volume, none if these are too few.
func enough(samples []sample, least, volume uint32) []sample {
	var out []sample
	for _, s := range samples {
		if s.all >= volume {
			out = append(out, s)
		}
	}
	if len(out) < int(least) {
		return nil
	}
	return out
}

func (g *Group) compareOutlier(of string, o *SuccessRateOutlier, samples []sample, now time.Duration) {
	rates := make([]float64, len(samples))
	for i, s := range samples {
		rates[i] = s.successPercent()
	}
	mean, sigma := meanSigma(rates)
	threshold := mean - o.Factor*sigma
	for i, s := range samples {
		if rates[i] >= threshold || stateOf(s.e.word.Load()) != Closed {
			continue
		}
		g.eject(s.e, now, finding{
			reason: OutlierSuccessRate, enforcing: o.Enforcing,
			detail: of + fmt.Sprintf("success rate %.1f%% of %d requests, below %.1f%% = mean %.1f%% - %g x sigma %.1f%% over %d endpoints",
				rates[i], s.all, threshold, mean, o.Factor, sigma, len(samples)),
		})
	}
}

func (g *Group) compareFailures(of string, f *FailurePercentage, samples []sample, now time.Duration) {
	for _, s := range samples {
		failed := s.all - s.good
		share := 100 * float64(failed) / float64(s.all)
		if share < f.Threshold || stateOf(s.e.word.Load()) != Closed {
			continue
		}
		g.eject(s.e, now, finding{
			reason: HighFailurePercentage, enforcing: f.Enforcing,
			detail: of + fmt.Sprintf("%d of %d requests failed (%.1f%%), limit %g%%", failed, s.all, share, f.Threshold),
		})
	}
}

// meanSigma is the mean and the population's standard deviation.
func meanSigma(values []float64) (mean, sigma float64) {
	if len(values) == 0 {
		return 0, 0
	}
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		sigma += (v - mean) * (v - mean) / n
	}
	return mean, math.Sqrt(sigma)
}
