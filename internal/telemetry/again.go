package telemetry

import "sync/atomic"

// This file is what is sent more often than it was asked for: retries and
// mirrored copies.

// MirrorResult is what became of a copy of a request.
type MirrorResult uint8

// The results. A copy that was not sent says why.
const (
	// Mirrored: the copy was answered, whatever the answer.
	Mirrored MirrorResult = iota
	// MirrorFailed: it was sent, or could not be, and was not answered.
	MirrorFailed
	// MirrorRefused: no endpoint took it, or a limit of the cluster was reached.
	MirrorRefused
	// MirrorOverflow: too many copies were under way.
	MirrorOverflow
	// MirrorTooLarge: the request's body is larger than what is kept of one.
	MirrorTooLarge
	// MirrorNoCluster: the route names a cluster that does not exist.
	MirrorNoCluster

	mirrorResults
)

// String gives the value of the label "result".
func (r MirrorResult) String() string {
	return [...]string{"answered", "failed", "refused", "overflow", "too_large", "no_cluster"}[min(r, MirrorNoCluster)]
}

// mirrored counts copies. The zero value is ready.
type mirrored [mirrorResults]atomic.Uint64

// Mirrored counts a copy of a request.
func (m *mirrored) Mirrored(r MirrorResult) { m[min(r, mirrorResults-1)].Add(1) }

// retries counts further tries. The zero value is ready.
type retries struct {
	requests, successes, spent, overflow atomic.Uint64
}

// Retried counts a further try of a request.
func (r *retries) Retried() { r.requests.Add(1) }

// RetrySucceeded counts a request of which a further try was a success.
func (r *retries) RetrySucceeded() { r.successes.Add(1) }

// RetriesSpent counts a request that would be tried again but for the number of
// tries that its route allows.
func (r *retries) RetriesSpent() { r.spent.Add(1) }

// RetryOverflow counts a request that would be tried again but for the limit or
// the budget of the cluster.
func (r *retries) RetryOverflow() { r.overflow.Add(1) }

var (
	retryRequests = Descriptor{
		Name: "outbound_http_route_retry_requests_total", Type: "counter", Unit: "requests",
		Outbound: with([]string{"cluster"}, serviceLabels...),
		Why:      "How often requests are tried again: against request_total it shows what retries add to the load.",
	}
	retrySuccesses = Descriptor{
		Name: "outbound_http_route_retry_successes_total", Type: "counter", Unit: "requests",
		Outbound: retryRequests.Outbound,
		Why:      "How often a further try succeeds: what retries are good for.",
	}
	retrySpent = Descriptor{
		Name: "outbound_http_route_retry_limit_exceeded_total", Type: "counter", Unit: "requests",
		Outbound: retryRequests.Outbound,
		Why:      "How many requests still failed after all the tries that their route allows (flag URX).",
	}
	retryOverflow = Descriptor{
		Name: "outbound_http_route_retry_overflow_total", Type: "counter", Unit: "requests",
		Outbound: retryRequests.Outbound,
		Why:      "How many failed and were not tried again because of the cluster's retry limit or budget (flag UO).",
	}
	mirroredTotal = Descriptor{
		Name: "recloser_mirrored_total", Type: "counter", Unit: "requests",
		Outbound: with([]string{"direction", "cluster"}, with(serviceLabels, "result")...),
		Inbound:  []string{"direction", "cluster", "port", "result"},
		Why:      "Copies of requests for the cluster that they were mirrored to, by what became of them. Copies that were answered are in request_total too; a copy for a cluster that does not exist has no cluster's labels.",
	}
)

// retried adds the samples of retries.
func (s *series) retried(r *retries, name string, svc []string) {
	if r.requests.Load()+r.spent.Load()+r.overflow.Load() == 0 {
		return // most clusters never see one
	}
	values := with([]string{name}, svc...)
	s.add(&retryRequests, retryRequests.Outbound, float64(r.requests.Load()), values...)
	s.add(&retrySuccesses, retrySuccesses.Outbound, float64(r.successes.Load()), values...)
	s.add(&retrySpent, retrySpent.Outbound, float64(r.spent.Load()), values...)
	s.add(&retryOverflow, retryOverflow.Outbound, float64(r.overflow.Load()), values...)
}

// mirrored adds the samples of copies; where is direction, cluster, and the
// service or port.
func (s *series) mirrored(dir Direction, m *mirrored, where []string) {
	for r := range mirrorResults {
		if n := m[r].Load(); n > 0 {
			s.add(&mirroredTotal, labelsFor(&mirroredTotal, dir), float64(n), with(where, r.String())...)
		}
	}
}
