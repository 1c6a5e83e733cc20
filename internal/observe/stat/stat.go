// Package stat computes the table of `recloser stat`: success rate, request
// rate, latencies and connections of deployments, pods, services, workloads and
// namespaces, from the metrics of their proxies.
//
// PromQL is the only way by which it learns of traffic, so that it works with
// the mesh's own metrics and with any Prometheus that scrapes the proxies. What
// exists, and how much of it has a proxy, it asks of a Mesh.
//
// Which side speaks: `stat deploy` shows what a deployment's own proxies
// received (inbound). With --to it shows what they sent to that place, and with
// --from, and for services, what the callers' proxies sent to the resource
// (outbound): only they know what a caller got, refusals by a breaker included.
//
// Functions here hold no state and are safe for concurrent use.
package stat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/labels"
)

// Querier answers PromQL.
type Querier interface {
	// Query evaluates expr at one instant.
	Query(ctx context.Context, expr string, at time.Time) (parser.Value, error)
	// Latest is the last instant whose samples are all in.
	Latest() time.Time
	// Exact reports that counters have a sample at the value zero before their
	// first count, and that the modifier `anchored` is understood.
	Exact() bool
}

// Mesh lists what exists.
type Mesh interface {
	Resources() []Resource
}

// Resource is one object that a row can be about.
type Resource struct {
	Kind      Kind
	Namespace string // empty for a namespace itself
	Name      string
	Labels    map[string]string
	// Instances is the number of its instances, and Meshed the number of those
	// that are ready and whose proxy is connected to the control plane.
	Instances int
	Meshed    int
}

// DefaultWindow is the span over which rates and latencies are taken. Ten
// seconds react within ten seconds; Linkerd's minute is for scrapes every ten.
const DefaultWindow = 10 * time.Second

// The bounds of a window.
const (
	MinWindow = time.Second
	MaxWindow = 30 * 24 * time.Hour
)

// Request is one question.
type Request struct {
	// Resource is what the rows are about; without a name, all of the kind.
	Resource Ref
	// Namespace is where the resources are. Ignored with AllNamespaces, and for
	// namespaces themselves.
	Namespace     string
	AllNamespaces bool
	// To and From narrow to calls to, or from, a place. At most one of them.
	To, From Ref
	// ToNamespace and FromNamespace are where To and From are. Default:
	// Namespace; any with AllNamespaces.
	ToNamespace, FromNamespace string
	// Window is the span of rates and latencies: 1s to 720h. Default 10s.
	Window time.Duration
	// Selector picks resources by their own labels. Empty: all.
	Selector string
}

// Row is a line of the table, and an element of its JSON form, whose keys are
// Linkerd's. A nil value is one that does not exist: without traffic there is
// no success rate.
type Row struct {
	Namespace string   `json:"namespace"`
	Kind      Kind     `json:"kind"`
	Name      string   `json:"name"`
	Meshed    string   `json:"meshed"`         // "1/2"
	Success   *float64 `json:"success"`        // 0 to 1
	RPS       *float64 `json:"rps"`            // responses per second
	P50       *uint64  `json:"latency_ms_p50"` // whole milliseconds, at least 1
	P95       *uint64  `json:"latency_ms_p95"` // whole milliseconds, at least 1
	P99       *uint64  `json:"latency_ms_p99"` // whole milliseconds, at least 1
	TCPConns  *uint64  `json:"tcp_open_connections"`
	ReadRate  *float64 `json:"read_bytes_per_second,omitempty"`  // from the peer
	WriteRate *float64 `json:"write_bytes_per_second,omitempty"` // to the peer
}

// Table is an answer.
type Table struct {
	At     time.Time     `json:"at"`     // the instant at which the window ends
	Window time.Duration `json:"window"` // nanoseconds
	Rows   []Row         `json:"rows"`   // by namespace and name
}

// RequestError is a question that cannot be asked.
type RequestError struct{ err error }

func (e *RequestError) Error() string { return e.err.Error() }

// NotFoundError says that a resource that was named does not exist.
type NotFoundError struct {
	Kind            Kind
	Namespace, Name string
}

func (e *NotFoundError) Error() string {
	if e.Kind == Namespace {
		return fmt.Sprintf("namespace %q not found", e.Name)
	}
	if e.Namespace == "" {
		return fmt.Sprintf("%s %q not found", e.Kind, e.Name)
	}
	return fmt.Sprintf("%s %q not found in namespace %q", e.Kind, e.Name, e.Namespace)
}

func (r Request) validate() error {
	var errs []error
	if !r.Resource.Kind.known() {
		errs = append(errs, fmt.Errorf("resource kind %q is not known: allowed are %s", r.Resource.Kind, kindNames()))
	}
	if r.Window < MinWindow || r.Window > MaxWindow {
		errs = append(errs, fmt.Errorf("window %s is not allowed: give 1s to 720h", r.Window))
	}
	to, from := r.To != Ref{} || r.ToNamespace != "", r.From != Ref{} || r.FromNamespace != ""
	if to && from {
		errs = append(errs, errors.New("--to and --from cannot be used together"))
	}
	if to && r.Resource.Kind == Service {
		errs = append(errs, errors.New("a service makes no calls: with --to give the deployment, pod or workload that calls"))
	}
	if r.From.Kind == Service {
		errs = append(errs, errors.New("a service makes no calls: with --from give the deployment, pod or workload that calls"))
	}
	if _, err := labels.Parse(r.Selector); err != nil {
		errs = append(errs, fmt.Errorf("selector %q: %w", r.Selector, err))
	}
	if err := errors.Join(errs...); err != nil {
		return &RequestError{err}
	}
	return nil
}

// Compute answers a question.
func Compute(ctx context.Context, q Querier, mesh Mesh, r Request) (*Table, error) {
	if r.Window == 0 {
		r.Window = DefaultWindow
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	resources, err := selectResources(mesh.Resources(), r)
	if err != nil {
		return nil, err
	}
	if err := r.checkOthers(mesh.Resources()); err != nil {
		return nil, err
	}
	t := &Table{At: q.Latest(), Window: r.Window, Rows: make([]Row, 0, len(resources))}
	var traffic map[key]*traffic
	if !t.At.IsZero() { // zero: nothing was ever scraped
		if traffic, err = ask(ctx, q, r, t.At); err != nil {
			return nil, err
		}
	}
	for _, res := range resources {
		row := Row{Namespace: res.Namespace, Kind: res.Kind, Name: res.Name, Meshed: fmt.Sprintf("%d/%d", res.Meshed, res.Instances)}
		if tr := traffic[key{res.Namespace, res.Name}]; tr != nil {
			tr.fill(&row, r.Window)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// selectResources picks those that r is about, in the order of the table.
func selectResources(all []Resource, r Request) ([]Resource, error) {
	selector, err := labels.Parse(r.Selector)
	if err != nil {
		return nil, err
	}
	var out []Resource
	for _, res := range all {
		switch {
		case res.Kind != r.Resource.Kind,
			r.Resource.Name != "" && res.Name != r.Resource.Name,
			!r.AllNamespaces && res.Kind != Namespace && res.Namespace != r.Namespace,
			!selector.Matches(labels.Set(res.Labels)):
			continue
		}
		out = append(out, res)
	}
	if len(out) == 0 && r.Resource.Name != "" && r.Selector == "" {
		return nil, &NotFoundError{Kind: r.Resource.Kind, Namespace: r.Namespace, Name: r.Resource.Name}
	}
	slices.SortFunc(out, func(a, b Resource) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

// checkOthers says whether what To and From name exists. Pods come and go, and
// what they called while they were there is still to be seen.
func (r Request) checkOthers(all []Resource) error {
	for _, other := range []struct {
		ref       Ref
		namespace string
	}{{r.To, r.ToNamespace}, {r.From, r.FromNamespace}} {
		if other.ref.Name == "" || other.ref.Kind == Pod {
			continue
		}
		if other.namespace == "" && !r.AllNamespaces && other.ref.Kind != Namespace && r.Resource.Kind != Namespace {
			other.namespace = r.Namespace
		}
		if !slices.ContainsFunc(all, func(res Resource) bool {
			return res.Kind == other.ref.Kind && res.Name == other.ref.Name &&
				(other.namespace == "" || other.ref.Kind == Namespace || res.Namespace == other.namespace)
		}) {
			return &NotFoundError{Kind: other.ref.Kind, Namespace: other.namespace, Name: other.ref.Name}
		}
	}
	return nil
}

// duration writes d as PromQL does.
func duration(d time.Duration) string { return model.Duration(d).String() }
