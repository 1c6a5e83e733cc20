package linkerd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Linkerd's defaults and bounds of a retry budget.
const (
	defaultPercent      = 20
	defaultMinPerSecond = 10
	defaultTTL          = 10 * time.Second
	minTTL, maxTTL      = time.Second, time.Minute
	maxRatio            = 1000
)

// Budget is the bound of retries that the ServiceProfile for a service sets, nil
// where there is none. A profile with retryable routes has Linkerd's defaults
// where it says nothing.
func Budget(in routing.Input) (*routing.Budget, []routing.Loser) {
	p, losers := governing(in)
	if p == nil {
		return nil, losers
	}
	retryable := false
	for i := range p.spec.Routes {
		retryable = retryable || p.spec.Routes[i].IsRetryable
	}
	if p.spec.RetryBudget == nil && !retryable {
		return nil, losers
	}
	b, _ := p.budget()
	return b, losers
}

// fieldError is what is wrong with one field.
type fieldError struct {
	field, value, allowed string
	err                   error
}

// budget is the profile's, with the defaults for what it leaves out or gets
// wrong.
func (p *profile) budget() (*routing.Budget, []fieldError) {
	said := p.spec.RetryBudget
	if said == nil {
		said = &source.ProfileBudget{}
	}
	b := &routing.Budget{
		Percent:      origin.Default(float64(defaultPercent), "Linkerd"),
		MinPerSecond: origin.Default(uint32(defaultMinPerSecond), "Linkerd"),
		Interval:     origin.Default(defaultTTL, "Linkerd"),
	}
	var errs []fieldError
	const at = "spec.retryBudget."
	if r := said.RetryRatio; r != nil {
		if *r < 0 || *r > maxRatio || math.IsNaN(*r) {
			errs = append(errs, fieldError{at + "retryRatio", strconv.FormatFloat(*r, 'g', -1, 64), "0 to 1000", errors.New("no such share can be; 0.2, the default, holds")})
		} else {
			b.Percent = origin.Said(min(*r*100, 100), p.object, at+"retryRatio")
		}
	}
	if n := said.MinRetriesPerSecond; n != nil {
		b.MinPerSecond = origin.Said(*n, p.object, at+"minRetriesPerSecond")
	}
	if said.TTL != "" {
		d, err := time.ParseDuration(said.TTL)
		if err != nil || d < minTTL || d > maxTTL {
			errs = append(errs, fieldError{at + "ttl", said.TTL, "1s to 60s", fmt.Errorf("this cannot be; %s, the default, holds", defaultTTL)})
		} else {
			b.Interval = origin.Said(d, p.object, at+"ttl")
		}
	}
	return b, errs
}
