package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

// exposition is what a proxy that calls a number of endpoints has: for each, a
// few counters and a latency histogram.
func exposition(endpoints, requests int) string {
	var b strings.Builder
	b.WriteString("# TYPE response_total counter\n")
	for i := range endpoints {
		for _, class := range []string{"success", "failure"} {
			fmt.Fprintf(&b, "response_total{direction=\"outbound\",dst_service=\"bb\",dst_namespace=\"demo\",dst_pod=\"pod-%d\",addr=\"10.0.0.%d:8080\",classification=%q,status_code=\"200\"} %d\n", i, i, class, requests)
		}
	}
	b.WriteString("# TYPE response_latency_ms histogram\n")
	for i := range endpoints {
		for le := 1; le < 30; le++ {
			fmt.Fprintf(&b, "response_latency_ms_bucket{direction=\"outbound\",dst_service=\"bb\",dst_namespace=\"demo\",dst_pod=\"pod-%d\",addr=\"10.0.0.%d:8080\",le=\"%d\"} %d\n", i, i, le, requests)
		}
	}
	return b.String()
}

// BenchmarkParse and BenchmarkAppend are the two halves of a scrape without the
// network, of series that are known already.
func BenchmarkParse(b *testing.B) {
	body := []byte(exposition(20, 12345))
	t := newTarget(Target{ID: "a"})
	samples, err := t.parse(body, "text/plain", 50_000)
	if err != nil {
		b.Fatal(err)
	}
	for i := range samples {
		t.series[string(samples[i].key)] = &series{}
	}
	b.ReportAllocs()
	for b.Loop() {
		if samples, err = t.parse(body, "text/plain", 50_000); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(samples)), "ns/sample")
}

func BenchmarkAppend(b *testing.B) {
	st, err := store.Open(store.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	t := newTarget(Target{ID: "a", Labels: map[string]string{"namespace": "demo", "pod": "a"}})
	samples, err := t.parse([]byte(exposition(20, 12345)), "text/plain", 50_000)
	if err != nil {
		b.Fatal(err)
	}
	at := start.UnixMilli()
	b.ReportAllocs()
	for b.Loop() {
		at += time.Second.Milliseconds()
		if err := t.append(b.Context(), st, samples, at, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(samples)), "ns/sample")
}
