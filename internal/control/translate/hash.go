package translate

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// hashPolicy is by what of a request its endpoint is chosen, nil where the
// backends are not balanced so. Envoy hashes for a route and not for a cluster:
// what several backends want is put together, each once.
func hashPolicy(v View, client model.Client, r *routing.Rule) []*routev3.RouteAction_HashPolicy {
	var out []*routev3.RouteAction_HashPolicy
	for i := range r.Backends {
		b := &r.Backends[i]
		if b.Invalid != "" || !v.Policy.MayHash(b.Service) {
			continue
		}
		e, err := v.Policy.Effective(client, b.Service, b.Port, b.Subset)
		if err != nil || e.Hash == nil {
			continue
		}
		h := hashOf(e.Hash)
		known := false
		for _, have := range out {
			known = known || proto.Equal(have, h)
		}
		if !known {
			out = append(out, h)
		}
	}
	return out
}

func hashOf(h *policy.Hash) *routev3.RouteAction_HashPolicy {
	switch h.By.Value {
	case policy.HashHeader:
		return &routev3.RouteAction_HashPolicy{PolicySpecifier: &routev3.RouteAction_HashPolicy_Header_{
			Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: h.Name.Value},
		}}
	case policy.HashQuery:
		return &routev3.RouteAction_HashPolicy{PolicySpecifier: &routev3.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: h.Name.Value},
		}}
	case policy.HashCookie:
		c := &routev3.RouteAction_HashPolicy_Cookie{Name: h.Name.Value, Path: h.CookiePath.Value}
		if h.CookieTTL.IsSet() {
			c.Ttl = durationpb.New(h.CookieTTL.Value)
		}
		for _, a := range h.CookieAttributes.Value {
			c.Attributes = append(c.Attributes, &routev3.RouteAction_HashPolicy_CookieAttribute{Name: a.Name, Value: a.Value})
		}
		return &routev3.RouteAction_HashPolicy{PolicySpecifier: &routev3.RouteAction_HashPolicy_Cookie_{Cookie: c}}
	default:
		return &routev3.RouteAction_HashPolicy{PolicySpecifier: &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
		}}
	}
}
