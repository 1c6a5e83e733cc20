package source

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
)

// What Kubernetes refuses of Gateway API's objects, by the schemas and the
// rules in their definitions (v1.6.3, experimental channel), is refused here
// too. Left to dialect/gateway is what the specification wants told in a
// route's status: values of enums that are not known, filters that exclude each
// other, references that lead nowhere.

// Patterns of Gateway API's definitions.
var (
	gatewayHost    = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	gatewayPrecise = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	gatewayKind    = regexp.MustCompile(`^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$`)
	gatewayLabel   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	headerToken    = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$")
	gatewayTime    = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
)

const (
	hostAllowed    = "a host name in lower case of at most 253 characters, for which a first label * may stand"
	preciseAllowed = "a host name in lower case of at most 253 characters, without *"
	sectionAllowed = "lower-case letters, digits, inner dashes and dots, at most 253 characters"
	timeAllowed    = `one to four whole numbers of at most 5 digits, each with h, m, s or ms, such as "1m30s"`
)

// gatewayCheck collects what is wrong with one object.
type gatewayCheck struct{ errs []error }

func (c *gatewayCheck) err() error { return errors.Join(c.errs...) }

func (c *gatewayCheck) add(field string, value any, allowed string) {
	e := &v1alpha1.FieldError{Field: field, Allowed: allowed}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	c.errs = append(c.errs, e)
}

// most bounds the length of a list.
func (c *gatewayCheck) most(field string, have, most int) {
	if have > most {
		c.add(field, nil, fmt.Sprintf("at most %d entries; it has %d", most, have))
	}
}

func (c *gatewayCheck) text(field, value string, most int, pattern *regexp.Regexp, allowed string) {
	if len(value) > most || pattern != nil && !pattern.MatchString(value) {
		c.add(field, value, allowed)
	}
}

func (c *gatewayCheck) port(field string, p *gatewayv1.PortNumber) {
	if p != nil && (*p < 1 || *p > 65535) {
		c.add(field, *p, "a port from 1 to 65535")
	}
}

// duration checks one and gives it; ok is false where there is none to compare.
func (c *gatewayCheck) duration(field string, d *gatewayv1.Duration) (v time.Duration, ok bool) {
	if d == nil {
		return 0, false
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil || !gatewayTime.MatchString(string(*d)) {
		c.add(field, *d, timeAllowed)
		return 0, false
	}
	return v, true
}

// Validate finds what a cluster would refuse. Each part of the error is a
// *v1alpha1.FieldError.
func (r *GatewayHTTPRoute) Validate() error {
	c := &gatewayCheck{}
	c.common(&r.Spec.CommonRouteSpec, r.Spec.Hostnames, !strings.HasPrefix(r.APIVersion, "policy.linkerd.io/"))
	if r.Spec.Rules != nil && len(r.Spec.Rules) == 0 {
		c.add("spec.rules", nil, "at least one rule, or no field rules, which is one rule for all requests")
	}
	c.most("spec.rules", len(r.Spec.Rules), 16)
	matches, names := 0, ruleNames{}
	for i := range r.Spec.Rules {
		matches += len(r.Spec.Rules[i].Matches)
		field := fmt.Sprintf("spec.rules[%d]", i)
		names.check(c, field, r.Spec.Rules[i].Name)
		c.httpRule(field, &r.Spec.Rules[i])
	}
	c.most("spec.rules[*].matches", matches, 128)
	return c.err()
}

// Validate finds what a cluster would refuse. Each part of the error is a
// *v1alpha1.FieldError.
func (r *GatewayGRPCRoute) Validate() error {
	c := &gatewayCheck{}
	c.common(&r.Spec.CommonRouteSpec, r.Spec.Hostnames, true)
	c.most("spec.rules", len(r.Spec.Rules), 16)
	matches, names := 0, ruleNames{}
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		matches += len(rule.Matches)
		field := fmt.Sprintf("spec.rules[%d]", i)
		names.check(c, field, rule.Name)
		c.most(field+".matches", len(rule.Matches), 64)
		for j := range rule.Matches {
			c.grpcMatch(fmt.Sprintf("%s.matches[%d]", field, j), &rule.Matches[j])
		}
		c.grpcFilters(field+".filters", rule.Filters)
		c.most(field+".backendRefs", len(rule.BackendRefs), 16)
		for j := range rule.BackendRefs {
			sub := fmt.Sprintf("%s.backendRefs[%d]", field, j)
			c.backend(sub, &rule.BackendRefs[j].BackendRef)
			c.grpcFilters(sub+".filters", rule.BackendRefs[j].Filters)
		}
	}
	c.most("spec.rules[*].matches", matches, 128)
	return c.err()
}

// ruleNames are those of a route, each with the field that has it.
type ruleNames map[gatewayv1.SectionName]string

func (n ruleNames) check(c *gatewayCheck, field string, name *gatewayv1.SectionName) {
	if name == nil {
		return
	}
	field += ".name"
	c.text(field, string(*name), 253, gatewayPrecise, sectionAllowed)
	if first, ok := n[*name]; ok {
		c.add(field, *name, "a name that no other rule of the route has, as "+first+" does")
		return
	}
	n[*name] = field
}

// common checks what all routes have. distinct: parents must be, as they need
// not in policy.linkerd.io.
func (c *gatewayCheck) common(spec *gatewayv1.CommonRouteSpec, hosts []gatewayv1.Hostname, distinct bool) {
	c.most("spec.parentRefs", len(spec.ParentRefs), 32)
	for i := range spec.ParentRefs {
		p := &spec.ParentRefs[i]
		field := fmt.Sprintf("spec.parentRefs[%d]", i)
		c.reference(field, p.Group, p.Kind, p.Namespace, string(p.Name))
		c.port(field+".port", p.Port)
		if p.SectionName != nil && *p.SectionName != "" {
			c.text(field+".sectionName", string(*p.SectionName), 253, gatewayPrecise, sectionAllowed)
		}
		for j := range spec.ParentRefs[:i] {
			if distinct {
				c.distinct(field, fmt.Sprintf("spec.parentRefs[%d]", j), p, &spec.ParentRefs[j])
			}
		}
	}
	c.most("spec.hostnames", len(hosts), 16)
	for i, h := range hosts {
		c.text(fmt.Sprintf("spec.hostnames[%d]", i), string(h), 253, gatewayHost, hostAllowed)
	}
}

// distinct checks two references to one parent: both have a port, or both a
// sectionName, and they differ there (CommonRouteSpec, parentRefs).
func (c *gatewayCheck) distinct(field, other string, a, b *gatewayv1.ParentReference) {
	same := group(a) == group(b) && kind(a) == kind(b) && value(a.Namespace) == value(b.Namespace) && a.Name == b.Name
	if !same {
		return
	}
	pa, pb, sa, sb := value(a.Port), value(b.Port), value(a.SectionName), value(b.SectionName)
	if (pa == 0) != (pb == 0) || (sa == "") != (sb == "") || pa == pb && sa == sb {
		c.add(field, a.Name, "a parent other than that of "+other+", or a port or sectionName in both, and not the same")
	}
}

// group and kind are a Gateway's where they are not said.
func group(p *gatewayv1.ParentReference) gatewayv1.Group {
	if p.Group == nil {
		return gatewayv1.GroupName
	}
	return *p.Group
}

func kind(p *gatewayv1.ParentReference) gatewayv1.Kind {
	if p.Kind == nil {
		return "Gateway"
	}
	return *p.Kind
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func (c *gatewayCheck) reference(field string, group *gatewayv1.Group, kind *gatewayv1.Kind, namespace *gatewayv1.Namespace, name string) {
	if g := value(group); g != "" {
		c.text(field+".group", string(g), 253, gatewayPrecise, "the name of an API group, or an empty string for the core group")
	}
	if kind != nil {
		c.text(field+".kind", string(*kind), 63, gatewayKind, "the name of a kind")
	}
	if namespace != nil {
		c.text(field+".namespace", string(*namespace), 63, gatewayLabel, "the name of a namespace")
	}
	if name == "" || len(name) > 253 {
		c.add(field+".name", name, "a name of 1 to 253 characters")
	}
}

func (c *gatewayCheck) backend(field string, b *gatewayv1.BackendRef) {
	c.object(field, &b.BackendObjectReference)
	if b.Weight != nil && (*b.Weight < 0 || *b.Weight > 1_000_000) {
		c.add(field+".weight", *b.Weight, "a weight from 0 to 1000000")
	}
}

func (c *gatewayCheck) object(field string, b *gatewayv1.BackendObjectReference) {
	c.reference(field, b.Group, b.Kind, b.Namespace, string(b.Name))
	c.port(field+".port", b.Port)
}

// Validate finds what a cluster would refuse. Each part of the error is a
// *v1alpha1.FieldError.
func (p *GatewayBackendPolicy) Validate() error {
	c := &gatewayCheck{}
	if len(p.Spec.TargetRefs) == 0 {
		c.add("spec.targetRefs", nil, "at least one target")
	}
	c.most("spec.targetRefs", len(p.Spec.TargetRefs), 16)
	for i, r := range p.Spec.TargetRefs {
		field := fmt.Sprintf("spec.targetRefs[%d]", i)
		c.reference(field, &r.Group, &r.Kind, nil, string(r.Name))
		for _, s := range p.Spec.TargetRefs[:i] {
			if s == r {
				c.add(field, r.Name, "a target that is not named already")
			}
		}
	}
	t := p.Spec.RetryConstraint
	if t == nil {
		return c.err()
	}
	if b := t.Budget; b != nil {
		if b.Percent != nil && (*b.Percent < 0 || *b.Percent > 100) {
			c.add("spec.retryConstraint.budget.percent", *b.Percent, "0 to 100")
		}
		field := "spec.retryConstraint.budget.interval"
		if d, ok := c.duration(field, b.Interval); ok && (d < time.Second || d > time.Hour) {
			c.add(field, *b.Interval, "1s to 1h")
		}
	}
	if r := t.MinRetryRate; r != nil {
		if r.Count != nil && (*r.Count < 1 || *r.Count > 1_000_000) {
			c.add("spec.retryConstraint.minRetryRate.count", *r.Count, "1 to 1000000")
		}
		field := "spec.retryConstraint.minRetryRate.interval"
		if d, ok := c.duration(field, r.Interval); ok && (d == 0 || d > time.Hour) {
			c.add(field, *r.Interval, "more than 0s, at most 1h")
		}
	}
	return c.err()
}
