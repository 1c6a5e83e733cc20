// Package policy computes what should happen to requests: for each client
// namespace, service and port the balancer, the breaker, waiting and limits,
// and for every single value where it comes from.
//
// It is a pure function of the World, with one memory: where an object says
// something that cannot be, the last good policy of that service stays, and a
// Finding tells both. What people are shown (`recloser policy`, the dashboard)
// and what proxies are sent (translate) is the same value.
package policy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Value is a setting with where it comes from.
type Value[T any] = origin.Value[T]

// Origin is where a value comes from.
type Origin = origin.Origin

// Balancer picks the endpoint of a request.
type Balancer string

// Balancers. PeakEWMA is the default, as in Linkerd.
const (
	PeakEWMA     Balancer = "peak-ewma"
	RoundRobin   Balancer = "round-robin"
	LeastRequest Balancer = "least-request"
	Random       Balancer = "random"
	// RingHash and Maglev send what hashes alike to one endpoint. Only a
	// DestinationRule asks for them, since they need to be told what to hash.
	RingHash Balancer = "ring-hash"
	Maglev   Balancer = "maglev"
)

// Balancers are those that a Service can ask for by its annotation.
func Balancers() []Balancer { return []Balancer{PeakEWMA, RoundRobin, LeastRequest, Random} }

// Unlimited is the limit that never binds, as Envoy writes it.
const Unlimited uint32 = math.MaxUint32

// Effective is everything that holds for requests of a client to one port of a
// service, or to a subset of its endpoints. It is immutable.
type Effective struct {
	// Client is its namespace.
	Client    string `json:"client"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      uint16 `json:"port"`

	// Protocol is what callers speak to the port.
	Protocol       Value[model.Protocol] `json:"protocol"`
	Balancer       Value[Balancer]       `json:"balancer"`
	ConnectTimeout Value[time.Duration]  `json:"connectTimeout"`
	// FailFast is how long a request waits when every endpoint is open.
	FailFast Value[time.Duration] `json:"failFast"`
	// MaxWaiting is how many requests may wait at a time.
	MaxWaiting Value[uint32] `json:"maxWaiting"`
	Limits     Limits        `json:"limits"`
	// TLS is nil where nobody says anything of it: endpoints are spoken to in
	// plain.
	TLS *TLS `json:"tls,omitempty"`
	// Breaker is what a Service's annotations say; nil when they say nothing.
	Breaker *Breaker `json:"breaker,omitempty"`
	// BreakerOff says why there is neither a Breaker nor an Outlier.
	BreakerOff Origin `json:"breakerOff,omitzero"`
	Destination
	// Failover are the services whose endpoints stand in for this one's, in
	// their order, and Overflow the percentage by which they do.
	Failover []FailoverTarget `json:"failover,omitempty"`
	Overflow Value[uint32]    `json:"overflow,omitzero"`
	// Findings are what is wrong with what the service says.
	Findings []source.Problem `json:"findings,omitempty"`
}

// Limits are Envoy's circuit breakers.
type Limits struct {
	MaxConnections Value[uint32] `json:"maxConnections"`
	MaxPending     Value[uint32] `json:"maxPending"`
	MaxRequests    Value[uint32] `json:"maxRequests"`
	MaxRetries     Value[uint32] `json:"maxRetries"`
}

// Breaker is when endpoints are shut and how they come back.
type Breaker struct {
	// Mode is the dialect's own name: "consecutive" or "unified".
	Mode Value[string] `json:"mode"`
	// MaxFailures in a row that shut an endpoint; 0 never does.
	MaxFailures Value[uint32] `json:"maxFailures"`
	// SuccessRate is nil without such a detector.
	SuccessRate *SuccessRate `json:"successRate,omitempty"`
	// MinPenalty and MaxPenalty bound the exponential back-off.
	MinPenalty Value[time.Duration] `json:"minPenalty"`
	MaxPenalty Value[time.Duration] `json:"maxPenalty"`
	// Jitter is the share of a back-off that may be added at random, 0 to 100.
	Jitter Value[float64] `json:"jitter"`
	// ProbeTimeout is when a probe without an answer is given up, so that an
	// endpoint is not out for ever because of one hung request.
	ProbeTimeout Value[time.Duration] `json:"probeTimeout"`
	// RateOnly is set when 429 and RESOURCE_EXHAUSTED hurt the success rate
	// and fail a probe without being failures in a row.
	RateOnly bool `json:"rateOnly,omitempty"`
}

// SuccessRate shuts an endpoint by its success rate in a window.
type SuccessRate struct {
	// Threshold from 0 to 1; 0 disables.
	Threshold   Value[float64]       `json:"threshold"`
	Window      Value[time.Duration] `json:"window"`
	MinRequests Value[uint32]        `json:"minRequests"`
}

// servicePolicy is what a service's own object says, for all its ports. It is
// immutable.
type servicePolicy struct {
	object     source.Object
	balancer   Value[Balancer]
	failFast   Value[time.Duration]
	maxWaiting Value[uint32]
	stacks     Value[bool]
	routeTo    Value[target] // unset: requests stay
	failover   Value[[]target]
	overflow   Value[uint32]
	breaker    *Breaker
	off        Origin
	findings   []source.Problem
}

// Table is the policy of a whole World. It is immutable.
type Table struct {
	world    *model.World
	root     string
	services map[model.Name]*servicePolicy
}

// Build computes the policy of a World. prev, which may be nil, is the table
// of the World before: what did not change is taken over, and it is where the
// last good values come from.
func Build(prev *Table, w *model.World) *Table {
	if prev == nil {
		prev = New("")
	}
	t := &Table{world: w, root: prev.root, services: prev.services}
	changed := model.Diff(prev.world, w).Services
	if len(changed) == 0 && t.services != nil {
		return t
	}
	t.services = make(map[model.Name]*servicePolicy, len(prev.services)+len(changed))
	maps.Copy(t.services, prev.services)
	for _, name := range changed {
		old := prev.services[name]
		s := w.Service(name.Namespace, name.Name)
		switch {
		case s == nil:
			delete(t.services, name)
		case old != nil && old.object == s.Object && slices.Equal(prev.world.Rules(name), w.Rules(name)):
			// Its endpoints changed, not what it says or what is said of it.
		default:
			t.services[name] = parseService(s.Object, old)
		}
	}
	return t
}

// PortNeededError says that a port must be named.
type PortNeededError struct {
	Service model.Name
	Has     string // the ports that there are
}

func (e *PortNeededError) Error() string {
	return fmt.Sprintf("service %s in namespace %s has several ports; name one of %s", e.Service.Name, e.Service.Namespace, e.Has)
}

// portOf is the port of that number, or the only one where the number is 0.
func portOf(s *model.Service, number uint16) (*model.Port, error) {
	if p := s.Port(number); p != nil {
		return p, nil
	}
	switch {
	case number != 0:
		return nil, fmt.Errorf("service %s in namespace %s has no port %d; it has %s", s.Name.Name, s.Namespace, number, s.PortList())
	case len(s.Ports) == 0:
		return nil, fmt.Errorf("service %s in namespace %s has no ports", s.Name.Name, s.Namespace)
	case len(s.Ports) > 1:
		return nil, &PortNeededError{s.Name, s.PortList()}
	}
	return &s.Ports[0], nil
}

// Effective is the policy for requests of a client to a service's port, and to
// a subset of its endpoints where one is named. Port 0 is the service's only
// one; where it has several, the error is a PortNeededError.
func (t *Table) Effective(client model.Client, service model.Name, port uint16, subset string) (*Effective, error) {
	s := t.world.Service(service.Namespace, service.Name)
	p := t.services[service]
	if s == nil || p == nil {
		return nil, fmt.Errorf("there is no service %s in namespace %s", service.Name, service.Namespace)
	}
	sp, err := portOf(s, port)
	if err != nil {
		return nil, err
	}
	e := &Effective{
		Client: client.Namespace, Namespace: service.Namespace, Service: service.Name, Port: sp.Number,
		Protocol:       protocol(sp),
		Balancer:       p.balancer,
		ConnectTimeout: Value[time.Duration]{Value: time.Second, Origin: Origin{Default: "Linkerd"}},
		FailFast:       p.failFast,
		MaxWaiting:     p.maxWaiting,
		Limits:         noLimits(),
		Breaker:        p.breaker,
		BreakerOff:     p.off,
		Findings:       slices.Concat(p.findings, t.failoverFindings(service, p), t.routeToFindings(service, p)),
	}
	if e.Failover, e.Overflow = t.Failover(service, sp.Number); len(e.Failover) == 0 {
		e.Overflow = Value[uint32]{}
	}
	t.destination(e, p, client, s, sp, subset)
	return e, nil
}

// EffectiveVia is Effective for requests that come by way of a service that has
// the say over the breaker; a zero via has none.
func (t *Table) EffectiveVia(client model.Client, via, service model.Name, port uint16, subset string) (*Effective, error) {
	e, err := t.Effective(client, service, port, subset)
	if p := t.services[via]; err == nil && p != nil && p.breaker != nil {
		e.Breaker, e.BreakerOff = p.breaker, Origin{}
		e.FailFast, e.MaxWaiting = p.failFast, p.maxWaiting
		e.Outlier = nil
	}
	return e, err
}

func noLimits() Limits {
	unlimited := Value[uint32]{Value: Unlimited, Origin: Origin{Default: "Recloser: no limit"}}
	return Limits{unlimited, unlimited, unlimited, unlimited}
}

// New is the Table of an empty World, to be the first prev of Build: it has the
// namespace of the rules for the whole mesh, RootNamespace where none is given.
func New(rootNamespace string) *Table {
	return &Table{world: &model.World{}, root: cmp.Or(rootNamespace, RootNamespace)}
}

// RootNamespace is where the rules for the whole mesh are.
func (t *Table) RootNamespace() string { return t.root }

// Findings are what is wrong with what services say.
func (t *Table) Findings() []source.Problem {
	var out []source.Problem
	for name, p := range t.services {
		out = append(out, p.findings...)
		out = append(out, t.failoverFindings(name, p)...)
		out = append(out, t.routeToFindings(name, p)...)
	}
	return out
}

// Changed are those of the named services whose policy differs between two
// tables.
func Changed(old, new *Table, among []model.Name) []model.Name {
	var out []model.Name
	for _, n := range among {
		if old.services[n] != new.services[n] {
			out = append(out, n)
		}
	}
	return out
}
