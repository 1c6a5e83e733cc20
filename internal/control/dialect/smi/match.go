package smi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// groupMatch is a match of a group that a split names.
type groupMatch struct {
	name      string
	reference string // the field of the split that names the group
	origin    origin.Origin
	// alternatives: one for each method.
	alternatives []routing.Match
}

// badMatch is one that takes nothing.
type badMatch struct {
	field, value, code, reason string
}

// matches are those of all groups that a split names, in their order.
func (s *split) matches(w *model.World) (good []groupMatch, bad []badMatch) {
	for i := range s.spec.Matches {
		ref := &s.spec.Matches[i]
		field := fmt.Sprintf("spec.matches[%d]", i)
		if ref.Kind != string(source.HTTPRouteGroup) {
			bad = append(bad, badMatch{field + ".kind", ref.Kind, "bad-reference", "a TrafficSplit takes HTTPRouteGroups; this names nothing that it could match"})
			continue
		}
		o, ok := w.Object(source.Key{Kind: source.HTTPRouteGroup, Namespace: s.object.Namespace, Name: ref.Name})
		if !ok {
			bad = append(bad, badMatch{field + ".name", ref.Name, "no-such-group", fmt.Sprintf("there is no HTTPRouteGroup %s in namespace %s; it matches nothing", ref.Name, s.object.Namespace)})
			continue
		}
		list, at := o.Value.(*source.SMIRouteGroup).Matches()
		for j := range list {
			where := fmt.Sprintf("%s[%d]", at, j)
			alternatives, err := alternativesOf(&list[j])
			if err != nil {
				continue // the group is told of by itself
			}
			name := fmt.Sprintf("%s/%d", ref.Name, j)
			if list[j].Name != "" {
				name += ":" + list[j].Name
			}
			good = append(good, groupMatch{name, field, origin.Of(o, where), alternatives})
		}
	}
	return good, bad
}

// matchError is what is wrong with a field of a match.
type matchError struct {
	field, value, code, allowed string
	err                         error
}

// alternativesOf is a match as alternatives, one for each method. The path is
// anchored at its begin, as the specification says; headers, of which it says
// nothing, are compared whole, as Envoy does.
func alternativesOf(m *source.GroupMatch) ([]routing.Match, *matchError) {
	var base routing.Match
	if expr := m.PathRegex; expr != "" && expr != ".*" {
		anchored := strings.TrimPrefix(expr, "^")
		if err := compiles(anchored); err != nil {
			return nil, &matchError{"pathRegex", expr, "bad-regex", "RE2, such as /api/.*", err}
		}
		expr = "(?:" + anchored + ").*"
		base.Paths = []routing.PathMatch{{Kind: routing.PathRegex, Value: expr}}
	}
	names := make([]string, 0, len(m.Headers))
	for name := range m.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		expr := m.Headers[name]
		field := fmt.Sprintf("headers[%q]", name)
		if !httpguts.ValidHeaderFieldName(strings.TrimPrefix(name, ":")) {
			return nil, &matchError{field, name, "bad-header", "a name such as user-agent", fmt.Errorf("this is not the name of a header")}
		}
		if err := compiles(expr); err != nil {
			return nil, &matchError{field, expr, "bad-regex", "RE2, such as .*Firefox.*", err}
		}
		base.Headers = append(base.Headers, routing.HeaderMatch{Name: strings.ToLower(name), Text: routing.Text{Kind: routing.Regex, Value: expr}})
	}
	if len(m.Methods) == 0 || slices.Contains(m.Methods, "*") {
		return []routing.Match{base}, nil
	}
	var out []routing.Match
	for i, method := range m.Methods {
		if !httpguts.ValidHeaderFieldName(method) {
			return nil, &matchError{fmt.Sprintf("methods[%d]", i), method, "bad-method", "GET, POST and so on, or *", fmt.Errorf("this is no method")}
		}
		out = append(out, base.And(routing.Match{Headers: []routing.HeaderMatch{{
			Name: ":method", Text: routing.Text{Kind: routing.Exact, Value: method},
		}}}))
	}
	return out, nil
}

// compiles tells why an expression is none, alone and inside of another.
func compiles(expr string) error {
	if _, err := regexp.Compile(expr); err != nil {
		return err
	}
	_, err := regexp.Compile("(?:" + expr + ")")
	return err
}
