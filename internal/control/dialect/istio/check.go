package istio

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// CheckAll is Check for all VirtualServices.
func CheckAll(w *model.World) []source.Problem {
	o := look(w)
	var out []source.Problem
	for _, v := range o.all {
		out = append(out, o.check(w, v)...)
	}
	return out
}

// Check tells what is wrong with a VirtualService, whoever asks: what is
// allowed in Istio and most likely not meant, what has no effect here, and
// where Istio would behave otherwise.
func Check(w *model.World, o source.Object) []source.Problem { return look(w).check(w, o) }

// overview is what all VirtualServices say together.
type overview struct {
	all []source.Object
	// delegated are those that others name.
	delegated map[source.Key]bool
	// plain is the first with a rule without retries, and the rule.
	plain     source.Key
	plainRule int
}

func look(w *model.World) *overview {
	out := &overview{all: w.Objects(source.VirtualService), delegated: map[source.Key]bool{}}
	for _, o := range out.all {
		v, ok := o.Value.(*source.IstioVirtualService)
		if !ok {
			continue
		}
		for i, r := range v.Spec.GetHttp() {
			if d := r.GetDelegate(); d != nil {
				out.delegated[delegateKey(o, d)] = true
			}
			if out.plain == (source.Key{}) && boundToMesh(v) && len(r.GetRoute()) > 0 && r.GetRetries() == nil {
				out.plain, out.plainRule = o.Key, i
			}
		}
	}
	return out
}

func (all *overview) check(w *model.World, o source.Object) []source.Problem {
	v, ok := o.Value.(*source.IstioVirtualService)
	if !ok {
		return nil
	}
	c := &checker{overview: all, world: w, object: o, v: v}
	if !boundToMesh(v) {
		c.add(source.Info, "gateways-only", "spec.gateways", strings.Join(v.Spec.GetGateways(), ", "), "",
			"it is bound to gateways and not to the mesh, so it has no effect on calls between workloads", "add mesh to spec.gateways if it should")
		return c.out
	}
	c.hosts()
	c.delegation()
	c.protocols()
	for i, r := range v.Spec.GetHttp() {
		c.http(written{o, fmt.Sprintf("spec.http[%d]", i), r})
	}
	c.bytes()
	if all.plain == o.Key {
		c.add(source.Info, "no-default-retries", fmt.Sprintf("spec.http[%d]", all.plainRule), "", "",
			"Istio tries requests of rules that do not say retries up to twice more; here nothing is sent twice unless somebody says so, for any VirtualService", "write retries where they are wanted")
	}
	return c.out
}

// checker looks at one VirtualService.
type checker struct {
	*overview
	world  *model.World
	object source.Object
	v      *source.IstioVirtualService
	out    []source.Problem
}

func (c *checker) add(sev source.Severity, code, field, value, allowed, reason, mend string) {
	c.out = append(c.out, problem(c.object, sev, code, field, value, allowed, reason, mend))
}

func problem(o source.Object, sev source.Severity, code, field, value, allowed, reason, mend string) source.Problem {
	return o.Problem(source.Problem{
		Code: code, Severity: sev, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
	})
}

// question asks as a client of the object's own namespace of which nothing more
// is known.
func (c *checker) question(port uint16) *question {
	return &question{world: c.world, client: model.Client{Namespace: c.object.Namespace}, port: port}
}

// services are those that its hosts name.
func (c *checker) services() []*model.Service {
	var out []*model.Service
	for _, h := range c.v.Spec.GetHosts() {
		if name, ok := model.RuleHost(h, c.object.Namespace); ok {
			if s := c.world.Service(name.Namespace, name.Name); s != nil {
				out = append(out, s)
			}
		}
	}
	return out
}

func (c *checker) hosts() {
	seen := map[string]bool{}
	for i, h := range c.v.Spec.GetHosts() {
		field, full := fmt.Sprintf("spec.hosts[%d]", i), fullHost(h, c.object.Namespace)
		if seen[full] {
			c.add(source.Warning, "duplicate-host", field, h, "", "this host stands twice", "")
			continue
		}
		seen[full] = true
		if !strings.Contains(h, "*") {
			c.host(field, h, full)
		}
		c.rivals(field, full)
	}
}

// host looks for a Service behind a host.
func (c *checker) host(field, h, full string) {
	name, ok := model.RuleHost(h, c.object.Namespace)
	if ok && c.world.Service(name.Namespace, name.Name) != nil {
		return
	}
	if ok {
		c.add(source.Warning, "unknown-host", field, h, "", fmt.Sprintf("there is no Service %s in namespace %s", name.Name, name.Namespace), c.world.NearService(name))
		return
	}
	if a, short := model.ParseAuthority(full, ""); short && c.world.Service(a.Service.Namespace, a.Service.Name) != nil {
		c.add(source.Warning, "unknown-host", field, h, "", "a host with a dot must be full; this is not taken for a Service", "write "+a.Service.Host())
		return
	}
	c.add(source.Info, "no-service", field, h, "", "no Service has this host; callers that name it go by these rules", "")
}

// rivals are other VirtualServices for the same host, one of which holds.
func (c *checker) rivals(field, full string) {
	about := c.world.HostRules(full)
	if name, ok := model.RuleHost(full, ""); ok {
		about = c.world.Rules(name)
	}
	for _, o := range about {
		v, ok := o.Value.(*source.IstioVirtualService)
		if !ok || o.Key == c.object.Key || !boundToMesh(v) || !slices.ContainsFunc(v.Spec.GetHosts(), func(h string) bool { return fullHost(h, o.Namespace) == full }) {
			continue
		}
		mine, theirs := exported(c.v.Spec.GetExportTo(), c.object.Namespace, o.Namespace), exported(v.Spec.GetExportTo(), o.Namespace, c.object.Namespace)
		if mine == toOthers && theirs == toOthers {
			continue // nobody is known to see both
		}
		q := c.question(0)
		q.hosts, q.objects = []string{full}, []source.Object{c.object, o}
		if list := q.candidates(); len(list) == 2 && list[0].object.Key == o.Key {
			c.add(source.Warning, "same-host", field, full, "", whyLater(&list[0], &list[1]), "write both into one, or delegate from one to the other")
		}
	}
}

// delegation tells delegates that are not there, not meant to be ones, or that
// do not fit, and those that nobody names.
func (c *checker) delegation() {
	if len(c.v.Spec.GetHosts()) > 0 {
		q := c.question(0)
		q.join(c.object)
		for _, l := range q.losers {
			c.out = append(c.out, problem(c.named(l.Origin.Object), source.Error, "bad-delegate", l.Origin.Field, "", "", l.Reason, ""))
		}
		return
	}
	if c.delegated[c.object.Key] {
		return
	}
	c.add(source.Warning, "unused-delegate", "spec.hosts", "", "hosts, or another VirtualService that delegates to this", "without hosts this is a delegate, and nobody names it", "")
}

// named is a VirtualService by what it is called in an origin.
func (c *checker) named(name string) source.Object {
	for _, o := range c.all {
		if o.String() == name {
			return o
		}
	}
	return c.object
}

// protocols looks for rules of a kind that no port of the services takes.
func (c *checker) protocols() {
	for _, s := range c.services() {
		opaque, http := 0, 0
		for i := range s.Ports {
			switch p := s.Ports[i].Protocol.Protocol; {
			case p.Opaque():
				opaque++
			case p.HTTP():
				http++
			}
		}
		switch n := len(s.Ports); {
		case n > 0 && opaque == n && len(c.v.Spec.GetHttp()) > 0:
			c.add(source.Warning, "wrong-protocol", "spec.http", "", "", fmt.Sprintf("%s has no port of HTTP, so these rules have no effect", s.Object), "write tcp rules, or say appProtocol: http at the port")
		case n > 0 && http == n && len(c.v.Spec.GetTcp()) > 0:
			c.add(source.Warning, "wrong-protocol", "spec.tcp", "", "", fmt.Sprintf("all ports of %s are of HTTP, so these rules have no effect", s.Object), "write http rules")
		}
	}
}

// bytes looks at rules for connections.
func (c *checker) bytes() {
	for i := range c.v.Spec.GetTls() {
		c.add(source.Warning, "not-supported", fmt.Sprintf("spec.tls[%d]", i), "", "", noSNI+"; they go to the service that was called", "")
	}
	for i, r := range c.v.Spec.GetTcp() {
		at := fmt.Sprintf("spec.tcp[%d]", i)
		for k, m := range r.GetMatch() {
			if m.GetSourceSubnet() != "" {
				c.add(source.Warning, "not-supported", fmt.Sprintf("%s.match[%d].sourceSubnet", at, k), m.GetSourceSubnet(), "", "addresses of callers are not compared, so this never matches", "use sourceLabels")
			}
		}
		for k, d := range r.GetRoute() {
			c.destination(c.object, fmt.Sprintf("%s.route[%d].destination", at, k), d.GetDestination())
		}
	}
}

// lost tells what a rule says and proxies cannot do.
func (c *checker) lost(o origin.Origin, in source.Object, reason string) {
	c.out = append(c.out, problem(in, source.Error, "header-not-changed", o.Field, "", "", reason, ""))
}
