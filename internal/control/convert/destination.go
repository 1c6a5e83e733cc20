package convert

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// destinationRules writes what holds towards the endpoints of a service: one
// rule for all callers in its own namespace, and one in each namespace whose
// callers have another policy.
func (c *converter) destinationRules(s *model.Service, everybody string, each []string) {
	base := c.destinationRule(s, everybody, c.subsetsOf(s.Name))
	if base != nil {
		c.write(manifest("networking.istio.io/v1", "DestinationRule", s.Namespace, s.Name.Name, base))
	}
	for _, ns := range each {
		own := c.destinationRule(s, ns, c.subsetsOf(s.Name))
		if own == nil && base == nil || reflect.DeepEqual(own, base) {
			continue
		}
		if own == nil {
			own = object{"host": s.Host()}
		}
		own["exportTo"] = list{"."}
		if ns == s.Namespace && base != nil {
			e := c.effective(s, s.Ports[0].Number, ns)
			for _, l := range e.Leaves() {
				if l.Origin.Default == "" && l.Path != "protocol" {
					c.lose(l.Origin, l.Path, l.Value, "rules of the service's own namespace are for all callers, so what is for those of this namespace alone cannot be said beside it")
				}
			}
			continue
		}
		name := s.Name.Name
		if ns != s.Namespace {
			name += "." + s.Namespace
		}
		c.write(manifest("networking.istio.io/v1", "DestinationRule", ns, name, own))
	}
}

// subsetsOf are the subsets of a service that any rule of the mesh leads to.
func (c *converter) subsetsOf(service model.Name) []string {
	var out []string
	for _, name := range c.subsets()[service] {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// subsets are found once, in the rules for all services.
func (c *converter) subsets() map[model.Name][]string {
	if c.subsetsFound != nil {
		return c.subsetsFound
	}
	c.subsetsFound = map[model.Name][]string{}
	everybody, each := c.namespaces()
	for _, s := range c.world.Services() {
		for i := range s.Ports {
			for _, ns := range append([]string{everybody}, each...) {
				v := c.view(s, &s.Ports[i], model.Client{Namespace: ns})
				for k := range v.rules {
					for _, b := range v.rules[k].Backends {
						c.foundSubset(b.Service, b.Subset)
					}
					for _, m := range v.rules[k].Mirrors {
						c.foundSubset(m.Service, m.Subset)
					}
				}
				for _, b := range v.bytes {
					c.foundSubset(b.Service, b.Subset)
				}
			}
		}
	}
	return c.subsetsFound
}

func (c *converter) foundSubset(service model.Name, subset string) {
	if subset != "" {
		c.subsetsFound[service] = append(c.subsetsFound[service], subset)
	}
}

// destinationRule is the spec of a rule for the callers of a namespace, nil
// where there is nothing to say.
func (c *converter) destinationRule(s *model.Service, ns string, subsets []string) object {
	first := c.effective(s, s.Ports[0].Number, ns)
	if first == nil {
		return nil
	}
	if len(subsets) == 0 && !c.anyPolicy(s, ns) {
		return nil
	}
	spec := object{}
	policyOf := c.trafficPolicy(first)
	var ports list
	for i := 1; i < len(s.Ports); i++ {
		e := c.effective(s, s.Ports[i].Number, ns)
		if p := c.trafficPolicy(e); !reflect.DeepEqual(p, policyOf) {
			entry := object{"port": object{"number": s.Ports[i].Number}}
			maps.Copy(entry, p)
			ports = append(ports, entry)
		}
	}
	if len(ports) > 0 {
		policyOf["portLevelSettings"] = ports
	}
	if len(policyOf) > 0 {
		spec["trafficPolicy"] = policyOf
	}
	var parts list
	for _, name := range subsets {
		e, err := c.table.Effective(model.Client{Namespace: ns}, s.Name, s.Ports[0].Number, name)
		if err != nil || e.Subset == nil || e.Subset.Unknown {
			continue
		}
		part := object{"name": name}
		if len(e.Subset.Labels.Value) > 0 {
			part["labels"] = e.Subset.Labels.Value
		}
		if p := c.trafficPolicy(e); !reflect.DeepEqual(p, c.trafficPolicy(first)) && len(p) > 0 {
			part["trafficPolicy"] = p
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		spec["subsets"] = parts
	}
	if len(spec) == 0 {
		return nil
	}
	spec["host"] = s.Host()
	return spec
}

// anyPolicy says whether there is something to write for any port.
func (c *converter) anyPolicy(s *model.Service, ns string) bool {
	for i := range s.Ports {
		// The time to connect is written only beside something else: with a
		// rule its default is another one.
		if p := c.trafficPolicy(c.effective(s, s.Ports[i].Number, ns)); len(p) > 1 || len(p["connectionPool"].(object)) > 1 ||
			len(p["connectionPool"].(object)["tcp"].(object)) > 1 || isWritten(c.effective(s, s.Ports[i].Number, ns).ConnectTimeout) {
			return true
		}
	}
	return false
}

// trafficPolicy is what somebody wrote of an effective policy, and the time to
// connect; it tells what cannot be said.
func (c *converter) trafficPolicy(e *policy.Effective) object {
	out := object{}
	carried := map[string]bool{"outlierDetection": true, "breaker": true, "subset": true}
	group := func(name string, o object, paths ...string) {
		if len(o) > 0 {
			out[name] = o
		}
		for _, p := range paths {
			carried[p] = true
		}
	}
	group("connectionPool", connectionPool(e), "connectTimeout", "limits", "pool")
	group("loadBalancer", loadBalancer(e), "hash", "warmup", "locality")
	carried["balancer"] = e.Balancer.Value != policy.PeakEWMA
	group("tls", tlsObject(e.TLS), "tls")
	if b := e.RetryBudget; b != nil {
		o := object{"percent": b.Percent.Value}
		if b.MinConcurrent.IsSet() {
			o["minRetryConcurrency"] = b.MinConcurrent.Value
		}
		group("retryBudget", o, "retryBudget.percent", "retryBudget.minConcurrent")
	}
	switch {
	case e.Outlier != nil:
		out["outlierDetection"] = outlierObject(e.Outlier)
	case e.Breaker != nil:
		out["outlierDetection"] = c.breakerAsOutlier(e.Breaker)
		c.lose(e.FailFast.Origin, "failFast", e.FailFast.Value.String(), "there requests are refused at once when all endpoints are shut")
	}
	c.rest(e, carried)
	return out
}

// breakerAsOutlier says what it can of Linkerd's breaker.
func (c *converter) breakerAsOutlier(b *policy.Breaker) object {
	const recovery = "there an endpoint comes back by time alone, and waits in equal steps; here by one request that succeeds, and waits twice as long after each that fails"
	c.lose(b.Mode.Origin, "breaker.recovery", b.Mode.Value, recovery)
	if isWritten(b.MaxPenalty) {
		c.lose(b.MaxPenalty.Origin, "breaker.maxPenalty", b.MaxPenalty.Value.String(), "the longest ejection cannot be said there; it is 300s")
	}
	if isWritten(b.Jitter) {
		c.lose(b.Jitter.Origin, "breaker.jitter", strconv.FormatFloat(b.Jitter.Value, 'g', -1, 64), "ejections have no jitter there")
	}
	if r := b.SuccessRate; r != nil && r.Threshold.Value > 0 {
		c.lose(r.Threshold.Origin, "breaker.successRate", strconv.FormatFloat(r.Threshold.Value, 'g', -1, 64), "Istio switches Envoy's success rates off, and they compare endpoints with each other, not with a number")
	}
	base := max(b.MinPenalty.Value, time.Millisecond)
	if base != b.MinPenalty.Value {
		c.lose(b.MinPenalty.Origin, "breaker.minPenalty", b.MinPenalty.Value.String(), "an ejection takes at least 1ms there")
	}
	return object{
		"consecutive5xxErrors": b.MaxFailures.Value,
		"baseEjectionTime":     base.String(),
		"interval":             min(base, 10*time.Second).String(),
		"maxEjectionPercent":   100,
	}
}
