package translate

import (
	"math"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// RouteMetadata of a route: who wrote it, and what Envoy's fields cannot say.
const RouteMetadata = "recloser.route"

// rule makes a route of a rule.
func rule(v View, client model.Client, r *routing.Rule) *routev3.Route {
	out := &routev3.Route{
		Name:     r.Name,
		Match:    match(r.Match),
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{RouteMetadata: routeMetadata(r)}},
	}
	out.RequestHeadersToAdd, out.RequestHeadersToRemove = headerEdits(r.RequestHeaders)
	out.ResponseHeadersToAdd, out.ResponseHeadersToRemove = headerEdits(r.ResponseHeaders)
	out.TypedPerFilterConfig = filterConfigs(r)
	switch {
	case r.Redirect != nil:
		out.Action = &routev3.Route_Redirect{Redirect: redirect(r.Redirect, r.Match)}
	case r.Direct != nil:
		out.Action = &routev3.Route_DirectResponse{DirectResponse: directResponse(r.Direct)}
	default:
		out.Action = &routev3.Route_Route{Route: forward(v, client, r)}
	}
	return out
}

func routeMetadata(r *routing.Rule) *structpb.Struct {
	kv := []string{"dialect", string(r.Dialect)}
	if r.Origin.Object != "" {
		kv = append(kv, "object", r.Origin.Object, "field", r.Origin.Field)
	}
	if d := r.Timeouts.Response; d.IsSet() && d.Value > 0 {
		kv = append(kv, "response_timeout", d.Value.String())
	}
	if r.Retry != nil && r.Retry.AnyMethod.Value {
		kv = append(kv, "any_method", "true")
	}
	if r.Failures.IsSet() {
		kv = append(kv, "failure_statuses", statusRanges(r.Failures.Value))
	}
	if r.Retry != nil && r.Retry.BackoffMin.Value > 0 {
		kv = append(kv, "retry_backoff_min", r.Retry.BackoffMin.Value.String())
	}
	return fields(kv...)
}

// statusRanges are ranges as "404,500-599"; none is "none".
func statusRanges(list []routing.StatusRange) string {
	if len(list) == 0 {
		return "none"
	}
	var parts []string
	for _, r := range list {
		s := strconv.Itoa(int(r.First))
		if r.Last != r.First {
			s += "-" + strconv.Itoa(int(r.Last))
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ",")
}

// forward is the action of a rule with backends.
func forward(v View, client model.Client, r *routing.Rule) *routev3.RouteAction {
	out := &routev3.RouteAction{
		ClusterNotFoundResponseCode: missing(r.MissingStatus),
		// Unset means 15 s to Envoy, zero none.
		Timeout:     durationpb.New(r.Timeouts.Request.Value),
		RetryPolicy: retryPolicy(r),
		HashPolicy:  hashPolicy(v, client, r),
	}
	if r.Timeouts.Idle.IsSet() {
		out.IdleTimeout = durationpb.New(r.Timeouts.Idle.Value)
	}
	backends(out, r.Backends)
	for i := range r.Mirrors {
		out.RequestMirrorPolicies = append(out.RequestMirrorPolicies, mirror(&r.Mirrors[i]))
	}
	rewrite(out, r.Rewrite, r.Match)
	return out
}

func missing(status uint32) routev3.RouteAction_ClusterNotFoundResponseCode {
	if status == 503 {
		return routev3.RouteAction_SERVICE_UNAVAILABLE
	}
	return routev3.RouteAction_INTERNAL_SERVER_ERROR
}

// backends sets where a route leads.
func backends(out *routev3.RouteAction, list []routing.Backend) {
	var total uint64
	for i := range list {
		total += uint64(list[i].Weight.Value)
	}
	if total == 0 {
		out.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: invalidCluster(nil)}
		return
	}
	if b := &list[0]; len(list) == 1 && len(b.RequestHeaders)+len(b.ResponseHeaders) == 0 {
		out.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: backendCluster(b)}
		return
	}
	scale := float64(math.MaxUint32) / float64(total)
	weighted := &routev3.WeightedCluster{}
	for i := range list {
		b := &list[i]
		w := b.Weight.Value
		if scale < 1 { // the sum is bounded to 32 bits in Envoy
			w = uint32(float64(w) * scale)
		}
		c := &routev3.WeightedCluster_ClusterWeight{Name: backendCluster(b), Weight: wrapperspb.UInt32(w)}
		c.RequestHeadersToAdd, c.RequestHeadersToRemove = headerEdits(b.RequestHeaders)
		c.ResponseHeadersToAdd, c.ResponseHeadersToRemove = headerEdits(b.ResponseHeaders)
		weighted.Clusters = append(weighted.Clusters, c)
	}
	out.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
}

// backendCluster is the cluster of a backend. That of an invalid one does not
// exist, so that its requests are refused.
func backendCluster(b *routing.Backend) string {
	if b.Invalid != "" {
		return invalidCluster(b)
	}
	name := ClusterName(b.Service, b.Port, b.Subset)
	if b.Via != (model.Name{}) {
		name += viaPart + b.Via.Name + "." + b.Via.Namespace
	}
	return name
}

// invalidCluster is the name of a cluster that does not exist. It ends with the
// reason, which a proxy of this mesh tells to callers; b is nil where there is no
// backend that has a weight.
func invalidCluster(b *routing.Backend) string {
	if b == nil {
		return invalidPrefix + "0||no-backend|no backend of the route has a weight"
	}
	return invalidPrefix + strconv.Itoa(int(b.Port)) + "|" + b.Subset + "|" + b.Service.Name + "." + b.Service.Namespace + "|" + printable(b.Invalid)
}

// printable is a text as it can be in a name, and be sent in a header.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func mirror(m *routing.Mirror) *routev3.RouteAction_RequestMirrorPolicy {
	return &routev3.RouteAction_RequestMirrorPolicy{
		Cluster:         backendCluster(&m.Backend),
		RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: percent(m.Percent.Value)},
		// The service behind is asked what the caller asked for.
		DisableShadowHostSuffixAppend: true,
	}
}

// percent is a percentage to four decimals.
func percent(p float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{
		Numerator:   uint32(math.Round(min(max(p, 0), 100) * 10_000)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}

// headerEdits are the edits as Envoy does them: removals first.
func headerEdits(edits []routing.HeaderEdit) (add []*corev3.HeaderValueOption, remove []string) {
	for i := range edits {
		e := &edits[i]
		if e.Op == routing.Remove {
			remove = append(remove, e.Name)
			continue
		}
		o := &corev3.HeaderValueOption{
			Header:         &corev3.HeaderValue{Key: e.Name, Value: formatted(e)},
			KeepEmptyValue: true,
			AppendAction:   corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
		}
		if e.Op == routing.Set {
			o.AppendAction = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
		add = append(add, o)
	}
	return add, remove
}
