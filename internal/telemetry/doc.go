// Package telemetry is what a proxy says about itself: counters and histograms
// that are written on the request path, the one table of reasons for which a
// proxy answers instead of an upstream, and the access log.
//
// It is a leaf that both wings share: it knows names, units and formats, and
// nothing of connections, routes or breakers.
//
// Concurrency: cells (EndpointMetrics, ClusterMetrics, DownstreamMetrics) may
// be written by any number of goroutines; writing takes no lock and allocates
// nothing in steady state. Proxy.Collect reads them while they change, so one
// scrape is not an atomic cut: a request may be counted and its response not yet.
//
// Identity: the proxy's own namespace, pod and workload are labels that the
// scraper adds from the xDS node; they are not repeated on each series here.
package telemetry
