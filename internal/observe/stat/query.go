package stat

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// key is what a row is found by. A namespace's own row has only a name.
type key struct{ namespace, name string }

// traffic is what the metrics say of one row.
type traffic struct {
	success, failure float64 // responses within the window
	quantiles        [3]float64
	conns            float64
	hasConns         bool
	read, written    float64 // bytes within the window
}

// quantiles are those of the table, in its order.
var quantiles = [3]float64{0.5, 0.95, 0.99}

// side is how a request maps to labels: which series, and which of their labels
// name the row.
type side struct {
	matchers []string
	peer     string // of tcp_* metrics
	by       []string
}

func (s *side) match(label, value string) {
	s.matchers = append(s.matchers, fmt.Sprintf("%s=%q", label, value))
}

// ownLabel is the label that the scraper gives to the series of a proxy, and
// dstLabel the one that a client's proxy gives to those of an endpoint.
func ownLabel(k Kind) string { return string(k) }

func dstLabel(k Kind) string {
	switch k {
	case Deployment, Workload:
		return "dst_workload"
	case Pod:
		return "dst_pod"
	case Service:
		return "dst_service"
	case Namespace:
	}
	return "dst_namespace"
}

// matchOwn narrows to the proxies of a resource.
func (s *side) matchOwn(ref Ref, namespace string) {
	if namespace != "" && ref.Kind != Namespace {
		s.match("namespace", namespace)
	}
	switch {
	case ref.Name != "":
		s.match(ownLabel(ref.Kind), ref.Name)
	case ref.Kind != "":
		s.matchers = append(s.matchers, ownLabel(ref.Kind)+`!=""`)
	}
}

// matchDst narrows to calls to a resource.
func (s *side) matchDst(ref Ref, namespace string) {
	if namespace != "" && ref.Kind != Namespace {
		s.match("dst_namespace", namespace)
	}
	switch ref.Kind {
	case Deployment:
		s.match("dst_workload_kind", "Deployment")
	case Workload:
		s.match("dst_workload_kind", "Workload")
	case Pod, Service, Namespace:
	}
	switch {
	case ref.Name != "":
		s.match(dstLabel(ref.Kind), ref.Name)
	case ref.Kind != "":
		s.matchers = append(s.matchers, dstLabel(ref.Kind)+`!=""`)
	}
}

func sideOf(r Request) side {
	namespace := r.Namespace
	if r.AllNamespaces {
		namespace = ""
	}
	or := func(given string) string {
		if given != "" {
			return given
		}
		return namespace
	}
	var s side
	kind := r.Resource.Kind
	switch {
	case r.From != Ref{} || r.FromNamespace != "" || kind == Service:
		s.match("direction", "outbound")
		s.peer = "dst"
		if r.From != (Ref{}) || r.FromNamespace != "" {
			s.matchOwn(r.From, or(r.FromNamespace))
		}
		s.matchDst(r.Resource, namespace)
		s.by = []string{"dst_namespace", dstLabel(kind)}
	case r.To != Ref{} || r.ToNamespace != "":
		s.match("direction", "outbound")
		s.peer = "dst"
		s.matchOwn(r.Resource, namespace)
		s.matchDst(r.To, or(r.ToNamespace))
		s.by = []string{"namespace", ownLabel(kind)}
	default:
		s.match("direction", "inbound")
		s.peer = "src"
		s.matchOwn(r.Resource, namespace)
		s.by = []string{"namespace", ownLabel(kind)}
	}
	if kind == Namespace {
		s.by = s.by[:1]
	}
	return s
}

// increase writes the growth of a counter over the window.
//
// PromQL's increase() extrapolates to the edges of the window and takes the
// first sample of a series as its beginning. Over ten samples that is off by a
// tenth, and a pair of client and endpoint that is new shows nothing for its
// first requests. With a store whose counters begin at zero, `anchored` takes
// the difference of the values at the two edges: what was counted, exactly. The
// rate is that divided by the whole window, also while less than a window has
// passed: 30 requests in the last 10s are 3.0rps, whenever the first one came.
//
// A Prometheus elsewhere gets plain increase(); windows of at least four of its
// scrape intervals make sense there.
func increase(q Querier, metric string, matchers []string, window time.Duration) string {
	anchored := ""
	if q.Exact() {
		anchored = " anchored"
	}
	return fmt.Sprintf("increase(%s{%s}[%s]%s)", metric, strings.Join(matchers, ","), duration(window), anchored)
}

// ask gets the traffic of all rows of r.
func ask(ctx context.Context, q Querier, r Request, at time.Time) (map[key]*traffic, error) {
	s := sideOf(r)
	by := strings.Join(s.by, ", ")
	withPeer := append([]string{fmt.Sprintf("peer=%q", s.peer)}, s.matchers...)
	out := make(map[key]*traffic)
	run := func(expr string, put func(*traffic, promql.Sample)) error {
		v, err := q.Query(ctx, expr, at)
		if err != nil {
			return err
		}
		vec, ok := v.(promql.Vector)
		if !ok {
			return fmt.Errorf("query %q gave a %s, not a vector", expr, parser.DocumentedType(v.Type()))
		}
		for _, sample := range vec {
			k := s.key(sample)
			if out[k] == nil {
				out[k] = &traffic{quantiles: [3]float64{math.NaN(), math.NaN(), math.NaN()}}
			}
			put(out[k], sample)
		}
		return nil
	}
	err := run(fmt.Sprintf("sum by (%s, classification) (%s)", by, increase(q, "response_total", s.matchers, r.Window)),
		func(t *traffic, sample promql.Sample) {
			if sample.Metric.Get("classification") == "success" {
				t.success += sample.F
			} else {
				t.failure += sample.F
			}
		})
	for i, quantile := range quantiles {
		if err != nil {
			return nil, err
		}
		err = run(fmt.Sprintf("histogram_quantile(%g, sum by (%s, le) (%s))", quantile, by, increase(q, "response_latency_ms_bucket", s.matchers, r.Window)),
			func(t *traffic, sample promql.Sample) { t.quantiles[i] = sample.F })
	}
	if err != nil {
		return nil, err
	}
	err = run(fmt.Sprintf("sum by (%s) (tcp_open_connections{%s})", by, strings.Join(withPeer, ",")),
		func(t *traffic, sample promql.Sample) { t.conns, t.hasConns = sample.F, true })
	if err != nil {
		return nil, err
	}
	err = run(fmt.Sprintf("sum by (%s) (%s)", by, increase(q, "tcp_read_bytes_total", withPeer, r.Window)),
		func(t *traffic, sample promql.Sample) { t.read = sample.F })
	if err != nil {
		return nil, err
	}
	err = run(fmt.Sprintf("sum by (%s) (%s)", by, increase(q, "tcp_write_bytes_total", withPeer, r.Window)),
		func(t *traffic, sample promql.Sample) { t.written = sample.F })
	return out, err
}

// key finds the row of a sample.
func (s *side) key(sample promql.Sample) key {
	if len(s.by) == 1 {
		return key{name: sample.Metric.Get(s.by[0])}
	}
	return key{sample.Metric.Get(s.by[0]), sample.Metric.Get(s.by[1])}
}

// fill writes what there is into a row.
func (t *traffic) fill(row *Row, window time.Duration) {
	if t.hasConns {
		row.TCPConns = new(uint64(max(t.conns, 0)))
		row.ReadRate = new(t.read / window.Seconds())
		row.WriteRate = new(t.written / window.Seconds())
	}
	total := t.success + t.failure
	if total <= 0 {
		return
	}
	row.Success = new(t.success / total)
	row.RPS = new(total / window.Seconds())
	row.P50, row.P95, row.P99 = millis(t.quantiles[0]), millis(t.quantiles[1]), millis(t.quantiles[2])
}

// millis rounds to whole milliseconds, at least 1: the finest bucket ends there,
// and what lies within it is not known.
func millis(v float64) *uint64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return new(uint64(max(1, math.Round(v))))
}
