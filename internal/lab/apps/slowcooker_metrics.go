package apps

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// cookMetrics are the metrics of slow_cooker's -metric-addr, with the names of
// the original.
type cookMetrics struct {
	registry  *prometheus.Registry
	requests  prometheus.Counter
	successes prometheus.Counter
	latencyMS prometheus.Histogram
}

func newCookMetrics() *cookMetrics {
	m := &cookMetrics{
		registry:  prometheus.NewRegistry(),
		requests:  prometheus.NewCounter(prometheus.CounterOpts{Name: "requests", Help: "Requests that ended, in whichever way."}),
		successes: prometheus.NewCounter(prometheus.CounterOpts{Name: "successes", Help: "Answers with a status of 200 to 499."}),
		latencyMS: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "latency_ms", Help: "Time from when a request was due to the first byte of a successful answer, in milliseconds.",
			Buckets: prometheus.ExponentialBuckets(0.5, 1.3, 50), // 0.5 ms to about 3 minutes
		}),
	}
	m.registry.MustRegister(m.requests, m.successes, m.latencyMS)
	return m
}

func (m *cookMetrics) add(r cookResult) {
	m.requests.Inc()
	if r.err == nil && r.status >= 200 && r.status < 500 {
		m.successes.Inc()
		m.latencyMS.Observe(float64(r.latency) / float64(time.Millisecond))
	}
}

// serve serves /metrics on address until the returned function is called; an
// empty address serves nothing.
func (m *cookMetrics) serve(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-metric-addr: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // ends with what Close makes of it
	}()
	return func() {
		// A metrics page that is cut off at the end harms nobody.
		_ = srv.Close()
		<-served
	}, nil
}
