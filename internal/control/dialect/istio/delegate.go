package istio

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

type (
	httpRoute = networkingv1alpha3.HTTPRoute
	httpMatch = networkingv1alpha3.HTTPMatchRequest
	textMatch = networkingv1alpha3.StringMatch
)

// written is a rule and where it stands.
type written struct {
	object source.Object
	at     string // "spec.http[0]"
	*httpRoute
}

func (w written) origin(field string) origin.Origin { return origin.Of(w.object, w.at+field) }

// joined is a rule as it holds: what it says itself, and what it lacks from the
// rule that delegates to it.
type joined struct {
	name string // among the rules of the VirtualService
	own  written
	// root is the rule that delegates, with a nil httpRoute where none does.
	root    written
	matches []placedMatch
}

// placedMatch is one of a rule's matches.
type placedMatch struct {
	*httpMatch
	name  string
	from  written
	field string // from the rule
}

// from is the rule that a part is from: its own, or the root's.
func (j *joined) from(has func(*httpRoute) bool) (written, bool) {
	if has(j.own.httpRoute) {
		return j.own, true
	}
	if j.root.httpRoute != nil && has(j.root.httpRoute) {
		return j.root, true
	}
	return written{}, false
}

// join gives the rules of a VirtualService, those of its delegates in the place
// of the rules that name them. What cannot be joined loses.
func (q *question) join(o source.Object) []joined {
	var out []joined
	names := map[string]bool{}
	for i, r := range o.Value.(*source.IstioVirtualService).Spec.GetHttp() {
		w := written{o, fmt.Sprintf("spec.http[%d]", i), r}
		name := unused(names, r.GetName(), i)
		if r.GetDelegate() == nil {
			out = append(out, joined{name: name, own: w, matches: matchesOf(w)})
			continue
		}
		sub := map[string]bool{}
		for k, d := range q.delegates(w) {
			merged, ok := q.merge(w, d)
			if ok {
				out = append(out, joined{name: name + "/" + unused(sub, d.GetName(), k), own: d, root: w, matches: merged})
			}
		}
	}
	return out
}

// unused is the name of a rule where it is one and no other rule's, else its
// place.
func unused(names map[string]bool, name string, i int) string {
	if _, err := strconv.Atoi(name); name == "" || err == nil || names[name] || strings.Contains(name, "/") {
		return strconv.Itoa(i)
	}
	names[name] = true
	return name
}

func matchesOf(w written) []placedMatch {
	out := make([]placedMatch, 0, len(w.GetMatch()))
	names := map[string]bool{}
	for i, m := range w.GetMatch() {
		if m == nil {
			m = &httpMatch{}
		}
		out = append(out, placedMatch{m, unused(names, m.Name, i), w, fmt.Sprintf(".match[%d]", i)})
	}
	return out
}

// delegates are the rules of the VirtualService that a rule delegates to.
func (q *question) delegates(w written) []written {
	d := w.GetDelegate()
	key := delegateKey(w.object, d)
	o, ok := q.world.Object(key)
	if !ok {
		q.lose(w.origin(".delegate"), "there is no %s", key)
		return nil
	}
	spec := o.Value.(*source.IstioVirtualService).Spec
	switch {
	case len(spec.GetHosts()) > 0:
		q.lose(w.origin(".delegate"), "%s has hosts, so that nobody can delegate to it", key)
		return nil
	case exported(spec.GetExportTo(), o.Namespace, w.object.Namespace) == toOthers:
		q.lose(w.origin(".delegate"), "%s is not exported to namespace %s", key, w.object.Namespace)
		return nil
	}
	out := make([]written, 0, len(spec.GetHttp()))
	for i, r := range spec.GetHttp() {
		sub := written{o, fmt.Sprintf("spec.http[%d]", i), r}
		if r.GetDelegate() != nil {
			q.lose(sub.origin(".delegate"), "a delegate cannot delegate further")
			continue
		}
		out = append(out, sub)
	}
	return out
}

// delegateKey is who is named, in the namespace of the one that names it where
// there is none.
func delegateKey(root source.Object, d *networkingv1alpha3.Delegate) source.Key {
	key := source.Key{Kind: source.VirtualService, Namespace: d.GetNamespace(), Name: d.GetName()}
	if key.Namespace == "" {
		key.Namespace = root.Namespace
	}
	return key
}

// maxMerged bounds the matches of a delegate's rule: those of the two rules
// multiply.
const maxMerged = 4096

// merge gives the matches of a delegate's rule under the one that delegates.
// Each must lie within one of the root's, else the whole rule is left out, as
// Istio has it.
func (q *question) merge(root, own written) ([]placedMatch, bool) {
	outer, inner := matchesOf(root), matchesOf(own)
	switch {
	case len(outer) == 0:
		return inner, true
	case len(inner) == 0:
		return outer, true
	}
	if len(outer)*len(inner) > maxMerged {
		q.lose(own.origin(""), "its %d matches and the %d of %s would make more than %d together; the rule is left out",
			len(inner), len(outer), root.origin(".match"), maxMerged)
		return nil, false
	}
	var out []placedMatch
	for _, in := range inner {
		within, why := false, ""
		for _, o := range outer {
			if why = conflict(o.httpMatch, in.httpMatch); why != "" {
				continue
			}
			within = true
			m := in
			m.httpMatch = combine(o.httpMatch, in.httpMatch)
			if len(outer) > 1 {
				m.name = o.name + "-" + in.name
			}
			out = append(out, m)
		}
		if !within {
			q.lose(own.origin(in.field), "it is no part of what %s delegates: %s; the rule is left out", root.origin(".match"), why)
			return nil, false
		}
	}
	return out, true
}

// combine is a match with what it lacks from the one around it.
func combine(root, own *httpMatch) *httpMatch {
	out := proto.CloneOf(own)
	for _, f := range []struct{ to, from **textMatch }{
		{&out.Uri, &root.Uri}, {&out.Scheme, &root.Scheme}, {&out.Method, &root.Method}, {&out.Authority, &root.Authority},
	} {
		if *f.to == nil {
			*f.to = *f.from
		}
	}
	out.Headers = overlay(root.Headers, own.Headers)
	out.WithoutHeaders = overlay(root.WithoutHeaders, own.WithoutHeaders)
	out.QueryParams = overlay(root.QueryParams, own.QueryParams)
	out.SourceLabels = overlay(root.SourceLabels, own.SourceLabels)
	if out.Port == 0 {
		out.Port = root.Port
	}
	if out.SourceNamespace == "" {
		out.SourceNamespace = root.SourceNamespace
	}
	if len(out.Gateways) == 0 {
		out.Gateways = root.Gateways
	}
	return out
}

func overlay[V any](under, over map[string]V) map[string]V {
	if len(under)+len(over) == 0 {
		return nil
	}
	out := maps.Clone(under)
	if out == nil {
		out = map[string]V{}
	}
	maps.Copy(out, over)
	return out
}

// conflict says why one match is not a part of another, or nothing.
func conflict(root, own *httpMatch) string {
	for _, f := range []struct {
		name       string
		root, leaf *textMatch
	}{
		{"uri", root.Uri, own.Uri},
		{"scheme", root.Scheme, own.Scheme},
		{"method", root.Method, own.Method},
		{"authority", root.Authority, own.Authority},
	} {
		if apart(f.root, f.leaf) {
			return f.name + " differs"
		}
	}
	for _, f := range []struct {
		name       string
		root, leaf map[string]*textMatch
	}{
		{"headers", root.Headers, own.Headers},
		{"withoutHeaders", root.WithoutHeaders, own.WithoutHeaders},
		{"queryParams", root.QueryParams, own.QueryParams},
	} {
		for k, leaf := range f.leaf {
			if r, ok := f.root[k]; ok && apart(r, leaf) {
				return f.name + " " + k + " differs"
			}
		}
	}
	for k, v := range own.SourceLabels {
		if r, ok := root.SourceLabels[k]; ok && r != v {
			return "sourceLabels " + k + " differs"
		}
	}
	switch {
	case root.IgnoreUriCase != own.IgnoreUriCase:
		return "ignoreUriCase differs"
	case root.Port > 0 && own.Port > 0 && root.Port != own.Port:
		return "port differs"
	case root.SourceNamespace != "" && own.SourceNamespace != "" && root.SourceNamespace != own.SourceNamespace:
		return "sourceNamespace differs"
	}
	return ""
}

// apart says whether a comparison is not certainly within another one. Regular
// expressions are within nothing, and nothing is within them (the API of
// Istio's HTTPMatchRequest).
func apart(root, leaf *textMatch) bool {
	if root == nil || leaf == nil {
		return false
	}
	value, exact := leaf.GetExact(), true
	switch l := leaf.GetMatchType().(type) {
	case *networkingv1alpha3.StringMatch_Exact:
	case *networkingv1alpha3.StringMatch_Prefix:
		value, exact = l.Prefix, false
	default:
		return true
	}
	switch r := root.GetMatchType().(type) {
	case *networkingv1alpha3.StringMatch_Exact:
		return !exact || value != r.Exact
	case *networkingv1alpha3.StringMatch_Prefix:
		return !strings.HasPrefix(value, r.Prefix)
	default:
		return true
	}
}
