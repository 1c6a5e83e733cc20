package gateway

import (
	"fmt"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// rule makes the rules of one written rule: one for each match and host name,
// since each has its own place in the order.
func (c *compiler) rule() {
	first := len(c.faults)
	matches := c.matches()
	out := routing.Rule{Dialect: routing.GatewayAPI, Origin: origin.Of(c.route.Object, c.spec.field)}
	c.filters(&out, c.spec.field+".filters", c.spec.filters, true)
	if out.Redirect == nil && c.refused(first) == nil {
		out.Backends = c.backends(&out)
		if c.route.grpc { // 500 is every other's
			out.MissingStatus = c.refusalStatus()
		}
	}
	out.Timeouts = c.timeouts()
	out.Retry = c.retry()
	if c.spec.session != nil {
		c.note(source.Warning, "not-supported", c.spec.field+".sessionPersistence", "", "",
			"sessions are not kept by routes here; requests are balanced as without it",
			"a DestinationRule with loadBalancer.consistentHash keeps a caller at an endpoint")
	}
	if f := c.refused(first); f != nil {
		out = routing.Rule{Dialect: routing.GatewayAPI, Origin: out.Origin, Direct: &routing.Direct{
			Origin: origin.Of(c.route.Object, f.Field), Status: c.refusalStatus(),
			Body: []byte(c.route.String() + ": " + f.message() + "\n"),
		}}
	}
	c.place(out, matches)
}

// place adds a rule for each match and host name.
func (c *compiler) place(rule routing.Rule, matches []match) {
	for i := range matches {
		m := &matches[i]
		rule := rule
		rule.Name = c.route.name() + "/" + c.spec.name
		if len(c.spec.matches) > 1 {
			rule.Name += fmt.Sprintf("#%d", m.index)
			rule.Origin.Field = c.spec.matches[m.index].field
		}
		rule.Match = m.Match
		if len(c.route.hostnames) == 0 {
			c.entries = append(c.entries, entry{m.rank, rule})
			continue
		}
		name := rule.Name
		for _, host := range c.route.hostnames {
			if len(c.route.hostnames) > 1 {
				rule.Name = name + "@" + string(host)
			}
			rule.Match = m.And(routing.Match{Headers: []routing.HeaderMatch{hostMatch(string(host))}})
			c.entries = append(c.entries, entry{m.rank.of(string(host)), rule})
		}
	}
}

func (c *compiler) timeouts() routing.Timeouts {
	var out routing.Timeouts
	t := c.spec.timeouts
	if t == nil {
		return out
	}
	out.Request = c.duration(c.spec.field+".timeouts.request", t.Request)
	out.Backend = c.duration(c.spec.field+".timeouts.backendRequest", t.BackendRequest)
	if b, r := out.Backend, out.Request; b.Value > r.Value && r.Value > 0 {
		c.note(source.Warning, "timeout-order", c.spec.field+".timeouts.backendRequest", b.Value.String(), "at most "+r.Value.String(),
			"one try may not last longer than the whole request, which ends it", "")
	}
	return out
}

// duration is one of GEP-2257. Zero is a bound that is switched off.
func (c *compiler) duration(field string, d *gatewayv1.Duration) origin.Value[time.Duration] {
	if d == nil {
		return origin.Value[time.Duration]{}
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil || v < 0 {
		c.unsupported(field, string(*d), `a duration such as "1m30s"`, "this is no duration")
		return origin.Value[time.Duration]{}
	}
	return origin.Said(v, c.route.Object, field)
}

// retryOn are the failures of a connection that a retry stanza is for, besides
// its codes: disconnect, reset, timeout, TCP failure (HTTPRouteRetry). To Envoy
// "reset" is also an endpoint that does not answer within the time for a try.
var retryOn = []string{"connect-failure", "refused-stream", "reset"}

// defaultAttempts is Envoy's and Linkerd's; Gateway API leaves it to whoever
// carries it out.
const defaultAttempts = 1

func (c *compiler) retry() *routing.Retry {
	r := c.spec.retry
	if r == nil {
		return nil
	}
	o, field := c.route.Object, c.spec.field+".retry"
	out := &routing.Retry{
		Origin:   origin.Of(o, field),
		Attempts: origin.Default[uint32](defaultAttempts, "Recloser: one more attempt"),
		On:       origin.Default(retryOn, "Gateway API: a retry stanza is also for failures of connections"),
		// The stanza has no word for methods, and whoever names the codes means
		// the rule's requests, all of them (GEP-1731).
		AnyMethod:   origin.Said(true, o, field),
		BackoffMin:  c.duration(field+".backoff", r.Backoff),
		BackoffBase: c.duration(field+".backoff", r.Backoff),
	}
	if r.Attempts != nil {
		out.Attempts = origin.Said(uint32(max(*r.Attempts, 0)), o, field+".attempts")
	}
	var codes []routing.StatusRange
	for _, code := range r.Codes {
		codes = append(codes, routing.StatusRange{First: uint32(code), Last: uint32(code)})
	}
	if len(codes) > 0 {
		out.Statuses = origin.Said(codes, o, field+".codes")
	}
	return out
}
