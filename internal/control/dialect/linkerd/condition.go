package linkerd

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// maxAlternatives bounds the alternatives of one condition: nested any and all
// multiply. maxDepth bounds the nesting.
const (
	maxAlternatives = 64
	maxDepth        = 32
)

// conditionError is what is wrong with a part of a condition.
type conditionError struct {
	field, code, value, allowed, reason, mend string
}

// alternativesOf writes a condition as alternatives of which one must match:
// its disjunctive normal form, with what is negated as inverted parts. Those
// that no request can match are left out.
func alternativesOf(c *source.ProfileCondition, field string) ([]routing.Match, *conditionError) {
	n := &normalizer{}
	out := n.normal(c, field, false, 0)
	if n.err != nil {
		return nil, n.err
	}
	return out, nil
}

// normalizer makes the disjunctive normal form of one condition.
type normalizer struct {
	cmp routing.Comparer
	err *conditionError // the first
}

func (n *normalizer) fail(e conditionError) []routing.Match {
	if n.err == nil {
		n.err = &e
	}
	return nil
}

// normal is the form of a condition, or of its negation (De Morgan).
func (n *normalizer) normal(c *source.ProfileCondition, field string, negate bool, depth int) []routing.Match {
	switch {
	case n.err != nil:
		return nil
	case depth > maxDepth:
		return n.fail(conditionError{field: field, code: "condition-too-deep", reason: fmt.Sprintf("conditions may be %d levels deep", maxDepth)})
	case c == nil || len(c.All)+len(c.Any) == 0 && c.Not == nil && c.PathRegex == "" && c.Method == "":
		return n.fail(conditionError{field: field, code: "empty-condition", reason: "a condition needs one of method, pathRegex, all, any and not"})
	}
	var parts [][]routing.Match
	for i := range c.All {
		parts = append(parts, n.normal(&c.All[i], fmt.Sprintf("%s.all[%d]", field, i), negate, depth+1))
	}
	if len(c.Any) > 0 {
		var any [][]routing.Match
		for i := range c.Any {
			any = append(any, n.normal(&c.Any[i], fmt.Sprintf("%s.any[%d]", field, i), negate, depth+1))
		}
		parts = append(parts, n.join(any, negate, field))
	}
	if c.Not != nil {
		parts = append(parts, n.normal(c.Not, field+".not", !negate, depth+1))
	}
	if c.PathRegex != "" {
		parts = append(parts, n.pathRegex(c.PathRegex, field+".pathRegex", negate))
	}
	if c.Method != "" {
		parts = append(parts, n.method(c.Method, field+".method", negate))
	}
	return n.join(parts, !negate, field)
}

// join puts forms together: all of them must hold, or one.
func (n *normalizer) join(parts [][]routing.Match, all bool, field string) []routing.Match {
	var out []routing.Match
	if !all {
		for _, p := range parts {
			out = append(out, p...)
		}
		return n.bounded(out, field)
	}
	out = []routing.Match{{}}
	for _, p := range parts {
		var next []routing.Match
		for _, a := range out {
			for _, b := range p {
				if m := and(a, b); !n.cmp.Empty(m) {
					next = append(next, m)
				}
			}
			if len(next) > maxAlternatives {
				break
			}
		}
		out = n.bounded(next, field)
	}
	return out
}

// and is the conjunction without repetitions.
func and(a, b routing.Match) routing.Match {
	m := a.And(b)
	m.Paths = unique(m.Paths)
	m.Headers = unique(m.Headers)
	m.Query = unique(m.Query)
	return m
}

func unique[T comparable](list []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (n *normalizer) bounded(list []routing.Match, field string) []routing.Match {
	if len(list) > maxAlternatives {
		return n.fail(conditionError{
			field: field, code: "too-many-alternatives",
			reason: fmt.Sprintf("written out, this has more than %d alternatives", maxAlternatives),
			mend:   "put alternatives of paths into one pathRegex, or make several routes",
		})
	}
	return list
}

func (n *normalizer) method(method, field string, negate bool) []routing.Match {
	if !httpguts.ValidHeaderFieldName(method) { // a method is a token, too
		return n.fail(conditionError{field: field, code: "bad-method", value: method, allowed: "GET, POST and so on", reason: "this is no method"})
	}
	return []routing.Match{{Headers: []routing.HeaderMatch{{
		Name: ":method", Text: routing.Text{Kind: routing.Exact, Value: method}, Invert: negate,
	}}}}
}

func (n *normalizer) pathRegex(expr, field string, negate bool) []routing.Match {
	p, err := pathMatch(expr)
	if err != nil {
		return n.fail(conditionError{field: field, code: "bad-regex", value: expr, allowed: "RE2, such as /books/[^/]*", reason: "this is no regular expression: " + err.Error()})
	}
	if p.Value == ".*" && !negate {
		return []routing.Match{{}}
	}
	p.Invert = negate
	return []routing.Match{{Paths: []routing.PathMatch{p}}}
}

// pathMatch is what Linkerd makes of a pathRegex: it puts ^ in front and $ at
// the end where they are not there, by their characters alone, and searches for
// the outcome. So "/a|/b" becomes "^/a|/b$" and takes /abc and /x/b. Ours
// compares all of the path, so such alternatives get the rest of the path
// around them.
func pathMatch(expr string) (routing.PathMatch, error) {
	expr = strings.TrimSpace(expr)
	head, tail := "^", "$"
	if strings.HasPrefix(expr, "^") {
		head = ""
	}
	if strings.HasSuffix(expr, "$") {
		tail = ""
	}
	anchored := head + expr + tail
	if _, err := regexp.Compile(anchored); err != nil {
		return routing.PathMatch{}, err
	}
	if strings.Contains(strings.ReplaceAll(expr, `\\`, ""), `\Q`) {
		return routing.PathMatch{}, errors.New(`there is no \Q in the expressions of Linkerd`)
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(anchored, "^"), "$")
	literal, err := syntax.Parse(inner, syntax.Perl)
	if err != nil || halfAnchored(expr) || strings.HasSuffix(expr, `\$`) {
		return routing.PathMatch{Kind: routing.PathRegex, Value: ".*(?:" + anchored + ").*"}, nil
	}
	if literal.Op == syntax.OpLiteral && literal.Flags&syntax.FoldCase == 0 {
		return routing.PathMatch{Kind: routing.PathExact, Value: string(literal.Rune)}, nil
	}
	return routing.PathMatch{Kind: routing.PathRegex, Value: inner}, nil
}

// halfAnchored tells whether an expression has alternatives at its top, so that
// ^ and $ hold for the first and the last of them alone.
func halfAnchored(expr string) bool {
	depth, class := 0, false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']' || expr[i-1] == '[' || expr[i-1] == '^' && expr[i-2] == '['
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
	}
	return false
}
