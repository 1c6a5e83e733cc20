package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Descriptor declares one metric: what docs/metrics.md says of it and what
// Prometheus is told.
type Descriptor struct {
	Name string
	// Type is "counter", "gauge" or "histogram".
	Type string
	Unit string
	// Outbound and Inbound are the labels in each direction; a metric that has
	// no direction has only Outbound set.
	Outbound []string
	Inbound  []string
	// Why says what question it answers.
	Why string
}

var (
	serviceLabels  = []string{"dst_service", "dst_namespace", "dst_port"}
	endpointLabels = append(clone(serviceLabels), "dst_workload", "dst_workload_kind", "dst_pod", "addr")
	breakerLabels  = append([]string{"cluster", "endpoint"}, append(clone(serviceLabels), "dst_workload", "dst_pod")...)
)

func clone(s []string) []string { return append([]string(nil), s...) }

func with(first []string, more ...string) []string { return append(clone(first), more...) }

// The declarations, in the order in which they are documented and collected.
var (
	requestTotal = Descriptor{
		Name: "request_total", Type: "counter", Unit: "requests",
		Outbound: with([]string{"direction"}, endpointLabels...), Inbound: []string{"direction", "port"},
		Why: "How much is asked. Counted when the request's head is sent to the endpoint, once for each try; a request that no endpoint was asked is counted without the endpoint's labels.",
	}
	responseTotal = Descriptor{
		Name: "response_total", Type: "counter", Unit: "responses",
		Outbound: with(requestTotal.Outbound, "classification", "status_code", "grpc_status_code"),
		Inbound:  []string{"direction", "port", "classification", "status_code", "grpc_status_code"},
		Why:      "The success rate: classification is success or failure by the breaker's own classification, so that the rate and the breaker agree.",
	}
	responseLatency = Descriptor{
		Name: "response_latency_ms", Type: "histogram", Unit: "milliseconds",
		Outbound: requestTotal.Outbound, Inbound: requestTotal.Inbound,
		Why: "How long answers take, from the request's head to the end of the answer, in Linkerd's buckets (1 to 5 times 1, 10, 100, 1000, 10000).",
	}
	tcpOpenConnections = Descriptor{
		Name: "tcp_open_connections", Type: "gauge", Unit: "connections",
		Outbound: with([]string{"direction", "peer"}, endpointLabels...), Inbound: []string{"direction", "peer", "port"},
		Why: "How many connections are open, with callers (peer src) and with endpoints (peer dst). Callers' connections have no endpoint labels.",
	}
	tcpOpenTotal = Descriptor{
		Name: "tcp_open_total", Type: "counter", Unit: "connections",
		Outbound: tcpOpenConnections.Outbound, Inbound: tcpOpenConnections.Inbound,
		Why: "How often connections are made: against request_total it shows how well they are reused.",
	}
	tcpCloseTotal = Descriptor{
		Name: "tcp_close_total", Type: "counter", Unit: "connections",
		Outbound: tcpOpenConnections.Outbound, Inbound: tcpOpenConnections.Inbound,
		Why: "How often connections end.",
	}
	tcpReadBytes = Descriptor{
		Name: "tcp_read_bytes_total", Type: "counter", Unit: "bytes",
		Outbound: tcpOpenConnections.Outbound, Inbound: tcpOpenConnections.Inbound,
		Why: "How much comes from the peer.",
	}
	tcpWriteBytes = Descriptor{
		Name: "tcp_write_bytes_total", Type: "counter", Unit: "bytes",
		Outbound: tcpOpenConnections.Outbound, Inbound: tcpOpenConnections.Inbound,
		Why: "How much goes to the peer.",
	}
	balancerEndpoints = Descriptor{
		Name: "outbound_http_balancer_endpoints", Type: "gauge", Unit: "endpoints",
		Outbound: with(serviceLabels, "cluster", "endpoint_state"),
		Why:      "How many endpoints take traffic (ready) and how many are kept out by their breaker (pending).",
	}
	breakerState = Descriptor{
		Name: "recloser_breaker_state", Type: "gauge", Unit: "0 closed, 1 half-open, 2 open",
		Outbound: breakerLabels,
		Why:      "Which endpoint is kept out now. An endpoint whose breaker never moved shows 0.",
	}
	breakerTransitions = Descriptor{
		Name: "recloser_breaker_transitions_total", Type: "counter", Unit: "transitions",
		Outbound: with(breakerLabels, "from", "to", "cause"),
		Why:      "How often breakers move and why; the causes are the short names that events have.",
	}
	breakerOpenSeconds = Descriptor{
		Name: "recloser_breaker_open_seconds_total", Type: "counter", Unit: "seconds",
		Outbound: breakerLabels,
		Why:      "How long an endpoint was not closed in all, the time that runs now included.",
	}
	refusedTotal = Descriptor{
		Name: "recloser_refused_total", Type: "counter", Unit: "answers",
		Outbound: with([]string{"direction", "cluster"}, with(serviceLabels, "flag", "reason")...),
		Inbound:  []string{"direction", "cluster", "port", "flag", "reason"},
		Why:      "How often the proxy answered in place of an endpoint, by response flag and details. Without a cluster when none was known yet.",
	}
	waitingRequests = Descriptor{
		Name: "recloser_waiting_requests", Type: "gauge", Unit: "requests",
		Outbound: with([]string{"cluster"}, serviceLabels...),
		Why:      "How many requests wait for an endpoint because all are open, or for a connection.",
	}
	xdsConnected = Descriptor{
		Name: "recloser_xds_connected", Type: "gauge", Unit: "0 or 1",
		Why: "Whether the proxy hears its control plane. At 0 it goes on with the last good configuration.",
	}
	xdsConnects = Descriptor{
		Name: "recloser_xds_connects_total", Type: "counter", Unit: "connections",
		Why: "How often the stream to the control plane was made.",
	}
	xdsUpdates = Descriptor{
		Name: "recloser_xds_updates_total", Type: "counter", Unit: "answers",
		Outbound: []string{"result"},
		Why:      "Answers of the control plane that were accepted, and that were rejected because a resource in them was wrong.",
	}
	proxyInfo = Descriptor{
		Name: "recloser_proxy_info", Type: "gauge", Unit: "always 1",
		Outbound: []string{"version"},
		Why:      "Which version runs.",
	}
)

// Descriptors lists the metrics of a proxy in the order of the documents.
func Descriptors() []Descriptor {
	return []Descriptor{
		requestTotal, responseTotal, responseLatency,
		tcpOpenConnections, tcpOpenTotal, tcpCloseTotal, tcpReadBytes, tcpWriteBytes, tcpClosedTotal,
		balancerEndpoints, breakerState, breakerTransitions, breakerOpenSeconds,
		refusedTotal, waitingRequests,
		retryRequests, retrySuccesses, retrySpent, retryOverflow, mirroredTotal,
		xdsConnected, xdsConnects, xdsUpdates, proxyInfo,
	}
}

func (d *Descriptor) desc(labels []string) *prometheus.Desc {
	return prometheus.NewDesc(d.Name, d.Why, labels, nil)
}

func (d *Descriptor) valueType() prometheus.ValueType {
	if d.Type == "gauge" {
		return prometheus.GaugeValue
	}
	return prometheus.CounterValue
}
