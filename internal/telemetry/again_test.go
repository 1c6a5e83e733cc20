package telemetry

import (
	"strings"
	"testing"
)

func TestRetriesAndMirrors(t *testing.T) {
	p := NewProxy(Options{})
	c := p.Cluster(Outbound, "bb-cluster", ServiceRef{Namespace: "demo", Name: "bb", Port: "8080"})
	quiet := p.Cluster(Outbound, "quiet", ServiceRef{Name: "quiet"})
	quiet.Mirrored(MirrorTooLarge)
	for range 3 {
		c.Retried()
	}
	c.RetrySucceeded()
	c.RetriesSpent()
	c.RetryOverflow()
	c.Mirrored(Mirrored)
	c.Mirrored(MirrorResult(200))
	in := p.Cluster(Inbound, "in", ServiceRef{Port: "80"})
	in.Retried() // has no place in metrics of outbound traffic
	in.Mirrored(MirrorFailed)
	p.Downstream(Outbound, "").Mirrored(MirrorNoCluster)
	text := scrape(t, p)
	const labels = `{cluster="bb-cluster",dst_namespace="demo",dst_port="8080",dst_service="bb"}`
	for _, want := range []string{
		"outbound_http_route_retry_requests_total" + labels + " 3\n",
		"outbound_http_route_retry_successes_total" + labels + " 1\n",
		"outbound_http_route_retry_limit_exceeded_total" + labels + " 1\n",
		"outbound_http_route_retry_overflow_total" + labels + " 1\n",
		`recloser_mirrored_total{cluster="bb-cluster",direction="outbound",dst_namespace="demo",dst_port="8080",dst_service="bb",result="answered"} 1` + "\n",
		`recloser_mirrored_total{cluster="bb-cluster",direction="outbound",dst_namespace="demo",dst_port="8080",dst_service="bb",result="no_cluster"} 1` + "\n",
		`recloser_mirrored_total{cluster="quiet",direction="outbound",dst_service="quiet",result="too_large"} 1` + "\n",
		`recloser_mirrored_total{cluster="in",direction="inbound",port="80",result="failed"} 1` + "\n",
		`recloser_mirrored_total{direction="outbound",result="no_cluster"} 1` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not exposed: %s", want)
		}
	}
	if strings.Count(text, "\noutbound_http_route_retry_requests_total{") != 1 {
		t.Error("retries of a cluster that never saw one, or of inbound traffic, are exposed")
	}
}
