package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// carry gives the rules as the other dialect can say them, in its order; the
// rest is lost. What comes out is exactly what is written, so that reading it
// again gives the same.
func (c *converter) carry(rules []routing.Rule) []routing.Rule {
	out := make([]routing.Rule, 0, len(rules))
	c.grpc = c.to != Istio && ofGRPC(rules)
	for i := range rules {
		if r, ok := c.carryRule(&rules[i]); ok {
			out = append(out, r)
		}
	}
	if c.to == Istio || c.grpc {
		return out // in the order that the dialect has
	}
	return c.inOrder(out)
}

// carryRule is one rule, and false where it is left out.
func (c *converter) carryRule(r *routing.Rule) (routing.Rule, bool) {
	out := *r
	var why string
	switch {
	case c.to == Istio:
		out.Match, why = istioMatch(r.Match)
	case c.grpc:
		out.Match, why = grpcMatch(r.Match)
	default:
		out.Match, why = gatewayMatch(r.Match)
	}
	if why != "" {
		c.lose(r.Origin, "rule", r.Name, "its match cannot be said: "+why+"; the rule is left out, and its requests go by the rules after it")
		return out, false
	}
	if c.to != Istio && changedPath(r.Match, out.Match) {
		why := "a prefix of characters becomes one of whole segments: what goes on after it without a slash does not match any more"
		if p := r.Match.Paths[0].Value; strings.HasSuffix(p, "/") {
			why = "a prefix of characters becomes one of whole segments: " + strings.TrimRight(p, "/") + " matches, too"
		}
		c.lose(r.Origin, "match.path", r.Match.Paths[0].Value, why)
	}
	total := uint64(0)
	for i := range r.Backends {
		total += uint64(r.Backends[i].Weight.Value)
	}
	if c.to == Istio && r.Redirect == nil && r.Direct == nil && total == 0 {
		// All weights are 0: Istio refuses that, and the answer is the same.
		out.Backends, out.Direct = nil, &routing.Direct{Origin: r.Origin, Status: cmp.Or(r.MissingStatus, 500)}
	}
	c.missing(&out)
	c.edits(&out)
	c.path(&out, r)
	switch {
	case out.Direct != nil:
		if c.to != Istio {
			c.lose(out.Direct.Origin, "rule", r.Name, "there is no filter that answers by itself; the rule is left out, and its requests go by the rules after it")
			return out, false
		}
	case out.Redirect == nil:
		if out.Backends = c.backends(out.Backends); len(out.Backends) == 0 {
			c.lose(r.Origin, "rule", r.Name, "none of its backends can be named; the rule is left out, and its requests go by the rules after it")
			return out, false
		}
	}
	c.treatment(&out)
	if c.grpc {
		c.noGRPC(&out)
	}
	return out, true
}

// missing tells where backends that are not there are answered otherwise.
func (c *converter) missing(r *routing.Rule) {
	i := slices.IndexFunc(r.Backends, func(b routing.Backend) bool { return b.Invalid != "" })
	if r.MissingStatus == 0 || c.grpc || c.to == Istio && i >= 0 && r.Backends[i].Subset != "" {
		return
	}
	if i >= 0 {
		c.lose(r.Backends[i].Origin, "missingStatus", strconv.Itoa(int(r.MissingStatus)), "requests for what is not there are answered with 500 there")
	}
	r.MissingStatus = 0
}

// changedPath says whether a prefix of characters became one of segments.
func changedPath(from, to routing.Match) bool {
	return len(from.Paths) == 1 && len(to.Paths) == 1 && from.Paths[0].Kind == routing.PathText &&
		to.Paths[0].Kind == routing.PathPrefix && from.Paths[0].Value != "/" && from.Paths[0].Value != ""
}

// edits of headers: in Gateway API values are plain, and one filter does one
// thing to a header.
func (c *converter) edits(r *routing.Rule) {
	r.RequestHeaders = c.someEdits(r.RequestHeaders, "requestHeaders")
	r.ResponseHeaders = c.someEdits(r.ResponseHeaders, "responseHeaders")
}

func (c *converter) someEdits(list []routing.HeaderEdit, setting string) []routing.HeaderEdit {
	var out []routing.HeaderEdit
	for _, e := range list {
		same := func(x routing.HeaderEdit) bool {
			return x.Name == e.Name && (c.to != Istio || x.Op == e.Op)
		}
		if v, ok := unformatted(e); ok {
			e.Value, e.Format = v, false
		}
		switch {
		case slices.ContainsFunc(out, same):
			c.lose(e.Origin, setting, e.Name, "a header can be changed in one way only, and another change comes first")
		case c.to != Istio && e.Format:
			c.lose(e.Origin, setting, e.Name, "values are plain text there, and "+e.Value+" is not")
		case c.to != Istio && e.Op != routing.Remove && e.Value == "":
			c.lose(e.Origin, setting, e.Name, "a value may not be empty there")
		default:
			out = append(out, e)
		}
	}
	return out
}

// unformatted is a value that stands for itself, if there are no variables in
// it.
func unformatted(e routing.HeaderEdit) (string, bool) {
	if !e.Format || strings.Contains(strings.ReplaceAll(e.Value, "%%", ""), "%") {
		return "", false
	}
	return strings.ReplaceAll(e.Value, "%%", "%"), true
}

// maxWeight is the largest that Gateway API allows.
const maxWeight = 1_000_000

// backends are those that can be named.
func (c *converter) backends(list []routing.Backend) []routing.Backend {
	most := uint32(0)
	for i := range list {
		most = max(most, list[i].Weight.Value)
	}
	out := make([]routing.Backend, 0, len(list))
	for _, b := range list {
		b.RequestHeaders = c.someEdits(b.RequestHeaders, "backend.requestHeaders")
		b.ResponseHeaders = c.someEdits(b.ResponseHeaders, "backend.responseHeaders")
		if most > maxWeight {
			b.Weight.Value = uint32(uint64(b.Weight.Value) * maxWeight / uint64(most))
		}
		if b.Via.Name != "" && b.Via != b.Service && c.to == Istio {
			c.lose(b.Origin, "backend.via", b.Service.String(), "the breaker of "+b.Via.String()+" held for it, as in Linkerd; in Istio each service has its own")
			b.Via.Name, b.Via.Namespace = "", ""
		}
		if c.to == Istio {
			out = append(out, b)
			continue
		}
		if b.Subset != "" {
			c.lose(b.Origin, "backend.subset", b.Subset, "Services have no subsets there; the whole of "+b.Service.String()+" is meant")
			b.Subset, b.Invalid = "", c.invalid(&b)
		}
		if b.Service.Namespace == "" || b.Port == 0 {
			c.lose(b.Origin, "backend", b.Service.Name, "it cannot be named as a Service with a port; its share goes to the others")
			continue
		}
		out = append(out, b)
	}
	if !slices.ContainsFunc(out, func(b routing.Backend) bool { return b.Weight.Value > 0 }) && most > 0 {
		return nil
	}
	return out
}

// invalid says why a backend without its subset is none.
func (c *converter) invalid(b *routing.Backend) string {
	s := c.world.Service(b.Service.Namespace, b.Service.Name)
	if s == nil || s.Port(b.Port) == nil {
		return b.Invalid
	}
	return ""
}

// rank is Gateway API's precedence of a match; see package gateway.
func rank(m *routing.Match) [5]int {
	var r [5]int
	if len(m.Paths) > 0 {
		switch p := m.Paths[0]; p.Kind {
		case routing.PathExact:
			r[0] = 2
		case routing.PathRegex:
			r[0], r[1] = 1, len(p.Value)
		default:
			r[1] = len(p.Value)
		}
	} else {
		r[1] = len("/")
	}
	for _, h := range m.Headers {
		if h.Name == ":method" {
			r[2] = 1
		} else {
			r[3]++
		}
	}
	r[4] = len(m.Query)
	return r
}

func compareRanks(a, b *routing.Match) int {
	ra, rb := rank(a), rank(b)
	for i := range ra {
		if d := cmp.Compare(rb[i], ra[i]); d != 0 {
			return d
		}
	}
	return 0
}

// inOrder sorts rules as Gateway API will, and tells of those that come before
// others then.
func (c *converter) inOrder(rules []routing.Rule) []routing.Rule {
	var cmp routing.Comparer
	for j := range rules {
		for i := range j {
			if compareRanks(&rules[j].Match, &rules[i].Match) < 0 && !cmp.Empty(rules[i].Match.And(rules[j].Match)) {
				c.lose(rules[j].Origin, "order", rules[j].Name, fmt.Sprintf(
					"%s comes before it now; there the narrower match comes first, so requests that match both go by this one", nameOrField(&rules[i])))
				break
			}
		}
	}
	out := slices.Clone(rules)
	slices.SortStableFunc(out, func(a, b routing.Rule) int { return compareRanks(&a.Match, &b.Match) })
	return out
}

func nameOrField(r *routing.Rule) string {
	if r.Origin == (origin.Origin{}) {
		return r.Name
	}
	return r.Origin.String()
}
