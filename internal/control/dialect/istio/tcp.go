package istio

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// tcp is the first tcp rule of a VirtualService for the client and the port.
// Nothing of it depends on what is in a connection.
func (q *question) tcp(o source.Object) []routing.Rule {
	spec := o.Value.(*source.IstioVirtualService).Spec
	for i := range spec.GetTls() {
		q.lose(origin.Of(o, fmt.Sprintf("spec.tls[%d]", i)), "%s", noSNI)
	}
	for i, r := range spec.GetTcp() {
		at := fmt.Sprintf("spec.tcp[%d]", i)
		if !q.anyL4(o, at, r.GetMatch()) {
			continue
		}
		rule := routing.Rule{
			Name:    fmt.Sprintf("virtualservice/%s/%s/tcp/%d", o.Namespace, o.Name, i),
			Dialect: routing.Istio, Origin: origin.Of(o, at),
		}
		for k, d := range r.GetRoute() {
			field := fmt.Sprintf("%s.route[%d]", at, k)
			b := q.backend(o, field+".destination", d.GetDestination())
			b.Weight = weightOf(o, field, d.GetWeight(), len(r.GetRoute()))
			rule.Backends = append(rule.Backends, b)
		}
		for k := i + 1; k < len(spec.GetTcp()); k++ {
			q.lose(origin.Of(o, fmt.Sprintf("spec.tcp[%d]", k)), "%s comes before it, and connections are not looked into", at)
		}
		return []routing.Rule{rule}
	}
	return nil
}

// noSNI is why tls rules have no effect.
const noSNI = "the name that a caller of TLS asks for is not looked at, so that connections cannot be told apart by it"

// anyL4 says whether one of the matches is for the client and the port, and why
// the others are not.
func (q *question) anyL4(o source.Object, at string, matches []*networkingv1alpha3.L4MatchAttributes) bool {
	if len(matches) == 0 {
		return true
	}
	found := false
	for i, m := range matches {
		why := q.appliesTo(m.GetPort(), m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace())
		switch {
		case why != "":
		case m.GetSourceSubnet() != "":
			why = "addresses of callers are not compared"
		case !q.inSubnets(m.GetDestinationSubnets()):
			why = "no address of the service is within " + strings.Join(m.GetDestinationSubnets(), ", ")
		}
		if why == "" {
			found = true
			continue
		}
		q.lose(origin.Of(o, fmt.Sprintf("%s.match[%d]", at, i)), "%s", why)
	}
	return found
}

// inSubnets says whether an address of the service is within one of the
// subnets. None is all.
func (q *question) inSubnets(subnets []string) bool {
	if len(subnets) == 0 {
		return true
	}
	name, _ := model.RuleHost(q.hosts[0], "")
	s := q.world.Service(name.Namespace, name.Name)
	if s == nil {
		return false
	}
	for _, raw := range s.ClusterIPs() {
		ip, err := netip.ParseAddr(raw)
		if err == nil && slices.ContainsFunc(subnets, func(subnet string) bool { return within(subnet, ip) }) {
			return true
		}
	}
	return false
}

func within(subnet string, ip netip.Addr) bool {
	if p, err := netip.ParsePrefix(subnet); err == nil {
		return p.Contains(ip)
	}
	a, err := netip.ParseAddr(subnet)
	return err == nil && a == ip
}
