package routing

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
)

// maxStacked bounds the rules that one rule becomes, and maxBackends those of
// all of them: what backends' rules say multiplies.
const (
	maxStacked  = 256
	maxBackends = 8192
)

// Stack puts the rules of backends that stack in place of those backends.
// inner gives the rules of such a backend; ok is false for all others, which
// stay as they are. What a request is must match both the outer rule and the
// inner one, as the caller sent it; one that no inner rule matches is answered
// with 404 as it would be if it were sent to the backend itself.
//
// Where both say something the outer rule wins: a request has one time limit,
// one policy of retries and one path. Losers tell what could not be put
// together.
func Stack(rules []Rule, inner func(*Backend) (rules []Rule, ok bool)) ([]Rule, []Loser) {
	var out []Rule
	var losers []Loser
	for i := range rules {
		stacked, lost := stackRule(rules[i], inner)
		out = append(out, stacked...)
		losers = append(losers, lost...)
	}
	return out, losers
}

// stackRule replaces one backend after the other.
func stackRule(r Rule, inner func(*Backend) ([]Rule, bool)) ([]Rule, []Loser) {
	partial := []stacking{{Rule: r}}
	for at := range r.Backends {
		if r.Backends[at].Weight.Value == 0 {
			continue
		}
		rules, ok := inner(&r.Backends[at])
		if !ok {
			continue
		}
		if len(partial)*(len(rules)+1) > maxStacked {
			return []Rule{r}, []Loser{{Origin: r.Origin, Reason: fmt.Sprintf(
				"the routes of its backends are not stacked: together they would be more than %d rules", maxStacked)}}
		}
		var next []stacking
		backends := 0
		for _, p := range partial {
			for _, q := range p.over(at, rules) {
				next = append(next, q)
				backends += len(q.Backends)
			}
			if backends > maxBackends {
				return []Rule{r}, []Loser{{Origin: r.Origin, Reason: fmt.Sprintf(
					"the routes of its backends are not stacked: together they would have more than %d backends", maxBackends)}}
			}
		}
		partial = next
	}
	out := make([]Rule, 0, len(partial))
	var losers []Loser
	for i := range partial {
		p := &partial[i]
		if len(partial) > 1 {
			p.Name = fmt.Sprintf("%s+%d", r.Name, i)
		}
		p.reduce()
		out = append(out, p.Rule)
		losers = append(losers, p.losers...)
	}
	return out, dedupe(losers)
}

// stacking is a rule some of whose backends have been replaced.
type stacking struct {
	Rule
	added  int  // backends that came in place of earlier ones, less those
	done   bool // one has been replaced
	losers []Loser
}

// over gives one rule for each inner rule of the backend that was at a position
// in the outer rule, and one for what no inner rule matches.
func (p stacking) over(at int, inner []Rule) []stacking {
	var out []stacking
	for i := range inner {
		out = append(out, p.with(at+p.added, &inner[i]))
		if inner[i].Match.All() {
			return out
		}
	}
	none := Direct{Origin: p.Backends[at+p.added].Origin, Status: 404, Body: []byte("no route of the backend matches\n")}
	return append(out, p.with(at+p.added, &Rule{Name: "none", Origin: none.Origin, Direct: &none}))
}

// with replaces the backend at a position by what an inner rule says.
func (p stacking) with(at int, in *Rule) stacking {
	q := p
	q.done, q.losers = true, slices.Clone(p.losers)
	q.Match = p.Match.And(in.Match)
	switch {
	case p.ReplacesPrefix():
		q.Match = q.Match.Led(p.Match)
	case in.ReplacesPrefix():
		q.Match = q.Match.Led(in.Match)
	}
	q.Also = append(slices.Clone(p.Also), in.Origin)
	alone := p.alone(at)
	old := p.Backends[at]
	switch {
	case len(in.Backends) > 0:
		q.Backends = blend(p.Backends, at, in)
		q.added += len(in.Backends) - 1
	case alone:
		q.Backends, q.Redirect, q.Direct = nil, in.Redirect, in.Direct
	default:
		old.Invalid = "a route of it answers by itself, which a backend beside others cannot"
		q.Backends = slices.Clone(p.Backends)
		q.Backends[at] = old
	}
	q.treat(in, alone, old.share(p.Backends))
	return q
}

// alone tells whether all requests of the rule go to one backend.
func (p *stacking) alone(at int) bool {
	for i := range p.Backends {
		if i != at && p.Backends[i].Weight.Value > 0 {
			return false
		}
	}
	return true
}

// share is the part of the requests that a backend gets, from 0 to 1.
func (b *Backend) share(all []Backend) float64 {
	var total float64
	for i := range all {
		total += float64(all[i].Weight.Value)
	}
	if total == 0 {
		return 0
	}
	return float64(b.Weight.Value) / total
}

// treat takes over how the inner rule treats requests. What a rule can say for
// all of its backends only is taken over where there is just this one.
func (p *stacking) treat(in *Rule, alone bool, share float64) {
	for _, m := range in.Mirrors {
		m.Percent.Value *= share
		p.Mirrors = append(slices.Clone(p.Mirrors), m)
	}
	take := func(what string, from origin.Origin, set, free bool, do func()) {
		switch {
		case !set:
		case alone && free:
			do()
		default:
			p.losers = append(p.losers, Loser{Origin: from, Reason: fmt.Sprintf(
				"this %s has no effect where it is stacked below %s, %s", what, p.Origin.Object, outerWins(alone))})
		}
	}
	if in.Rewrite != nil {
		take("rewrite", in.Rewrite.Origin, true, p.Rewrite == nil, func() { p.Rewrite = in.Rewrite })
	}
	if in.CORS != nil {
		take("CORS policy", in.CORS.Origin, true, p.CORS == nil, func() { p.CORS = in.CORS })
	}
	if in.Retry != nil {
		take("retry policy", in.Retry.Origin, true, p.Retry == nil, func() { p.Retry = in.Retry })
	}
	take("fault", in.Origin, in.Fault != nil, p.Fault == nil, func() { p.Fault = in.Fault })
	take("view of failures", in.Failures.Origin, in.Failures.IsSet(), !p.Failures.IsSet(), func() { p.Failures = in.Failures })
	if alone && in.MissingStatus != 0 {
		p.MissingStatus = in.MissingStatus
	}
	for _, bound := range []struct {
		what         string
		outer, inner *origin.Value[time.Duration]
	}{
		{"request timeout", &p.Timeouts.Request, &in.Timeouts.Request},
		{"timeout of one try", &p.Timeouts.Backend, &in.Timeouts.Backend},
		{"response timeout", &p.Timeouts.Response, &in.Timeouts.Response},
		{"idle timeout", &p.Timeouts.Idle, &in.Timeouts.Idle},
	} {
		take(bound.what, bound.inner.Origin, bound.inner.IsSet(), !bound.outer.IsSet(), func() { *bound.outer = *bound.inner })
	}
}

func outerWins(alone bool) string {
	if alone {
		return "which says something of it itself"
	}
	return "which sends to other backends as well"
}

// blend puts an inner rule's backends in place of one, sharing its weight.
func blend(outer []Backend, at int, in *Rule) []Backend {
	shares, sum := sharesOf(in.Backends)
	old := outer[at]
	var out []Backend
	var weights []uint64
	for i := range outer {
		if i != at {
			out, weights = append(out, outer[i]), append(weights, uint64(outer[i].Weight.Value)*max(sum, 1))
			continue
		}
		for j, b := range in.Backends {
			b.RequestHeaders = slices.Concat(old.RequestHeaders, in.RequestHeaders, b.RequestHeaders)
			b.ResponseHeaders = slices.Concat(old.ResponseHeaders, in.ResponseHeaders, b.ResponseHeaders)
			w := shares[j] * uint64(old.Weight.Value)
			if sum == 0 && j == 0 {
				b.Invalid = "all weights of its route are 0"
				w = uint64(old.Weight.Value)
			}
			out, weights = append(out, b), append(weights, w)
		}
	}
	fit(out, weights)
	return out
}

// sharesOf are weights as small as they can be in the same proportions, and
// their sum, which is below 1<<31: a product with a weight does not overflow.
func sharesOf(list []Backend) (shares []uint64, sum uint64) {
	var d uint32
	for i := range list {
		d = gcd(d, list[i].Weight.Value)
		sum += uint64(list[i].Weight.Value)
	}
	sum /= uint64(max(d, 1))
	shift := 0
	for sum>>shift >= 1<<31 {
		shift++
	}
	sum = 0
	for i := range list {
		shares = append(shares, uint64(list[i].Weight.Value/max(d, 1))>>shift)
		sum += shares[i]
	}
	return shares, sum
}

// fit gives backends their weights, divided alike until each fits into 32 bits.
func fit(list []Backend, weights []uint64) {
	shift := 0
	for slices.Max(weights)>>shift > math.MaxUint32 {
		shift++
	}
	for i, w := range weights {
		if w > 0 {
			w = max(w>>shift, 1)
		}
		list[i].Weight.Value = uint32(w)
	}
}

// reduce divides the weights by what divides all of them, so that they stay
// readable and small.
func (p *stacking) reduce() {
	var d uint32
	for i := range p.Backends {
		d = gcd(d, p.Backends[i].Weight.Value)
	}
	if d <= 1 || !p.done {
		return
	}
	p.Backends = slices.Clone(p.Backends)
	for i := range p.Backends {
		p.Backends[i].Weight.Value /= d
	}
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func dedupe(list []Loser) []Loser {
	var out []Loser
	for _, l := range list {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}
