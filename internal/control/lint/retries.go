package lint

import (
	"fmt"
	"slices"

	"github.com/reclosermesh/recloser/internal/control/annotation"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// unsafe are the methods whose repetition may do something twice: those that
// are not idempotent (RFC 9110, section 9.2.2).
var unsafe = []string{"POST", "PATCH"}

// ofGRPC are the conditions of retries that only calls of gRPC have.
var ofGRPC = []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}

// retries looks at how a rule sends requests again.
func (e *effective) retries(s *model.Service, r *routing.Rule) {
	retry := r.Retry
	if retry == nil || retry.Attempts.Value == 0 {
		return
	}
	// Callers name the service, whatever backends it leads to.
	if n := retry.Attempts.Value; n > e.attempts[s.Name] {
		e.attempts[s.Name], e.retryOrigin[s.Name] = n, retry.Origin
	}
	e.unsafeRetries(r)
	e.triesInTime(r)
}

// unsafeRetries tells of requests that are sent again although what they do may
// be done twice then. Conditions of gRPC alone, where every call is a POST, are
// somebody's choice.
func (e *effective) unsafeRetries(r *routing.Rule) {
	retry := r.Retry
	grpcOnly := len(retry.Statuses.Value) == 0 && !slices.ContainsFunc(retry.On.Value, func(c string) bool { return !slices.Contains(ofGRPC, c) })
	if !retry.AnyMethod.Value || grpcOnly {
		return
	}
	for _, method := range unsafe {
		m := r.Match.And(routing.Match{Headers: []routing.HeaderMatch{{Name: ":method", Text: routing.Text{Kind: routing.Exact, Value: method}}}})
		if e.cmp.Empty(m) {
			continue
		}
		e.find(retry.Origin, Warning, "unsafe-retries", "", "", method+" is sent again too: what it does may be done twice",
			"have this for a route that matches safe methods only, or for endpoints where doing it twice does no harm")
		return
	}
}

// triesInTime tells of tries that a bound of the whole exchange cuts short.
func (e *effective) triesInTime(r *routing.Rule) {
	try, all := r.Retry.PerTry, r.Timeouts.Request
	if !try.IsSet() {
		try = r.Timeouts.Backend
	}
	if !try.IsSet() || !all.IsSet() || try.Value <= 0 || all.Value <= 0 {
		return
	}
	tries := int64(r.Retry.Attempts.Value) + 1
	limit := annotation.Text(all.Value)
	switch {
	case try.Value >= all.Value:
		e.find(try.Origin, Warning, "retry-over-timeout", annotation.Text(try.Value), "less than "+limit,
			fmt.Sprintf("one try may take as long as the whole exchange, which ends after %s (%s), so a slow one is never tried again", limit, all.Origin), "make it shorter, or the other longer")
	case int64(try.Value) > int64(all.Value)/tries:
		e.find(try.Origin, Info, "retries-cut-short", annotation.Text(try.Value), "",
			fmt.Sprintf("%d tries of this length do not fit into the whole exchange, which ends after %s (%s)", tries, limit, all.Origin), "")
	}
}

// timeouts tells of a bound that another one always comes before.
func (e *effective) timeouts(r *routing.Rule) {
	response, all := r.Timeouts.Response, r.Timeouts.Request
	if response.IsSet() && all.IsSet() && all.Value > 0 && response.Value >= all.Value {
		e.find(response.Origin, Warning, "timeout-order", annotation.Text(response.Value), "less than "+annotation.Text(all.Value),
			fmt.Sprintf("the whole exchange ends after %s (%s), so this bound is never reached", annotation.Text(all.Value), all.Origin), "")
	}
}
