package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// claims is what the names of headers begin with that stand for a token's
// claims. Istio has them at gateways only.
const claims = "@request.auth.claims"

// applies says why a match is not for the client or the port, or nothing: what
// is known before there is a request.
func (q *question) applies(m *httpMatch) (why string) {
	for _, k := range slices.Concat(slices.Collect(maps.Keys(m.GetHeaders())), slices.Collect(maps.Keys(m.GetWithoutHeaders()))) {
		if strings.HasPrefix(k, claims) {
			return "it matches claims of a token, which only gateways do"
		}
	}
	return q.appliesTo(m.GetPort(), m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace())
}

// appliesTo is that for the parts that http and tcp have in common. Where
// gateways are named, labels and namespace of the source do not count.
func (q *question) appliesTo(port uint32, gateways []string, labels map[string]string, namespace string) (why string) {
	switch {
	case port != 0 && port != uint32(q.port):
		return fmt.Sprintf("it is for port %d, and this is %d", port, q.port)
	case len(gateways) > 0:
		if !slices.Contains(gateways, source.MeshGateway) {
			return "it is for gateways (" + strings.Join(gateways, ", ") + "), and not for the mesh"
		}
		return ""
	case namespace != "" && namespace != q.client.Namespace:
		return "it is for callers in namespace " + namespace
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		switch have, ok := q.labels[k]; {
		case q.labels == nil:
			return fmt.Sprintf("it is for callers with the label %s=%s, and nothing is known of %s", k, labels[k], q.client)
		case !ok || have != labels[k]:
			return fmt.Sprintf("it is for callers with the label %s=%s, which %s has not", k, labels[k], q.client)
		}
	}
	return ""
}

// matchOf is what is left to compare with a request.
func matchOf(m *httpMatch) routing.Match {
	var out routing.Match
	if m == nil {
		return out
	}
	if p, ok := pathOf(m); ok {
		out.Paths = []routing.PathMatch{p}
	}
	for _, f := range []struct {
		name string
		t    *textMatch
	}{{":method", m.Method}, {":authority", m.Authority}, {":scheme", m.Scheme}} {
		if f.t != nil {
			out.Headers = append(out.Headers, routing.HeaderMatch{Name: f.name, Text: textOf(f.t)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Headers)) {
		out.Headers = append(out.Headers, routing.HeaderMatch{Name: strings.ToLower(k), Text: textOf(m.Headers[k])})
	}
	for _, k := range slices.Sorted(maps.Keys(m.WithoutHeaders)) {
		out.Headers = append(out.Headers, routing.HeaderMatch{Name: strings.ToLower(k), Text: textOf(m.WithoutHeaders[k]), Invert: true})
	}
	for _, k := range slices.Sorted(maps.Keys(m.QueryParams)) {
		out.Query = append(out.Query, routing.QueryMatch{Name: k, Text: textOf(m.QueryParams[k])})
	}
	return out
}

func pathOf(m *httpMatch) (routing.PathMatch, bool) {
	switch u := m.GetUri().GetMatchType().(type) {
	case *networkingv1alpha3.StringMatch_Exact:
		return routing.PathMatch{Kind: routing.PathExact, Value: u.Exact, IgnoreCase: m.IgnoreUriCase}, true
	case *networkingv1alpha3.StringMatch_Prefix:
		return routing.PathMatch{Kind: routing.PathText, Value: u.Prefix, IgnoreCase: m.IgnoreUriCase}, true
	case *networkingv1alpha3.StringMatch_Regex:
		return routing.PathMatch{Kind: routing.PathRegex, Value: u.Regex}, true // its case is its own
	}
	return routing.PathMatch{}, false
}

// textOf is a comparison. Nothing said, and the regular expression "*", which
// is none, ask whether there is a value at all, as in Istio.
func textOf(t *textMatch) routing.Text {
	switch m := t.GetMatchType().(type) {
	case *networkingv1alpha3.StringMatch_Exact:
		return routing.Text{Kind: routing.Exact, Value: m.Exact}
	case *networkingv1alpha3.StringMatch_Prefix:
		return routing.Text{Kind: routing.Prefix, Value: m.Prefix}
	case *networkingv1alpha3.StringMatch_Regex:
		if m.Regex != "*" {
			return routing.Text{Kind: routing.Regex, Value: m.Regex}
		}
	}
	return routing.Text{Kind: routing.Present}
}
