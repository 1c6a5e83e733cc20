package convert

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// connectionFailures are what a retry of Gateway API is for besides statuses.
func connectionFailures() []string { return []string{"connect-failure", "refused-stream", "reset"} }

func grpcConditions() []string {
	return []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}
}

// retry carries when a request is sent again. Without attempts there is none.
func (c *converter) retry(r *routing.Rule) {
	perTry := r.Timeouts.Backend
	if r.Retry != nil {
		perTry = r.Retry.PerTry.Or(perTry)
	}
	if r.Retry == nil || r.Retry.Attempts.Value == 0 {
		r.Retry = nil
		c.backendTimeout(r, perTry)
		return
	}
	if c.grpc && c.to == GatewayAPI {
		c.lose(r.Retry.Origin, "retry", fmt.Sprint(r.Retry.Attempts.Value), "a GRPCRoute has no field for retries")
		r.Retry = nil
		c.backendTimeout(r, perTry)
		return
	}
	t := *r.Retry
	t.PerTry = origin.Value[time.Duration]{}
	if t.BackoffMax.IsSet() && t.BackoffMax.Origin.Default == "" {
		c.lose(t.BackoffMax.Origin, "retry.backoffMax", t.BackoffMax.Value.String(), "the longest back-off cannot be said there")
	}
	t.BackoffMax = origin.Value[time.Duration]{}
	if !t.AnyMethod.Value {
		c.lose(t.Origin, "retry.anyMethod", "false", "there requests of every method are sent again, those that change something too")
		t.AnyMethod = origin.Value[bool]{Value: true, Origin: t.Origin}
	}
	switch {
	case c.to == Istio:
		c.istioRetry(&t)
	case c.annotated(&t):
		c.linkerdRetry(&t)
	default:
		c.gatewayRetry(&t)
	}
	if len(t.On.Value)+len(t.Statuses.Value) == 0 {
		c.lose(t.Origin, "retry", fmt.Sprint(t.Attempts.Value), "none of its conditions can be said there, so there are no retries")
		r.Retry = nil
		c.backendTimeout(r, perTry)
		return
	}
	r.Retry = &t
	if c.to == Istio || c.annotated(&t) {
		t.PerTry, r.Timeouts.Backend = perTry, origin.Value[time.Duration]{}
		return
	}
	c.backendTimeout(r, perTry)
}

// annotated says whether retries are written as Linkerd's annotations.
func (c *converter) annotated(t *routing.Retry) bool {
	if c.to == Linkerd {
		return true
	}
	return c.to == Recloser && !slices.ContainsFunc(t.On.Value, func(on string) bool {
		return on != "5xx" && on != "gateway-error" && !slices.Contains(grpcConditions(), on)
	}) && !isWritten(t.BackoffBase) && !isWritten(t.BackoffMin)
}

// backendTimeout bounds a try where there are no retries, or beside them.
func (c *converter) backendTimeout(r *routing.Rule, d origin.Value[time.Duration]) {
	r.Timeouts.Backend = d
	if d.Value <= 0 {
		r.Timeouts.Backend = origin.Value[time.Duration]{}
		return
	}
	switch {
	case c.to == Istio, c.to == Linkerd:
		c.lose(d.Origin, "timeout.backend", d.Value.String(), "a bound for each try belongs to retries there, and there are none")
		r.Timeouts.Backend = origin.Value[time.Duration]{}
	case r.Timeouts.Request.Value > 0 && d.Value > r.Timeouts.Request.Value:
		c.lose(d.Origin, "timeout.backend", d.Value.String(), "a try may not last longer than the request there; the request's bound ends it")
		r.Timeouts.Backend = origin.Value[time.Duration]{}
	}
}

func (c *converter) istioRetry(t *routing.Retry) {
	var out []routing.StatusRange
	for _, s := range t.Statuses.Value {
		unnamed := false
		for code := s.First; code <= s.Last; code++ {
			if http.StatusText(int(code)) == "" {
				unnamed = true
				continue
			}
			out = append(out, routing.StatusRange{First: code, Last: code})
		}
		if unnamed {
			c.lose(t.Statuses.Origin, "retry.statuses", fmt.Sprintf("%d-%d", s.First, s.Last), "statuses are named one by one there, and those of this range that have no name cannot be")
		}
	}
	t.Statuses.Value = out
	c.noPause(t)
	if t.OtherEndpoints.Origin == (origin.Origin{}) {
		t.OtherEndpoints.Value = true
	}
}

// linkerdRetry keeps statuses and conditions of gRPC.
func (c *converter) linkerdRetry(t *routing.Retry) {
	var on []string
	statuses := slices.Clone(t.Statuses.Value)
	for _, o := range t.On.Value {
		switch {
		case o == "5xx", o == "gateway-error", slices.Contains(grpcConditions(), o):
			on = append(on, o)
		case o == "retriable-4xx":
			statuses = append(statuses, routing.StatusRange{First: 409, Last: 409})
		case o == "retriable-status-codes":
		default:
			c.lose(t.On.Origin, "retry.on", o, "Linkerd tries again for statuses only")
		}
	}
	t.On.Value, t.Statuses.Value = on, statuses
	if isWritten(t.BackoffBase) {
		c.lose(t.BackoffBase.Origin, "retry.backoff", t.BackoffBase.Value.String(), "the back-off cannot be said there; it is 25ms to 250ms")
	}
	t.BackoffBase = origin.Value[time.Duration]{}
	c.noPause(t)
}

// noPause leaves out the pause before each further try.
func (c *converter) noPause(t *routing.Retry) {
	if isWritten(t.BackoffMin) {
		c.lose(t.BackoffMin.Origin, "retry.backoffMin", t.BackoffMin.Value.String(), "a least pause cannot be said there, only how a pause grows")
	}
	t.BackoffMin = origin.Value[time.Duration]{}
}

// gatewayRetry keeps statuses; failures of connections belong to it.
func (c *converter) gatewayRetry(t *routing.Retry) {
	codes := map[uint32]bool{}
	add := func(from origin.Origin, first, last uint32) {
		unnamed := first < 400 || last > 599
		for code := max(first, 400); code <= min(last, 599); code++ {
			if first == last || http.StatusText(int(code)) != "" {
				codes[code] = true
			} else {
				unnamed = true
			}
		}
		if unnamed {
			c.lose(from, "retry.statuses", fmt.Sprintf("%d-%d", first, last), "statuses are named one by one there; those of this range that have no name are left out")
		}
	}
	for _, s := range t.Statuses.Value {
		add(t.Statuses.Origin, s.First, s.Last)
	}
	if !t.On.IsSet() {
		t.On.Origin = t.Origin
	}
	said := map[string]bool{}
	for _, o := range t.On.Value {
		said[o] = true
		switch {
		case o == "gateway-error":
			codes[502], codes[503], codes[504] = true, true, true
			unanswered(said)
		case o == "retriable-4xx":
			codes[409] = true
		case o == "5xx":
			add(t.On.Origin, 500, 599)
			unanswered(said)
		case slices.Contains(connectionFailures(), o), o == "retriable-status-codes":
		default:
			c.lose(t.On.Origin, "retry.on", o, "a retry is for statuses of HTTP and failures of connections there")
		}
	}
	for _, f := range connectionFailures() {
		if !said[f] {
			c.lose(t.On.Origin, "retry.on", f, "a retry is for all failures of connections there; this one was none for which to try again")
		}
	}
	t.On.Value, t.Statuses.Value = connectionFailures(), nil
	for _, code := range sortedCodes(codes) {
		t.Statuses.Value = append(t.Statuses.Value, routing.StatusRange{First: code, Last: code})
	}
	c.gatewayBackoff(t)
}

// unanswered: Envoy takes no answer for one of its 5xx and gateway-error, too.
func unanswered(said map[string]bool) {
	for _, f := range connectionFailures() {
		said[f] = true
	}
}

// gatewayBackoff: the one field of Gateway API is both the least pause and how
// it grows.
func (c *converter) gatewayBackoff(t *routing.Retry) {
	if !isWritten(t.BackoffBase) {
		c.noPause(t)
		t.BackoffBase = origin.Value[time.Duration]{}
		return
	}
	c.durationOf(&t.BackoffBase, "retry.backoff")
	if t.BackoffMin.Value != t.BackoffBase.Value {
		c.lose(t.BackoffBase.Origin, "retry.backoffMin", t.BackoffMin.Value.String(), "a pause is never shorter than the back-off there")
	}
	t.BackoffMin = t.BackoffBase
}

func statusText(list []routing.StatusRange) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%d-%d", s.First, s.Last))
	}
	return strings.Join(out, ",")
}

func sortedCodes(m map[uint32]bool) []uint32 {
	var out []uint32
	for code := range m {
		out = append(out, code)
	}
	slices.Sort(out)
	return out
}
