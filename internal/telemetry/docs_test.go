package telemetry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMetricsPage keeps docs/metrics.md in step with the declarations: write it
// again with go test ./internal/telemetry -update.
func TestMetricsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics of a proxy\n\n" +
		"Served on the admin port (4191) at `/metrics`. This page is made from the declarations in\n" +
		"`internal/telemetry`: `go test ./internal/telemetry -update` writes it again.\n\n" +
		"Empty labels are left out. The scraper of the control plane adds `namespace`, `pod` and the\n" +
		"workload (`deployment`, …) of the proxy itself. Beside these, the metrics of the process are\n" +
		"there with Prometheus' own names (`process_cpu_seconds_total` and so on).\n")
	for _, d := range Descriptors() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n- Type: %s, %s\n", d.Name, d.Why, d.Type, d.Unit)
		if len(d.Outbound) > 0 {
			fmt.Fprintf(&b, "- Labels%s: `%s`\n", map[bool]string{true: " (outbound)", false: ""}[len(d.Inbound) > 0], strings.Join(d.Outbound, "`, `"))
		}
		if len(d.Inbound) > 0 {
			fmt.Fprintf(&b, "- Labels (inbound): `%s`\n", strings.Join(d.Inbound, "`, `"))
		}
	}
	b.WriteString("\n# Answers of the proxy itself\n\n" +
		"Each has its details in the header `recloser-reason`, in `response_code_details` of the access log\n" +
		"and in the label `reason`; the flag is Envoy's.\n\n" +
		"| flag | details | status | grpc-status | text |\n|-|-|-|-|-|\n")
	for _, r := range Reasons() {
		a := r.Answer()
		status, grpc := "", ""
		if a.Status != 0 {
			status = fmt.Sprint(a.Status)
		}
		if a.GRPC >= 0 {
			grpc = fmt.Sprint(a.GRPC)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", a.Flag, a.Details, status, grpc, a.Text)
	}
	golden(t, "../../docs/metrics.md", b.String())
}

// TestEveryMetricIsDeclared compares a full exposition with the declarations.
func TestEveryMetricIsDeclared(t *testing.T) {
	p := NewProxy(Options{})
	c := p.Cluster(Outbound, "c", ServiceRef{"n", "s", "1"})
	m := c.Endpoint("a", Labels{"n", "p", "w", "k"})
	m.Request()
	m.Response(200, 0, true, 0)
	m.Transition(BreakerClosed, BreakerOpen, "x")
	c.Refuse(LimitOverflow, 503, -1, 0)
	c.TCPClosed(ViaUpstream)
	c.Retried()
	c.Mirrored(Mirrored)
	p.version = "v"
	declared := map[string][]string{}
	for _, d := range Descriptors() {
		declared[d.Name] = append(with(d.Outbound, d.Inbound...), "le")
	}
	seen := map[string]bool{}
	series := regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for _, line := range series.FindAllStringSubmatch(scrape(t, p), -1) {
		name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(line[1], "")
		labels, ok := declared[name]
		if !ok {
			t.Errorf("%s is not declared", name)
		}
		seen[name] = true
		for _, l := range label.FindAllStringSubmatch(line[2], -1) {
			if !slices.Contains(labels, l[1]) {
				t.Errorf("%s has the label %s, which is not declared", name, l[1])
			}
		}
	}
	for name := range declared {
		if !seen[name] {
			t.Errorf("%s is declared and never exposed", name)
		}
	}
}
