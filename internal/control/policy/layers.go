package policy

import (
	"fmt"
	"math"
	"time"

	networkingv1 "istio.io/api/networking/v1"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// layer is one block of a rule's traffic policy and where it stands.
type layer[M any] struct {
	object source.Object
	field  string
	said   M
}

// layers are blocks of one kind, the one with the last word first: of each
// setting in them the first that has it counts. Without inheritance there is one
// at most.
type layers[M any] []layer[M]

// blocks are all blocks that hold for a port.
type blocks struct {
	balancer layers[*networkingv1.LoadBalancerSettings]
	pool     layers[*networkingv1.ConnectionPoolSettings]
	outlier  layers[*networkingv1.OutlierDetection]
	tls      layers[*networkingv1.ClientTLSSettings]
	budget   layers[*networkingv1.TrafficPolicy_RetryBudget]
}

// blocksOf puts the blocks of a chain of rules together.
func blocksOf(chain []*merged, port uint16, subset string) blocks {
	var all blocks
	for _, m := range chain {
		var b blocks
		if m.has {
			policy := m.policy.Value.(*source.IstioDestinationRule).Spec.GetTrafficPolicy()
			b.override(m.policy, "spec.trafficPolicy", policy, port)
		}
		if s, ok := m.subset(subset); ok {
			b.override(s.object, fmt.Sprintf("spec.subsets[%d].trafficPolicy", s.index), s.GetTrafficPolicy(), port)
		}
		all.balancer = append(all.balancer, b.balancer...)
		all.pool = append(all.pool, b.pool...)
		all.outlier = append(all.outlier, b.outlier...)
		all.tls = append(all.tls, b.tls...)
		all.budget = append(all.budget, b.budget...)
	}
	return all
}

// override puts a traffic policy over what there is, block by block as Istio
// does: a block that it has takes the place of the whole block, and where it has
// settings for the port these take the place of all four, also of those that
// they leave out.
func (b *blocks) override(o source.Object, at string, p *networkingv1.TrafficPolicy, port uint16) {
	if p == nil {
		return
	}
	put(&b.balancer, o, at+".loadBalancer", p.GetLoadBalancer())
	put(&b.pool, o, at+".connectionPool", p.GetConnectionPool())
	put(&b.outlier, o, at+".outlierDetection", p.GetOutlierDetection())
	put(&b.tls, o, at+".tls", p.GetTls())
	put(&b.budget, o, at+".retryBudget", p.GetRetryBudget())
	for i, own := range p.GetPortLevelSettings() {
		if own.GetPort().GetNumber() != uint32(port) {
			continue
		}
		at := fmt.Sprintf("%s.portLevelSettings[%d]", at, i)
		b.balancer, b.pool, b.outlier, b.tls = nil, nil, nil, nil
		put(&b.balancer, o, at+".loadBalancer", own.GetLoadBalancer())
		put(&b.pool, o, at+".connectionPool", own.GetConnectionPool())
		put(&b.outlier, o, at+".outlierDetection", own.GetOutlierDetection())
		put(&b.tls, o, at+".tls", own.GetTls())
		break
	}
}

// put replaces what there is by a block, if it is one.
func put[M any](to *layers[*M], o source.Object, field string, said *M) {
	if said != nil {
		*to = layers[*M]{{object: o, field: field, said: said}}
	}
}

// setting is that of the first layer that has it, unset where none has.
func setting[M, T any](ls layers[M], name string, get func(M) (T, bool)) Value[T] {
	for _, l := range ls {
		if v, ok := get(l.said); ok {
			return Value[T]{Value: v, Origin: origin.Of(l.object, l.field+"."+name)}
		}
	}
	return Value[T]{}
}

// Values that Envoy refuses are passed over here, and lint tells of them: Istio
// refuses the whole rule.

// shortest is what durations are at least, as Istio has it.
const shortest = time.Millisecond

// span reads a duration of 1ms at least.
func span[M any](get func(M) *durationpb.Duration) func(M) (time.Duration, bool) {
	return func(m M) (time.Duration, bool) {
		d := get(m)
		return d.AsDuration(), d != nil && d.AsDuration() >= shortest
	}
}

// spanOrOff reads a duration for which 0 means never.
func spanOrOff[M any](get func(M) *durationpb.Duration) func(M) (time.Duration, bool) {
	return func(m M) (time.Duration, bool) {
		d := get(m)
		return d.AsDuration(), d != nil && (d.AsDuration() == 0 || d.AsDuration() >= shortest)
	}
}

// wholeSeconds reads a duration of which the operating system takes seconds.
func wholeSeconds[M any](get func(M) *durationpb.Duration) func(M) (time.Duration, bool) {
	return func(m M) (time.Duration, bool) {
		s := get(m).GetSeconds()
		return time.Duration(s) * time.Second, s > 0 && s <= math.MaxInt16
	}
}

// positive reads an integer of which Istio takes 0 and less as unset.
func positive[M any](get func(M) int32) func(M) (uint32, bool) {
	return func(m M) (uint32, bool) {
		n := get(m)
		return uint32(max(n, 0)), n > 0
	}
}

// percentage is positive, to 100.
func percentage[M any](get func(M) int32) func(M) (uint32, bool) {
	return func(m M) (uint32, bool) {
		n := get(m)
		return uint32(max(n, 0)), n > 0 && n <= 100
	}
}

// wrapped reads an integer that may be a 0 which is set.
func wrapped[M any](get func(M) *wrapperspb.UInt32Value) func(M) (uint32, bool) {
	return func(m M) (uint32, bool) {
		w := get(m)
		return w.GetValue(), w != nil
	}
}

// between reads a number in a range.
func between[M any](get func(M) *wrapperspb.DoubleValue, low, high float64) func(M) (float64, bool) {
	return func(m M) (float64, bool) {
		w := get(m)
		return w.GetValue(), w != nil && w.GetValue() >= low && w.GetValue() <= high
	}
}

// switched reads a truth that is unset when it is not set.
func switched[M any](get func(M) bool) func(M) (bool, bool) {
	return func(m M) (bool, bool) { v := get(m); return v, v }
}
