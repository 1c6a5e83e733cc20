package explain

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// backends tells where the requests of a rule go.
func (e *explainer) backends(r *routing.Rule, action *route.Action) {
	a := e.answer
	compiled := e.cfg.Rules[a.Rule].Backends // as many, unless none has any weight
	var total uint64
	for i := range r.Backends {
		if r.Backends[i].Weight.Value > 0 && len(compiled) == len(r.Backends) {
			total += uint64(compiled[i].Weight)
		}
	}
	invalid, reason := 0.0, ""
	picked := 0 // of action.Backends, which has those with a weight
	for i := range r.Backends {
		b := e.backend(&r.Backends[i])
		if total > 0 {
			c := &compiled[i]
			b.Cluster, b.Share = c.Cluster, float64(c.Weight)/float64(total)
			if c.Weight > 0 {
				e.send(&b, action, &action.Backends[picked])
				picked++
			}
		}
		if b.Invalid != "" {
			invalid += b.Share
			reason = b.Invalid
		} else {
			e.endpoints(&b, &r.Backends[i])
		}
		a.Backends = append(a.Backends, b)
	}
	switch {
	case a.Outcome.Kind != Forwarded:
	case total == 0:
		a.Outcome = Outcome{Kind: Refused, Status: missing(action), Reason: "the rule has no backend with a weight above 0"}
	case invalid > 0.999999:
		a.Outcome = Outcome{Kind: Refused, Status: missing(action), Reason: reason}
	case invalid > 0:
		a.Outcome.Reason = fmt.Sprintf("%s of the requests are refused with %d: %s", percent(invalid*100), missing(action), reason)
	}
}

// missing is the status for backends that do not exist.
func missing(action *route.Action) int {
	if action.MissingStatus != 0 {
		return action.MissingStatus
	}
	return 500
}

func (e *explainer) backend(b *routing.Backend) Backend {
	out := Backend{
		Origin: b.Origin, Service: b.Service.Name, Namespace: b.Service.Namespace, Port: b.Port, Subset: b.Subset,
		Weight: b.Weight, Invalid: b.Invalid, Edits: ordered(b.RequestHeaders), Answers: ordered(b.ResponseHeaders),
		Cluster: translate.ClusterName(b.Service, b.Port, b.Subset),
	}
	if b.Via != (model.Name{}) {
		out.Via = b.Via.Name + "." + b.Via.Namespace
	}
	return out
}

// send is the request as the backend gets it: the steps of the request path.
func (e *explainer) send(b *Backend, action *route.Action, to *route.Backend) {
	v := e.vars(action.RouteName, to.Name)
	var arena []byte
	sent := &Sent{Authority: e.answer.Request.Authority, Path: e.answer.Request.Path}
	sent.Headers = headers(to.RequestHeaders.Apply(nil, &arena, e.request.Headers, &v))
	given := to.ResponseHeaders.Apply(nil, &arena, nil, &v)
	sent.Answer = headers(action.CORS.Answer(nil, given, e.request))
	if to.Host != nil {
		sent.Authority = string(to.Host)
	}
	if action.Path != nil {
		path, ok := action.Path.Append(nil, e.request.Path)
		if sent.Path = string(path); !ok {
			e.answer.Outcome = Outcome{Kind: Refused, Status: 500, Reason: fmt.Sprintf("its path is rewritten to %q, which is no path", path)}
		}
	}
	b.Sent = sent
}

// endpoints tells what holds towards a backend, and what is behind it.
func (e *explainer) endpoints(b *Backend, r *routing.Backend) {
	eff, err := e.view.Policy.EffectiveVia(e.client, r.Via, r.Service, r.Port, r.Subset)
	if err != nil {
		b.Invalid = err.Error()
		return
	}
	b.Losers = eff.Losers
	for _, l := range eff.Leaves() {
		b.Settings = append(b.Settings, Setting{l.Path, l.Value, l.Origin})
	}
	cluster, ok := e.generate(translate.ClusterType, b.Cluster).(*clusterv3.Cluster)
	if !ok {
		return
	}
	name := b.Cluster
	if s := cluster.GetEdsClusterConfig().GetServiceName(); s != "" {
		name = s
	}
	if list, ok := e.generate(translate.EndpointType, name).(*endpointv3.ClusterLoadAssignment); ok {
		e.assignment(b, list)
	}
}

func (e *explainer) assignment(b *Backend, list *endpointv3.ClusterLoadAssignment) {
	for _, group := range list.GetEndpoints() {
		l := group.GetLocality()
		locality := strings.TrimRight(l.GetRegion()+"/"+l.GetZone()+"/"+l.GetSubZone(), "/")
		for _, one := range group.GetLbEndpoints() {
			at := one.GetEndpoint().GetAddress().GetSocketAddress()
			w := one.GetMetadata().GetFilterMetadata()[translate.WorkloadMetadata].GetFields()
			out := Endpoint{
				Address: joinHostPort(at.GetAddress(), at.GetPortValue()), Priority: group.GetPriority(), Locality: locality,
				LocalityWeight: group.GetLoadBalancingWeight().GetValue(),
				Weight:         one.GetLoadBalancingWeight().GetValue(), Workload: w["workload"].GetStringValue(), Pod: w["pod"].GetStringValue(),
				Breaker: "unknown",
			}
			if state, cause, ok := e.breakers(b.Cluster, out.Address); ok {
				out.Breaker, out.Cause = state, cause
			}
			b.Endpoints = append(b.Endpoints, out)
		}
	}
}

// bytes tells where the connections to an opaque port go.
func (e *explainer) bytes() {
	a := e.answer
	a.Outcome = Outcome{Kind: Bytes, Reason: "the port is opaque: connections to it are carried as bytes, and no rule looks at what they say"}
	list, _ := e.view.Policy.TCP(e.client, e.routes.Service, e.port.Number)
	var total uint64
	for i := range list {
		total += uint64(list[i].Weight.Value)
	}
	for i := range list {
		b := e.backend(&list[i])
		if total > 0 {
			b.Share = float64(list[i].Weight.Value) / float64(total)
		}
		if b.Invalid == "" {
			e.endpoints(&b, &list[i])
		}
		a.Backends = append(a.Backends, b)
	}
}
