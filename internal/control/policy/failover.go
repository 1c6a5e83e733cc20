package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Annotations of a Service about what happens when its endpoints fail.
const (
	// FailoverAnnotation names the services whose endpoints take requests when
	// those before them have failed, in their order: a list of NAME or
	// NAME.NAMESPACE, each with an optional :PORT (default: the port that is
	// asked for).
	FailoverAnnotation = "recloser.io/failover"
	// OverflowAnnotation is Envoy's overprovisioning factor, in percent: the
	// next in the order get requests as soon as less than 100/factor of those
	// before are ready. 140 by default, from 100.
	OverflowAnnotation = "recloser.io/failover-overflow"
)

// DefaultOverflow is Envoy's overprovisioning factor.
const DefaultOverflow = 140

// maxOverflow keeps at least one of a hundred endpoints.
const maxOverflow = 10_000

// failoverTargets are at most as many as there are priorities in Envoy.
const failoverTargets = 127

// FailoverTarget is a service that takes requests when those before it cannot.
type FailoverTarget struct {
	Origin  Origin     `json:"origin"`
	Service model.Name `json:"service"`
	Port    uint16     `json:"port"`
	// Invalid says why it is passed over. Empty: it is not.
	Invalid string `json:"invalid,omitempty"`
}

// String is how people write it.
func (f FailoverTarget) String() string {
	return fmt.Sprintf("%s.%s:%d", f.Service.Name, f.Service.Namespace, f.Port)
}

// failover reads FailoverAnnotation.
func (r *reader) failover() Value[[]target] {
	value, ok := r.values[FailoverAnnotation]
	if !ok {
		return Value[[]target]{}
	}
	var out []target
	for item := range strings.SplitSeq(value, ",") {
		t, err := parseTarget(item)
		switch {
		case err != nil:
			r.bad(FailoverAnnotation, "bad-target", err.Error(), "a list of "+allowedTarget, "")
			return Value[[]target]{}
		case slices.Contains(out, t):
			r.find(FailoverAnnotation, source.Warning, "repeated-target", fmt.Sprintf("%s is there twice; the second has no effect", t), "", "remove one of them")
			continue
		}
		out = append(out, t)
	}
	if len(out) > failoverTargets {
		r.bad(FailoverAnnotation, "too-many-targets", fmt.Sprintf("these are %d services", len(out)), fmt.Sprintf("at most %d", failoverTargets), "")
		return Value[[]target]{}
	}
	return Value[[]target]{Value: out, Origin: r.origin(FailoverAnnotation)}
}

// overflow reads OverflowAnnotation.
func (r *reader) overflow() Value[uint32] {
	v := count(r, OverflowAnnotation, DefaultOverflow, "Envoy")
	switch {
	case r.failed || v.Origin.Default != "":
	case v.Value < 100 || v.Value > maxOverflow:
		r.bad(OverflowAnnotation, "bad-factor", "below 100 requests would leave services that are whole, and far above it one that is almost gone would keep them",
			fmt.Sprintf("a percentage from 100 to %d", maxOverflow), "140 is Envoy's")
		v = fallback(uint32(DefaultOverflow), "Envoy")
	case r.values[FailoverAnnotation] == "":
		r.noEffect("there is no "+FailoverAnnotation+" on this Service", "", OverflowAnnotation)
	}
	return v
}

// Failover is what a Service says of the services that stand in for it, and the
// factor by which it does so. It does not depend on who asks.
func (t *Table) Failover(service model.Name, port uint16) (targets []FailoverTarget, overflow Value[uint32]) {
	p := t.services[service]
	if p == nil {
		return nil, Value[uint32]{}
	}
	for _, to := range p.failover.Value {
		a, _ := model.ParseAuthority(to.host, service.Namespace)
		f := FailoverTarget{Origin: p.failover.Origin, Service: a.Service, Port: cmp.Or(to.port, port)}
		switch s := t.world.Service(f.Service.Namespace, f.Service.Name); {
		case f.Service == service && f.Port == port:
			f.Invalid = "a service that has failed cannot stand in for itself"
		case s == nil:
			f.Invalid = fmt.Sprintf("there is no service %s in namespace %s", f.Service.Name, f.Service.Namespace)
		case s.Port(f.Port) == nil:
			f.Invalid = fmt.Sprintf("service %s in namespace %s has no port %d; it has %s", f.Service.Name, f.Service.Namespace, f.Port, s.PortList())
		}
		targets = append(targets, f)
	}
	return targets, p.overflow
}

// failoverFindings are what is wrong with the services that a Service names, for
// any of its ports.
func (t *Table) failoverFindings(name model.Name, p *servicePolicy) []source.Problem {
	s := t.world.Service(name.Namespace, name.Name)
	if s == nil || len(p.failover.Value) == 0 {
		return nil
	}
	var out []source.Problem
	seen := map[string]bool{}
	find := func(severity source.Severity, code, reason, mend string) {
		out = append(out, p.object.Problem(source.Problem{
			Code: code, Severity: severity, Field: source.AnnotationPath(FailoverAnnotation),
			Value: p.object.Meta().GetAnnotations()[FailoverAnnotation], Reason: reason, Mend: mend,
		}))
	}
	for i := range s.Ports {
		targets, _ := t.Failover(name, s.Ports[i].Number)
		for _, f := range targets {
			if f.Invalid == "" || seen[f.Invalid] {
				continue
			}
			seen[f.Invalid] = true
			code, mend := "unknown-target", ""
			if f.Service == name {
				code, mend = "failover-loop", "remove it from the list"
			} else if to := t.world.Service(f.Service.Namespace, f.Service.Name); to != nil && len(to.Ports) > 0 {
				f.Port = to.Ports[0].Number
				mend = "name one that it has, as in " + f.String()
			}
			find(source.Error, code, f.Invalid+": it is passed over", mend)
		}
	}
	if p.breaker == nil && t.nothingShuts(name, s) {
		find(source.Warning, "failover-without-breaker",
			"nothing shuts endpoints of this service when they fail, so others stand in for it only when it has none",
			"add "+accrual+": "+ModeConsecutive+" to the Service, or a DestinationRule with outlierDetection")
	}
	return out
}

// nothingShuts tells whether no DestinationRule that its own namespace sees has
// outlier detection for any port.
func (t *Table) nothingShuts(name model.Name, s *model.Service) bool {
	client := model.Client{Namespace: name.Namespace}
	l := &lookup{world: t.world, root: t.root, client: client, service: name}
	chain := l.chain()
	for i := range s.Ports {
		if outlierOf(blocksOf(chain, s.Ports[i].Number, "").outlier) != nil {
			return false
		}
	}
	return true
}

// failoverLeaves are what of it is shown to people: nothing where nobody wrote it.
func (e *Effective) failoverLeaves() []Leaf {
	if len(e.Failover) == 0 {
		return nil
	}
	var list []string
	for _, f := range e.Failover {
		item := f.String()
		if f.Invalid != "" {
			item += " (passed over)"
		}
		list = append(list, item)
	}
	return []Leaf{
		{Path: "failover", Value: strings.Join(list, ", "), Origin: e.Failover[0].Origin},
		leaf("failover.overflow", e.Overflow, func(n uint32) string { return strconv.FormatUint(uint64(n), 10) + "%" }),
	}
}

// writeTargets is the other way of what failover reads.
func writeTargets(list []target) string {
	var out []string
	for _, t := range list {
		out = append(out, t.String())
	}
	return strings.Join(out, ", ")
}

// readTargets reads what writeTargets wrote.
func readTargets(s string) []target {
	var out []target
	for item := range strings.SplitSeq(s, ",") {
		if t, err := parseTarget(item); err == nil {
			out = append(out, t)
		}
	}
	return out
}
