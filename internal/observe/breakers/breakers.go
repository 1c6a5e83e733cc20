// Package breakers has the state and the events of breakers as people and
// programs see them: who calls what, which endpoint is kept out, why, and when
// it is tried next.
//
// It turns the reports of proxies (api/report/v1) into documents and documents
// into text. It is pure: no goroutines, no clock, no network.
package breakers

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

// State is a breaker's state, as its JSON has it.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half-open"
	Off      State = "off"     // the service has no breaker: nothing keeps it out
	Unknown  State = "unknown" // of a proxy that is newer than we are
)

// Client is the proxy whose breaker it is.
type Client struct {
	Node      string `json:"node"` // xDS node id
	Namespace string `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Kind      string `json:"kind,omitempty"` // of the workload: Deployment, Workload
	Pod       string `json:"pod,omitempty"`
}

// Service is what the client calls.
type Service struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Port      string `json:"port,omitempty"`
	// Subset is one of a DestinationRule's; empty for the whole service.
	Subset string `json:"subset,omitempty"`
	// Via is the service, NAME.NAMESPACE, by way of which requests come and whose
	// breaker it is; empty for its own.
	Via string `json:"via,omitempty"`
}

// Endpoint is the instance behind a breaker.
type Endpoint struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	Workload  string `json:"workload,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Priority is its level of failover; absent where there is one only.
	Priority string `json:"priority,omitempty"`
	// Locality is where it runs, REGION/ZONE/SUBZONE, if that is known.
	Locality string `json:"locality,omitempty"`
}

// Breaker is the state of one endpoint as one client sees it.
type Breaker struct {
	Client   Client   `json:"client"`
	Service  Service  `json:"service"`
	Cluster  string   `json:"cluster"` // xDS cluster name
	Endpoint Endpoint `json:"endpoint"`
	State    State    `json:"state"`
	// Cause of the last opening, in words. It stays after the breaker closed.
	Cause string `json:"cause,omitempty"`
	// Failures in a row.
	Failures uint32 `json:"consecutive_failures"`
	// Since is when the state was entered, Until when the next probe may go.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Ejections counts the openings.
	Ejections uint64 `json:"ejections"`
	// SuccessRate of the recent window, 0 to 1; absent without requests.
	SuccessRate *float64 `json:"success_rate,omitempty"`
	// EjectedPercent is the share of the service's endpoints that this client
	// keeps out, 0 to 100, and Waiting the requests that wait for one.
	EjectedPercent float64 `json:"ejected_percent"`
	Waiting        uint32  `json:"waiting_requests"`
}

// List is an answer: the breakers at one instant of the server's clock.
type List struct {
	At       time.Time `json:"at"`
	Breakers []Breaker `json:"breakers"`
}

// Report is what one proxy has told of its breakers.
type Report struct {
	Client   Client
	Clusters []*reportv1.ClusterState
	// Off has the clusters, by name, whose service has no breaker. Proxies
	// report their endpoints all the same, as closed.
	Off map[string]bool
}

// Filter picks breakers and events. Empty fields pick all.
type Filter struct {
	Namespace string // of the service
	Service   string // its name
}

func (f Filter) match(s Service) bool {
	return (f.Namespace == "" || f.Namespace == s.Namespace) && (f.Service == "" || f.Service == s.Name)
}

// ListOf makes the documents of reports, in a stable order: by service, client
// and endpoint.
func ListOf(at time.Time, reports []Report, f Filter) List {
	out := List{At: at, Breakers: []Breaker{}}
	for _, r := range reports {
		for _, c := range r.Clusters {
			service := ServiceOf(c.GetCluster())
			if !f.match(service) {
				continue
			}
			for _, e := range c.GetEndpoints() {
				b := breaker(r.Client, service, c, e)
				if b.State == Closed && r.Off[c.GetCluster()] {
					b.State = Off
				}
				out.Breakers = append(out.Breakers, b)
			}
		}
	}
	slices.SortFunc(out.Breakers, func(a, b Breaker) int {
		return cmp.Or(
			strings.Compare(a.Service.Namespace, b.Service.Namespace),
			strings.Compare(a.Service.Name, b.Service.Name),
			strings.Compare(a.Cluster, b.Cluster),
			strings.Compare(a.Client.Namespace, b.Client.Namespace),
			strings.Compare(a.Client.Workload, b.Client.Workload),
			strings.Compare(a.Client.Node, b.Client.Node),
			strings.Compare(a.Endpoint.Workload, b.Endpoint.Workload),
			strings.Compare(a.Endpoint.Pod, b.Endpoint.Pod),
			strings.Compare(a.Endpoint.Address, b.Endpoint.Address),
		)
	})
	return out
}

func breaker(client Client, service Service, c *reportv1.ClusterState, e *reportv1.EndpointState) Breaker {
	b := Breaker{
		Client: client, Service: service, Cluster: c.GetCluster(),
		Endpoint: endpointOf(e.GetAddress(), e.GetLabels()),
		State:    stateOf(e.GetState()),
		Cause:    e.GetCause(), Failures: e.GetConsecutiveFailures(),
		Since: instant(e.GetSince()), Until: instant(e.GetUntil()),
		Ejections:      e.GetEjections(),
		EjectedPercent: c.GetEjectedPercent(), Waiting: c.GetWaiting(),
	}
	if rate := e.GetSuccessRate(); rate >= 0 {
		b.SuccessRate = &rate
	}
	return b
}

func stateOf(s reportv1.State) State {
	switch s {
	case reportv1.State_CLOSED:
		return Closed
	case reportv1.State_OPEN:
		return Open
	case reportv1.State_HALF_OPEN:
		return HalfOpen
	case reportv1.State_STATE_UNSPECIFIED:
	}
	return Unknown
}

func endpointOf(address string, labels map[string]string) Endpoint {
	return Endpoint{
		Address: address, Namespace: labels["namespace"], Workload: labels["workload"], Pod: labels["pod"],
		Priority: labels["priority"], Locality: labels["locality"],
	}
}

func instant(t *timestamppb.Timestamp) *time.Time {
	if t == nil || !t.IsValid() {
		return nil
	}
	return new(t.AsTime())
}

// ServiceOf reads the service from a cluster's name,
// outbound|PORT|SUBSET|SERVICE.NAMESPACE.svc.cluster.local, which |via|SERVICE.NAMESPACE
// may follow. Of a name that is built otherwise it makes the whole name the
// service's.
func ServiceOf(cluster string) Service {
	own, via, _ := strings.Cut(cluster, "|via|")
	parts := strings.Split(own, "|")
	if len(parts) != 4 {
		return Service{Name: cluster}
	}
	name, rest, _ := strings.Cut(parts[3], ".")
	namespace, _, _ := strings.Cut(rest, ".")
	if name == "" {
		return Service{Name: cluster}
	}
	return Service{Namespace: namespace, Name: name, Port: parts[1], Subset: parts[2], Via: via}
}
