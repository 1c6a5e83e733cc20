package smi

import (
	"fmt"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Check is what is wrong with a TrafficSplit or an HTTPRouteGroup.
func Check(w *model.World, o source.Object) []source.Problem {
	c := &checker{object: o, world: w}
	switch v := o.Value.(type) {
	case *source.SMITrafficSplit:
		c.split(splitOf(o), v.APIVersion)
	case *source.SMIRouteGroup:
		c.group(v)
	}
	return c.out
}

type checker struct {
	object source.Object
	world  *model.World
	out    []source.Problem
}

func (c *checker) find(severity source.Severity, code, field, value, allowed, reason, mend string) {
	c.out = append(c.out, c.object.Problem(source.Problem{
		Code: code, Severity: severity, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
	}))
}

func (c *checker) split(s *split, version string) {
	root := c.root(s)
	sum := uint64(0)
	for i, w := range s.weights() {
		at := fmt.Sprintf("spec.backends[%d]", i)
		q := s.spec.Backends[i].Weight
		switch {
		case q == nil:
			c.find(source.Warning, "missing-field", at+".weight", "", "", "a backend without a weight gets nothing", "give it a weight")
		case q.Sign() < 0:
			c.find(source.Error, "bad-weight", at+".weight", q.String(), "0 or more", "a weight cannot be negative; it counts as 0", "")
		case !strings.HasSuffix(version, "/v1alpha1") && q.MilliValue()%1000 != 0:
			c.find(source.Warning, "bad-weight", at+".weight", q.String(), "a whole number", "weights are whole numbers since v1alpha2; here this counts in its proportion all the same", "")
		}
		if c.backend(s, root, i) {
			sum += uint64(w)
		}
	}
	if sum == 0 {
		c.find(source.Warning, "zero-weights", "spec.backends", "", "", "no backend gets anything, so all requests go to the root's own endpoints", "give one a weight")
	}
	matches, bad := s.matches(c.world)
	for _, b := range bad {
		allowed := ""
		if b.code == "bad-reference" {
			allowed = "HTTPRouteGroup"
		}
		c.find(source.Error, b.code, b.field, b.value, allowed, b.reason, "")
	}
	if len(s.spec.Matches) > 0 && len(matches) == 0 {
		c.find(source.Warning, "matches-nothing", "spec.matches", "", "", "no match is left, so this split divides nothing", "")
	}
}

// root checks the root service and gives it, if it is there.
func (c *checker) root(s *split) *model.Service {
	host := s.spec.Service
	name, ok := model.RuleHost(host, c.object.Namespace)
	switch {
	case !ok:
		c.find(source.Error, "bad-host", "spec.service", host, "the name of a service of this namespace", "this is not the name of a service, so the split does nothing", "")
	case name.Namespace != c.object.Namespace:
		c.find(source.Error, "wrong-namespace", "spec.service", host, "", "a TrafficSplit is for services of its own namespace, so this one does nothing", "move it to namespace "+name.Namespace)
	case c.world.Service(name.Namespace, name.Name) == nil:
		c.find(source.Warning, "unknown-host", "spec.service", host, "", "there is no such service, so this split does nothing", c.world.NearService(name))
	default:
		return c.world.Service(name.Namespace, name.Name)
	}
	return nil
}

// backend checks one backend against each port of the root, and tells whether
// it gets anything.
func (c *checker) backend(s *split, root *model.Service, i int) bool {
	if root == nil || len(root.Ports) == 0 {
		return true // there is nothing to judge it by
	}
	field, host := fmt.Sprintf("spec.backends[%d].service", i), s.spec.Backends[i].Service
	said, some := "", false
	for j := range root.Ports {
		name, why := s.backend(c.world, i, root.Ports[j].Number)
		if why == "" {
			some = true
			continue
		}
		if why == said {
			continue
		}
		said = why
		code, mend := "no-such-backend", ""
		if b := c.world.Service(name.Namespace, name.Name); b != nil && name.Namespace == c.object.Namespace {
			code = "no-such-port"
		} else {
			mend = c.world.NearService(name)
		}
		c.find(source.Warning, code, field, host, "", why, mend)
	}
	return some
}

func (c *checker) group(g *source.SMIRouteGroup) {
	list, at := g.Matches()
	for i := range list {
		if _, err := alternativesOf(&list[i]); err != nil {
			c.find(source.Error, err.code, fmt.Sprintf("%s[%d].%s", at, i, err.field), err.value, err.allowed, err.err.Error()+"; the match is left out", "")
		}
	}
	if g.Spec != nil && len(g.TopMatches) > 0 {
		c.find(source.Warning, "ignored-field", "matches", "", "", "there are matches in the spec, which count", "move them there")
	}
}
