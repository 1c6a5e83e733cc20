package convert

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// portView is where the requests of some clients to one port go.
type portView struct {
	service *model.Service
	port    *model.Port
	// client is the namespace of the callers, empty for all of them.
	client string
	rules  []routing.Rule
	// plain: no rule says anything, and requests go to the service itself.
	plain bool
	// bytes are where what is no request goes, nil: to the service.
	bytes []routing.Backend
}

// service converts all that is said of one service.
func (c *converter) service(s *model.Service) {
	everybody, each := c.namespaces()
	var views []portView
	for i := range s.Ports {
		p := &s.Ports[i]
		base := c.view(s, p, model.Client{Namespace: everybody})
		base.client = ""
		views = append(views, base)
		for _, ns := range each {
			v := c.view(s, p, model.Client{Namespace: ns})
			if !sameRules(v.rules, base.rules) || !sameBytes(v.bytes, base.bytes) {
				views = append(views, v)
			}
			c.workloads(s, p, ns, &v)
		}
	}
	if c.to == Istio {
		c.istioRoutes(s, views)
		c.destinationRules(s, everybody, each)
	} else {
		c.gatewayRoutes(s, views)
		c.annotate(s, everybody, each)
	}
}

// viewKey is what a view depends on.
type viewKey struct {
	service model.Name
	port    uint16
	client  model.Client
}

func (c *converter) view(s *model.Service, p *model.Port, client model.Client) portView {
	key := viewKey{s.Name, p.Number, client}
	v, ok := c.views[key]
	if !ok {
		v = c.look(s, p, client)
		c.views[key] = v
	}
	return v
}

func (c *converter) look(s *model.Service, p *model.Port, client model.Client) portView {
	v := portView{service: s, port: p, client: client.Namespace}
	r, err := c.table.Routes(client, s.Name, p.Number)
	if err != nil {
		return v // there is such a port: it was listed
	}
	v.rules = r.Rules
	v.plain = r.Dialect == routing.Recloser && len(r.Rules) == 1 && r.Rules[0].Match.All() && untreated(&r.Rules[0])
	backends, _ := c.table.TCP(client, s.Name, p.Number)
	if len(backends) != 1 || backends[0].Service != s.Name || backends[0].Port != p.Number || backends[0].Subset != "" {
		v.bytes = backends
	}
	return v
}

// untreated says whether a rule does nothing but send requests to the service.
func untreated(r *routing.Rule) bool {
	return r.Name == "default" && r.Retry == nil && r.Timeouts == (routing.Timeouts{}) && len(r.Backends) == 1
}

// workloads tells what holds for some callers of a namespace only: policy is
// written for namespaces.
func (c *converter) workloads(s *model.Service, p *model.Port, ns string, of *portView) {
	if !c.byLabels(s.Name) {
		return
	}
	for _, kind := range []source.Kind{source.Deployment, source.Workload} {
		for _, o := range c.world.Objects(kind) {
			if o.Namespace != ns {
				continue
			}
			v := c.view(s, p, model.Client{Namespace: ns, Workload: o.Name, Kind: string(kind)})
			if sameRules(v.rules, of.rules) && sameBytes(v.bytes, of.bytes) {
				continue
			}
			for i := range v.rules {
				r := &v.rules[i]
				if !slices.ContainsFunc(of.rules, func(x routing.Rule) bool { return x.Origin == r.Origin }) {
					c.lose(r.Origin, "match.sourceLabels", o.String(), "it holds for some callers of a namespace only, and rules are written for namespaces as a whole")
				}
			}
		}
	}
}

// byLabels says whether any VirtualService for a service looks at the labels of
// callers: nothing else does.
func (c *converter) byLabels(service model.Name) bool {
	for _, o := range c.world.RulesOf(service, source.VirtualService) {
		spec := o.Value.(*source.IstioVirtualService).Spec
		for _, r := range spec.GetHttp() {
			for _, m := range r.GetMatch() {
				if len(m.GetSourceLabels()) > 0 {
					return true
				}
			}
		}
		for _, r := range spec.GetTcp() {
			for _, m := range r.GetMatch() {
				if len(m.GetSourceLabels()) > 0 {
					return true
				}
			}
		}
	}
	return false
}

// sameRules compares what rules do, not who said it.
func sameRules(a, b []routing.Rule) bool {
	if len(a) != len(b) {
		return false
	}
	// Mostly they are the same in every respect, which is quick to see.
	return reflect.DeepEqual(a, b) || reflect.DeepEqual(withoutOrigins(a), withoutOrigins(b))
}

func sameBytes(a, b []routing.Backend) bool {
	return len(a) == len(b) && reflect.DeepEqual(withoutOrigins(a), withoutOrigins(b))
}

// withoutOrigins is a value as JSON has it, without where its parts come from.
func withoutOrigins(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return v
	}
	return strip(tree)
}

func strip(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = strip(v[i])
		}
	case map[string]any:
		delete(v, "origin")
		delete(v, "also")
		for k := range v {
			v[k] = strip(v[k])
		}
	}
	return v
}

// hosts converts the rules for hosts that are no services.
func (c *converter) hosts() {
	everybody, _ := c.namespaces()
	seen := map[string]bool{}
	for _, o := range c.world.Objects(source.VirtualService) {
		v, _ := o.Value.(*source.IstioVirtualService)
		for _, h := range v.Spec.GetHosts() {
			if _, isService := model.RuleHost(h, o.Namespace); isService || strings.Contains(h, "*") || seen[h] {
				continue
			}
			seen[h] = true
			r, ok := c.table.HostRoutes(model.Client{Namespace: everybody}, h, 80)
			if !ok {
				continue
			}
			if c.to != Istio {
				c.lose(origin.Of(o, "spec.hosts"), "host", h, "routes of this dialect belong to Services, and no Service has this host")
				continue
			}
			rules := c.carry(r.Rules)
			if http := c.virtualHTTP(rules, nil); len(http) > 0 {
				c.write(manifest("networking.istio.io/v1", "VirtualService", o.Namespace, nameFor(h), map[string]any{"hosts": []any{h}, "http": http}))
			}
		}
	}
}

func nameFor(host string) string { return strings.Trim(strings.ToLower(host), ".") }
