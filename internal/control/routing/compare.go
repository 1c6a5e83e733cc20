package routing

import (
	"regexp"
	"slices"
	"strings"
)

// Comparer compares matches. It answers yes only where it is proven: regular
// expressions, for instance, are compared by their text, and tried on the
// values that other parts name. It keeps what it has compiled, and is for one
// goroutine. The zero Comparer is ready.
type Comparer struct {
	compiled map[string]*regexp.Regexp
}

// Empty tells that no request matches: two methods, or two paths.
func (c *Comparer) Empty(m Match) bool {
	for i := range m.Paths {
		for j := range m.Paths[:i] {
			if c.pathsApart(&m.Paths[i], &m.Paths[j]) {
				return true
			}
		}
	}
	for i := range m.Headers {
		for j := range m.Headers[:i] {
			a, b := &m.Headers[i], &m.Headers[j]
			if a.Name == b.Name && c.headersApart(a, b) {
				return true
			}
		}
	}
	for i := range m.Query {
		for j := range m.Query[:i] {
			a, b := &m.Query[i], &m.Query[j]
			if a.Name == b.Name && c.textsApart(&a.Text, &b.Text) {
				return true
			}
		}
	}
	return false
}

// Covers tells that every request that matches b matches a as well.
func (c *Comparer) Covers(a, b Match) bool {
	for i := range a.Paths {
		p := &a.Paths[i]
		if anyPath(p) || slices.ContainsFunc(b.Paths, func(q PathMatch) bool { return c.pathFollows(p, &q) }) {
			continue
		}
		return false
	}
	for i := range a.Headers {
		h := &a.Headers[i]
		if !h.Invert && strings.HasPrefix(h.Name, ":") && anyText(&h.Text) {
			continue // every request has them
		}
		if !slices.ContainsFunc(b.Headers, func(o HeaderMatch) bool { return o.Name == h.Name && c.headerFollows(h, &o) }) {
			return false
		}
	}
	for i := range a.Query {
		q := &a.Query[i]
		if !slices.ContainsFunc(b.Query, func(o QueryMatch) bool { return o.Name == q.Name && c.textFollows(&q.Text, &o.Text) }) {
			return false
		}
	}
	return true
}

// anyPath: every path matches.
func anyPath(p *PathMatch) bool {
	if p.Invert {
		return false
	}
	switch p.Kind {
	case PathText:
		return p.Value == "" || p.Value == "/"
	case PathPrefix:
		return p.Value == "/" || p.Value == ""
	case PathRegex:
		return slices.Contains([]string{".*", "/.*", "(.*)", "^.*$", "^/.*$"}, p.Value)
	}
	return false
}

// anyText: every value matches.
func anyText(t *Text) bool {
	switch t.Kind {
	case Present:
		return true
	case Regex:
		return t.Value == ".*"
	case Prefix, Suffix, Contains:
		return t.Value == ""
	}
	return false
}

// path tells whether a path is matched, without regard to Invert.
func (c *Comparer) path(p *PathMatch, path string) bool {
	value := p.Value
	if p.Kind == PathRegex {
		return c.regex(value, p.IgnoreCase, path)
	}
	if p.IgnoreCase {
		value, path = strings.ToLower(value), strings.ToLower(path)
	}
	switch p.Kind {
	case PathExact:
		return path == value
	case PathText:
		return strings.HasPrefix(path, value)
	default:
		value = strings.TrimSuffix(value, "/")
		rest, ok := strings.CutPrefix(path, value)
		return ok && (rest == "" || rest[0] == '/')
	}
}

// text tells whether a value is matched.
func (c *Comparer) text(t *Text, s string) bool {
	value := t.Value
	if t.Kind == Regex {
		return c.regex(value, t.IgnoreCase, s)
	}
	if t.IgnoreCase {
		value, s = strings.ToLower(value), strings.ToLower(s)
	}
	switch t.Kind {
	case Exact:
		return s == value
	case Prefix:
		return strings.HasPrefix(s, value)
	case Suffix:
		return strings.HasSuffix(s, value)
	case Contains:
		return strings.Contains(s, value)
	default:
		return true
	}
}

// regex tells whether an expression matches all of a text. One that cannot be
// compiled matches nothing.
func (c *Comparer) regex(expr string, ignoreCase bool, s string) bool {
	if ignoreCase {
		expr = "(?i)" + expr
	}
	re, ok := c.compiled[expr]
	if !ok {
		re, _ = regexp.Compile(`^(?:` + expr + `)$`)
		if c.compiled == nil {
			c.compiled = map[string]*regexp.Regexp{}
		}
		c.compiled[expr] = re
	}
	return re != nil && re.MatchString(s)
}

// pathsApart: no path satisfies both.
func (c *Comparer) pathsApart(a, b *PathMatch) bool {
	if a.Kind == b.Kind && a.Value == b.Value && a.IgnoreCase == b.IgnoreCase && a.Invert != b.Invert {
		return true
	}
	for range 2 {
		if a.Kind == PathExact && !a.Invert && !a.IgnoreCase {
			return c.path(b, a.Value) == b.Invert
		}
		a, b = b, a
	}
	switch {
	case a.Invert && b.Invert || a.Kind == PathRegex || b.Kind == PathRegex || a.IgnoreCase || b.IgnoreCase:
		return false
	case a.Invert:
		plain := *a
		plain.Invert = false
		return c.pathFollows(&plain, b) // all of b is what a leaves out
	case b.Invert:
		return c.pathsApart(b, a)
	}
	x, y := strings.TrimSuffix(a.Value, "/"), strings.TrimSuffix(b.Value, "/")
	switch {
	case a.Kind == PathPrefix && b.Kind == PathPrefix:
		return !segments(x, y) && !segments(y, x)
	default:
		return !strings.HasPrefix(a.Value, b.Value) && !strings.HasPrefix(b.Value, a.Value)
	}
}

// segments: whole segments of path begin with prefix.
func segments(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// pathFollows: every path that b takes is taken by a.
func (c *Comparer) pathFollows(a, b *PathMatch) bool {
	switch {
	case *a == *b || anyPath(a):
		return true
	case b.Invert:
		return a.Invert && c.pathFollows(uninverted(b), uninverted(a))
	case b.Kind == PathExact && !b.IgnoreCase:
		return c.path(a, b.Value) != a.Invert
	case a.Invert:
		return c.pathsApart(uninverted(a), b)
	case b.IgnoreCase && !a.IgnoreCase || a.Kind == PathRegex || b.Kind == PathRegex || a.Kind == PathExact:
		return false
	}
	x, y := a.Value, b.Value
	if a.IgnoreCase {
		x, y = strings.ToLower(x), strings.ToLower(y)
	}
	switch {
	case a.Kind == PathText && b.Kind == PathPrefix:
		// "/a/" as text leaves out "/a", which the segments "/a" take.
		return strings.HasPrefix(strings.TrimSuffix(y, "/"), x)
	case a.Kind == PathText:
		return strings.HasPrefix(y, x)
	case b.Kind == PathPrefix:
		return segments(strings.TrimSuffix(x, "/"), strings.TrimSuffix(y, "/"))
	default:
		return strings.HasPrefix(y, strings.TrimSuffix(x, "/")+"/")
	}
}

func uninverted(p *PathMatch) *PathMatch {
	q := *p
	q.Invert = false
	return &q
}

// headersApart: no header satisfies both.
func (c *Comparer) headersApart(a, b *HeaderMatch) bool {
	switch {
	case a.Invert && b.Invert:
		return false
	case a.Invert:
		return c.textFollows(&a.Text, &b.Text)
	case b.Invert:
		return c.textFollows(&b.Text, &a.Text)
	default:
		return c.textsApart(&a.Text, &b.Text)
	}
}

// textsApart: no value satisfies both.
func (c *Comparer) textsApart(a, b *Text) bool {
	for range 2 {
		if a.Kind == Exact && !a.IgnoreCase {
			return !c.text(b, a.Value)
		}
		a, b = b, a
	}
	switch {
	case a.Kind == Exact && b.Kind == Exact:
		return !strings.EqualFold(a.Value, b.Value)
	case a.IgnoreCase || b.IgnoreCase || a.Kind != b.Kind:
		return false
	case a.Kind == Prefix:
		return !strings.HasPrefix(a.Value, b.Value) && !strings.HasPrefix(b.Value, a.Value)
	case a.Kind == Suffix:
		return !strings.HasSuffix(a.Value, b.Value) && !strings.HasSuffix(b.Value, a.Value)
	}
	return false
}

// headerFollows: every header that b takes is taken by a.
func (c *Comparer) headerFollows(a, b *HeaderMatch) bool {
	switch {
	case a.Invert && b.Invert:
		return c.textFollows(&b.Text, &a.Text)
	case a.Invert:
		return c.textsApart(&a.Text, &b.Text)
	case b.Invert:
		return false
	default:
		return c.textFollows(&a.Text, &b.Text)
	}
}

// textFollows: every value that b takes is taken by a.
func (c *Comparer) textFollows(a, b *Text) bool {
	switch {
	case *a == *b || anyText(a):
		return true
	case b.Kind == Exact && (!b.IgnoreCase || a.IgnoreCase && a.Kind != Regex):
		return c.text(a, b.Value)
	case b.IgnoreCase && !a.IgnoreCase:
		return false
	}
	x, y := a.Value, b.Value
	if a.IgnoreCase {
		x, y = strings.ToLower(x), strings.ToLower(y)
	}
	switch {
	case a.Kind == Prefix && b.Kind == Prefix:
		return strings.HasPrefix(y, x)
	case a.Kind == Suffix && b.Kind == Suffix:
		return strings.HasSuffix(y, x)
	case a.Kind == Contains && (b.Kind == Prefix || b.Kind == Suffix || b.Kind == Contains):
		return strings.Contains(y, x)
	}
	return false
}
