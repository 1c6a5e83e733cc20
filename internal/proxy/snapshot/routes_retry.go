package snapshot

import (
	"fmt"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"

	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// retry reads a retry policy; nil for nil.
func (p *problems) retry(at string, m *routev3.RetryPolicy) *route.Retry {
	if m == nil {
		return nil
	}
	p.unsupported(at, m, "retry_priority", "retry_options_predicates", "per_try_idle_timeout", "rate_limited_retry_back_off")
	on, statuses, err := route.ParseRetryOn(m.GetRetryOn())
	if err != nil {
		p.add("%s%w", at, err)
	}
	out := &route.Retry{On: on, Attempts: 1, Statuses: statuses, PerTry: p.duration(at+"per_try_timeout", m.GetPerTryTimeout(), 0)}
	if n := m.GetNumRetries(); n != nil {
		out.Attempts = n.GetValue()
	}
	if on == 0 {
		out.Attempts = 0
	}
	out.Statuses = append(out.Statuses, statusRanges(m.GetRetriableStatusCodes())...)
	if b := m.GetRetryBackOff(); b != nil {
		out.BackoffBase = p.duration(at+"retry_back_off.base_interval", b.GetBaseInterval(), 0)
		out.BackoffMax = p.duration(at+"retry_back_off.max_interval", b.GetMaxInterval(), 0)
	}
	for i, h := range m.GetRetriableHeaders() {
		out.Headers = append(out.Headers, p.header(fmt.Sprintf("%sretriable_headers[%d].", at, i), h))
	}
	for i, h := range m.GetRetriableRequestHeaders() {
		out.RequestHeaders = append(out.RequestHeaders, p.header(fmt.Sprintf("%sretriable_request_headers[%d].", at, i), h))
	}
	for i, h := range m.GetRetryHostPredicate() { // a try always prefers an endpoint that has not failed
		if !h.GetTypedConfig().MessageIs((*previousv3.PreviousHostsPredicate)(nil)) {
			p.add("%sretry_host_predicate[%d] %q: only previous_hosts is supported", at, i, h.GetName())
		}
	}
	return out
}

// statusRanges puts statuses that follow each other together.
func statusRanges(codes []uint32) []route.StatusRange {
	var out []route.StatusRange
	for _, c := range slices.Sorted(slices.Values(codes)) {
		if n := len(out); n > 0 && c <= out[n-1].Last+1 {
			out[n-1].Last = c
			continue
		}
		out = append(out, route.StatusRange{First: c, Last: c})
	}
	return out
}
