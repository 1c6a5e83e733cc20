package istio

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func (c *checker) http(w written) {
	for i, m := range w.GetMatch() {
		c.match(fmt.Sprintf("%s.match[%d]", w.at, i), m)
	}
	c.editsOf(w.at+".headers", w.GetHeaders())
	for i, d := range w.GetRoute() {
		field := fmt.Sprintf("%s.route[%d]", w.at, i)
		c.destination(w.object, field+".destination", d.GetDestination())
		c.editsOf(field+".headers", d.GetHeaders())
		if len(w.GetRoute()) > 1 && authorityOf(d.GetHeaders()) != "" {
			c.add(source.Warning, "not-supported", field+".headers.request", authorityOf(d.GetHeaders()), "",
				"the authority can be set for all destinations of a rule only, so this has no effect", "set it by rewrite.authority")
		}
	}
	if w.GetMirror() != nil {
		c.destination(w.object, w.at+".mirror", w.GetMirror())
	}
	for i, m := range w.GetMirrors() {
		c.destination(w.object, fmt.Sprintf("%s.mirrors[%d].destination", w.at, i), m.GetDestination())
	}
	c.fault(w)
	c.retries(w)
	c.rewrite(w)
	c.deprecated(w)
}

func (c *checker) match(at string, m *httpMatch) {
	for _, group := range []struct {
		name   string
		values map[string]*textMatch
	}{{"headers", m.GetHeaders()}, {"withoutHeaders", m.GetWithoutHeaders()}} {
		for _, k := range slices.Sorted(maps.Keys(group.values)) {
			if strings.HasPrefix(k, claims) {
				c.add(source.Warning, "claims-match", at+"."+group.name, k, "names of headers", "claims of tokens are looked at by gateways only, so this never matches", "")
			}
		}
	}
	if m.GetStatPrefix() != "" {
		c.add(source.Info, "no-effect", at+".statPrefix", m.GetStatPrefix(), "", "metrics are told apart by the names of rules", "give the rule a name")
	}
	services := c.services()
	known := slices.ContainsFunc(services, func(s *model.Service) bool { return s.Port(uint16(m.GetPort())) != nil })
	if m.GetPort() != 0 && len(services) > 0 && len(services) == len(c.v.Spec.GetHosts()) && !known {
		c.add(source.Warning, "unknown-port", at+".port", strconv.Itoa(int(m.GetPort())), "", "no host of this VirtualService has this port, so this never matches; ports are those of Services", "")
	}
}

// editsOf tells changes of headers that proxies cannot make.
func (c *checker) editsOf(at string, h *networkingv1alpha3.Headers) {
	q := c.question(0)
	q.edits(c.object, at, h)
	for _, l := range q.losers {
		c.lost(l.Origin, c.object, l.Reason)
	}
}

// destination looks for the Service, the port and the subset.
func (c *checker) destination(o source.Object, field string, d *networkingv1alpha3.Destination) {
	for _, port := range c.ports(d) {
		b := c.question(port).backend(o, field, d)
		if b.Invalid == "" {
			continue
		}
		mend := ""
		if name, ok := model.RuleHost(d.GetHost(), o.Namespace); !ok {
			if a, short := model.ParseAuthority(d.GetHost(), ""); short && a.Service != (model.Name{}) {
				mend = "write " + a.Service.Host()
			}
		} else if c.world.Service(name.Namespace, name.Name) == nil {
			mend = c.world.NearService(name)
		} else if d.GetSubset() != "" && c.world.Service(name.Namespace, name.Name).Port(b.Port) != nil {
			mend = "add the subset to a DestinationRule for " + name.Host()
		}
		c.add(source.Error, "unknown-destination", field, d.GetHost(), "", b.Invalid+"; its share of the requests is refused", mend)
		return
	}
}

// ports are those that a destination without a port may be asked for.
func (c *checker) ports(d *networkingv1alpha3.Destination) []uint16 {
	if d.GetPort() != nil {
		return []uint16{0}
	}
	var out []uint16
	for _, s := range c.services() {
		for i := range s.Ports {
			out = append(out, s.Ports[i].Number)
		}
	}
	if len(out) == 0 {
		out = append(out, 80)
	}
	return out
}

func (c *checker) fault(w written) {
	f := w.GetFault()
	if f == nil {
		return
	}
	if w.GetTimeout() != nil || w.GetRetries().GetAttempts() > 0 {
		c.add(source.Info, "fault-keeps-retries", w.at+".fault", "", "",
			"Istio switches timeouts and retries off where there is a fault; here they stay, so that what is tested is what holds", "")
	}
	const mend = "write percentage: {value: 100} for all requests"
	if d := f.GetDelay(); d != nil && d.GetPercentage() == nil && d.GetPercent() == 0 { //nolint:staticcheck // old files have it
		c.add(source.Warning, "fault-without-share", w.at+".fault.delay", "", "percentage", "without a percentage no request is delayed", mend)
	}
	if a := f.GetAbort(); a != nil && a.GetPercentage() == nil {
		c.add(source.Warning, "fault-without-share", w.at+".fault.abort", "", "percentage", "without a percentage no request is answered by it", mend)
	}
}

func (c *checker) retries(w written) {
	r := w.GetRetries()
	if r.GetRetryRemoteLocalities() != nil {
		c.add(source.Info, "no-effect", w.at+".retries.retryRemoteLocalities", strconv.FormatBool(r.RetryRemoteLocalities.GetValue()), "",
			"a retry goes to an endpoint that has not failed yet, near or far as failover has it", "")
	}
	for on := range strings.SplitSeq(r.GetRetryOn(), ",") {
		if strings.TrimSpace(on) == "retriable-headers" {
			c.add(source.Info, "no-effect", w.at+".retries.retryOn", "retriable-headers", "",
				"this is for answers with headers that are named elsewhere, which a VirtualService has no field for", "")
		}
	}
}

// rewrite looks at where prefixes end: what is replaced are characters.
func (c *checker) rewrite(w written) {
	to := w.GetRewrite().GetUri()
	if to == "" {
		return
	}
	prefixes := []string{"/"}
	if n := len(w.GetMatch()); n > 0 {
		prefixes = prefixes[:0]
		for _, m := range w.GetMatch() {
			switch u := m.GetUri().GetMatchType().(type) {
			case nil:
				prefixes = append(prefixes, "/")
			case *networkingv1alpha3.StringMatch_Prefix:
				prefixes = append(prefixes, u.Prefix)
			}
		}
	}
	for _, p := range prefixes {
		has, gets := strings.HasSuffix(p, "/"), strings.HasSuffix(to, "/")
		if has == gets {
			continue
		}
		example := p + "x"
		mend := "end both with a slash, or neither"
		if !has {
			example = p + "/x"
		}
		c.add(source.Warning, "rewrite-slash", w.at+".rewrite.uri", to, "",
			fmt.Sprintf("it takes the place of %s character by character, so that %s becomes %s", p, example, to+strings.TrimPrefix(example, p)), mend)
		return
	}
}

func (c *checker) deprecated(w written) {
	tell := func(set bool, field, mend string) {
		if set {
			c.add(source.Info, "deprecated-field", w.at+field, "", "", "Istio has given this field up; it still works", "write "+mend)
		}
	}
	tell(w.GetMirrorPercent() != nil, ".mirrorPercent", "mirrorPercentage")                      //nolint:staticcheck // old files have it
	tell(w.GetFault().GetDelay().GetPercent() != 0, ".fault.delay.percent", "percentage")        //nolint:staticcheck // as above
	tell(len(w.GetCorsPolicy().GetAllowOrigin()) > 0, ".corsPolicy.allowOrigin", "allowOrigins") //nolint:staticcheck // as above
}
