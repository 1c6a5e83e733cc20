package breaker

import (
	"math"
	"time"
)

// minWeight is where slow start begins (Envoy's min_weight_percent).
const minWeight = 0.1

// slowStart is a Config's slow start in use. Immutable.
type slowStart struct {
	span  int64 // nanoseconds; 0: none
	power float64
	from  float64
}

func newSlowStart(c *Config) *slowStart {
	s := &slowStart{span: int64(c.SlowStart), power: 1, from: minWeight}
	if c.Ramp.Aggression > 0 {
		s.power = 1 / c.Ramp.Aggression
	}
	if c.Ramp.MinWeight != nil {
		s.from = *c.Ramp.MinWeight
	}
	return s
}

// leastWeight keeps every weight above 0.
const leastWeight = 1e-6

// weight is the share after so many nanoseconds.
func (s *slowStart) weight(age int64) float64 {
	if age >= s.span {
		return 1
	}
	w := float64(max(age, 0)) / float64(s.span)
	if s.power != 1 {
		w = math.Pow(w, s.power)
	}
	return max(s.from, w, leastWeight)
}

// Weight is the share of its usual load that the endpoint should get at now,
// in (0, 1]: during Config.SlowStart after a recovery, and after it was added if
// Ramp says so, it rises from Ramp.MinWeight to 1.
func (e *Endpoint) Weight(now time.Duration) float64 {
	from := e.ramp.Load()
	if from == noRamp {
		return 1
	}
	return e.group.slowStart.Load().weight(int64(now) - from)
}

// SlowUntil is the instant from which Weight is 1; 0 if it is already, for all
// that is known without a clock.
func (e *Endpoint) SlowUntil() time.Duration {
	from := e.ramp.Load()
	if from == noRamp {
		return 0
	}
	return plus(time.Duration(from), time.Duration(e.group.slowStart.Load().span))
}
