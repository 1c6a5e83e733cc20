package linkerd

import (
	"fmt"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// CheckAnnotations is what is wrong with the retry and timeout annotations of a
// Service, an HTTPRoute or a GRPCRoute.
func CheckAnnotations(o source.Object) []source.Problem {
	_, problems := read(o)
	if !isRoute(o.Kind) {
		return problems
	}
	r := &reader{finder: finder{object: o, out: problems}, values: o.Meta().GetAnnotations()}
	other := retryGRPC
	if o.Kind == source.GRPCRoute {
		other = retryHTTP
	}
	if _, ok := r.values[other]; ok {
		r.annotation(other, source.Info, "linkerd-differs", "Linkerd does not read this from an object of this kind; here it holds", "", "")
	}
	return r.out
}

// Check is what is wrong with a ServiceProfile, or with the annotations of a
// route, and where Linkerd would do otherwise.
func Check(w *model.World, o source.Object) []source.Problem {
	if o.Kind != source.ServiceProfile {
		return CheckAnnotations(o)
	}
	c := &checker{finder: finder{object: o}, world: w, profile: profileOf(o)}
	service, ok := c.name()
	c.routes()
	c.budget()
	if len(c.profile.spec.OpaquePorts) > 0 {
		c.find("spec.opaquePorts", "", source.Warning, "ignored-field", "this is not read from a ServiceProfile", "", "set "+model.OpaquePortsAnnotation+" on the Service")
	}
	if ok {
		c.destinations(service)
		c.switchedOff(service)
	}
	return c.out
}

// checker looks at one ServiceProfile.
type checker struct {
	finder
	world   *model.World
	profile *profile
}

// name checks that the profile is about a service.
func (c *checker) name() (*model.Service, bool) {
	const allowed = "NAME.NAMESPACE.svc." + model.Domain
	host := c.object.Name
	name, ok := model.RuleHost(host, c.object.Namespace)
	if !ok || !strings.Contains(host, ".") {
		mend := ""
		short, ns, _ := strings.Cut(host, ".")
		if ns == "" {
			ns = c.object.Namespace
		}
		ns, _, _ = strings.Cut(ns, ".")
		if s := c.world.Service(ns, short); s != nil {
			mend = "name it " + s.Host()
		}
		c.find("metadata.name", host, source.Error, "bad-profile-name", "a ServiceProfile is for the service whose full host name it has; this is for none", allowed, mend)
		return nil, false
	}
	if s := c.world.Service(name.Namespace, name.Name); s != nil {
		return s, true
	}
	var hosts []string
	for _, s := range c.world.Services() {
		hosts = append(hosts, s.Host())
	}
	c.find("metadata.name", host, source.Warning, "unknown-host", "there is no such service, so this profile does nothing", "", source.Meant(host, hosts))
	return nil, false
}

func (c *checker) routes() {
	_, bad := c.profile.routes()
	for _, b := range bad {
		c.condition(b.err, "; the route is left out")
	}
	for i := range c.profile.spec.Routes {
		r := route{field: fmt.Sprintf("spec.routes[%d]", i), said: &c.profile.spec.Routes[i]}
		if r.said.Name == "" {
			c.find(r.field+".name", "", source.Warning, "route-without-name", "Linkerd refuses a profile with a route without a name; here it is called by its place", "", "name it")
		}
		if _, err := c.profile.timeout(&r); err != nil {
			c.find(r.field+".timeout", r.said.Timeout, source.Error, "bad-duration", err.Error()+"; it is as if this were not there", "a duration as Go writes it, such as 300ms or 1m30s", "")
		}
		for j := range r.said.ResponseClasses {
			field := fmt.Sprintf("%s.responseClasses[%d].condition", r.field, j)
			if err := checkAnswer(r.said.ResponseClasses[j].Condition, field); err != nil {
				c.condition(err, "; the class is left out")
			}
		}
		c.regexes(r.said.Condition, r.field+".condition")
	}
}

func (c *checker) condition(err *conditionError, follows string) {
	c.find(err.field, err.value, source.Error, err.code, err.reason+follows, err.allowed, err.mend)
}

// regexes looks for expressions that Linkerd anchors in halves.
func (c *checker) regexes(p *source.ProfileCondition, field string) {
	if p == nil {
		return
	}
	if expr := strings.TrimSpace(p.PathRegex); halfAnchored(expr) {
		c.find(field+".pathRegex", p.PathRegex, source.Warning, "half-anchored-regex",
			"^ and $ hold for the first and the last alternative alone, here as in Linkerd, so paths that only begin or end so match", "", "write ("+expr+")")
	}
	for i := range p.All {
		c.regexes(&p.All[i], fmt.Sprintf("%s.all[%d]", field, i))
	}
	for i := range p.Any {
		c.regexes(&p.Any[i], fmt.Sprintf("%s.any[%d]", field, i))
	}
	c.regexes(p.Not, field+".not")
}

func (c *checker) budget() {
	if c.profile.spec.RetryBudget == nil {
		return
	}
	_, errs := c.profile.budget()
	for _, e := range errs {
		c.find(e.field, e.value, source.Error, "bad-retry-budget", e.err.Error(), e.allowed, "")
	}
	if r := c.profile.spec.RetryBudget.RetryRatio; r != nil && *r > 1 && *r <= maxRatio {
		c.find("spec.retryBudget.retryRatio", fmt.Sprint(*r), source.Warning, "retry-storm", "more retries than requests are allowed; here 100% is the most", "0 to 1", "set 0.2")
	}
}

func (c *checker) destinations(service *model.Service) {
	list := c.profile.spec.DstOverrides
	if len(list) == 0 {
		return
	}
	sum := uint64(0)
	for i, w := range weights(list) {
		sum += uint64(w)
		field := fmt.Sprintf("spec.dstOverrides[%d]", i)
		if q := list[i].Weight; q != nil && q.Sign() < 0 {
			c.find(field+".weight", q.String(), source.Error, "bad-weight", "a weight cannot be negative; it counts as 0", "0 or more", "")
		}
		c.authority(service, field+".authority", list[i].Authority)
	}
	if sum == 0 {
		c.find("spec.dstOverrides", "", source.Warning, "zero-weights", "all weights are 0, so the service answers itself", "", "give one a weight")
	}
}

func (c *checker) authority(service *model.Service, field, authority string) {
	const follows = "; its share of the requests is answered with 500"
	name, port, err := parseAuthority(authority, service.Namespace)
	if err != nil {
		c.find(field, authority, source.Error, "bad-authority", "this is not the name of a service"+follows, "NAME.NAMESPACE.svc."+model.Domain+", with an optional :PORT", "")
		return
	}
	s := c.world.Service(name.Namespace, name.Name)
	switch {
	case s == nil:
		c.find(field, authority, source.Error, "no-such-backend", fmt.Sprintf("there is no service %s in namespace %s", name.Name, name.Namespace)+follows, "", c.world.NearService(name))
	case port != 0 && s.Port(port) == nil:
		c.find(field, authority, source.Error, "no-such-port", "the service has no such port"+follows, s.PortList(), "")
	case port == 0:
		for i := range service.Ports {
			if s.Port(service.Ports[i].Number) == nil {
				err := fmt.Sprintf("requests to port %d go to the same port there, and it has none", service.Ports[i].Number)
				c.find(field, authority, source.Warning, "no-such-port", err+follows, s.PortList(), "write a :PORT")
			}
		}
	}
}

// switchedOff tells what a profile switches off in Linkerd, and not here.
func (c *checker) switchedOff(service *model.Service) {
	if !c.profile.says() {
		return
	}
	var off []string
	for _, o := range c.world.Rules(service.Name) {
		if isRoute(o.Kind) {
			off = append(off, o.String())
		}
	}
	for _, name := range append([]string{"balancer.linkerd.io/failure-accrual"}, Annotations()...) {
		if _, ok := service.Spec.Annotations[name]; ok {
			off = append(off, name+" of "+service.Object.String())
		}
	}
	if len(off) > 0 {
		c.find("spec", "", source.Info, "linkerd-differs", "in Linkerd this profile switches off "+strings.Join(off, ", ")+"; here all of it holds together", "", "")
	}
}
