package route

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// fewEntries are looked at one by one: that is faster than any index.
const fewEntries = 8

// index finds the rules that a request may match without a look at all of them.
// It only leaves rules out that cannot match: those that are left are asked
// themselves, so it decides nothing about what matching means.
//
// Exact paths are found by their hash, prefixes (and what a regular expression
// must begin with) in a radix tree. Rules that share a path are told apart by
// the values of the header or query parameter that most of them compare with.
// Every list is in the order of the rules and is left as soon as it comes to a
// rule behind the best that is known.
type index struct {
	exact    map[string]*bucket
	prefixes *node
	// folded are the prefixes and exact paths of rules that ignore case.
	folded *node
}

func newIndex(entries []entry) *index {
	exact := map[string][]int32{}
	x := &index{exact: map[string]*bucket{}, prefixes: new(node), folded: new(node)}
	for i := range entries {
		p := &entries[i].path
		switch {
		case p.kind == PathRegex:
			x.prefixes.add(literalPrefix(p.value), int32(i))
		case p.ignoreCase:
			x.folded.add(fold(p.value), int32(i))
		case p.kind == PathExact:
			exact[p.value] = append(exact[p.value], int32(i))
		default:
			x.prefixes.add(p.value, int32(i))
		}
	}
	for path, rules := range exact {
		x.exact[path] = newBucket(entries, rules)
	}
	x.prefixes.finish(entries)
	x.folded.finish(entries)
	return x
}

// fold is a text in lower case, as hasPrefix has it.
func fold(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

// first gives the first entry that matches, len(entries) when none does.
func (x *index) first(entries []entry, r *http1.Request, path, query []byte) int {
	s := search{entries: entries, r: r, path: path, query: query, best: int32(len(entries))}
	s.in(x.exact[string(path)])
	x.prefixes.walk(&s, false)
	x.folded.walk(&s, true)
	return int(s.best)
}

// search is one request's way through an index.
type search struct {
	entries     []entry
	r           *http1.Request
	path, query []byte
	best        int32
}

// in looks for something better in a bucket.
func (s *search) in(b *bucket) {
	for b != nil {
		for _, i := range b.rules {
			if i >= s.best {
				break
			}
			if s.entries[i].match(s.r, s.path, s.query) {
				s.best = i
				break
			}
		}
		if b.values == nil || b.first >= s.best {
			return
		}
		if v, ok := b.by.find(s.r, s.query); ok {
			s.in(b.values[string(v)])
		}
		b = b.rest
	}
}

// bucket is rules that the index cannot tell apart by their paths.
type bucket struct {
	// rules in their order, where there are no values.
	rules []int32
	// values tells rules apart by what they compare by with; rest are those
	// that do not look at it. first is the least of all.
	by     key
	values map[string]*bucket
	rest   *bucket
	first  int32
}

// key is a header or a query parameter.
type key struct {
	name  string
	query bool
}

func (k key) find(r *http1.Request, query []byte) ([]byte, bool) {
	if k.query {
		return parameter(query, k.name)
	}
	h := headerMatcher{name: k.name}
	return h.find(r)
}

// wants gives the value that an entry asks of a key, where it is exactly one.
func (e *entry) wants(k key) (string, bool) {
	if k.query {
		for i := range e.query {
			if q := &e.query[i]; q.name == k.name && q.exact() {
				return q.value, true
			}
		}
		return "", false
	}
	for i := range e.headers {
		if h := &e.headers[i]; h.name == k.name && h.exactly() {
			return h.value, true
		}
	}
	return "", false
}

func (m *valueMatcher) exact() bool { return m.kind == ValueExact && !m.ignoreCase }

func (m *headerMatcher) exactly() bool { return m.exact() && !m.invert && !m.missingAsEmpty }

// newBucket puts rules, in their order, into a bucket.
func newBucket(entries []entry, rules []int32) *bucket {
	if len(rules) == 0 {
		return nil
	}
	by, shared := busiest(entries, rules)
	if len(rules) <= fewEntries || shared < len(rules)/8 || shared < 2 {
		return &bucket{rules: rules}
	}
	byValue := map[string][]int32{}
	var rest []int32
	for _, i := range rules {
		if v, ok := entries[i].wants(by); ok {
			byValue[v] = append(byValue[v], i)
		} else {
			rest = append(rest, i)
		}
	}
	if len(byValue) == 1 && len(rest) == 0 { // it tells nothing apart
		return &bucket{rules: rules}
	}
	b := &bucket{by: by, values: map[string]*bucket{}, rest: newBucket(entries, rest), first: rules[0]}
	for v, list := range byValue {
		b.values[v] = newBucket(entries, list)
	}
	return b
}

// busiest gives the key that tells rules apart best: what most of them ask one
// value of, and among those what has most values.
func busiest(entries []entry, rules []int32) (best key, shared int) {
	type use struct {
		rules  int
		values map[string]bool
	}
	uses := map[key]*use{}
	note := func(k key, v string) {
		u := uses[k]
		if u == nil {
			u = &use{values: map[string]bool{}}
			uses[k] = u
		}
		u.rules++
		u.values[v] = true
	}
	for _, i := range rules {
		e := &entries[i]
		for j := range e.headers {
			if h := &e.headers[j]; h.exactly() {
				note(key{name: h.name}, h.value)
			}
		}
		for j := range e.query {
			if q := &e.query[j]; q.exact() {
				note(key{name: q.name, query: true}, q.value)
			}
		}
	}
	score := -1
	for k, u := range uses {
		if u.rules < 2 || len(u.values) < 2 {
			continue
		}
		got := u.rules - u.rules/len(u.values) // as many are left out, by and large
		if got > score || got == score && (k.name < best.name || k.name == best.name && !k.query) {
			best, shared, score = k, u.rules, got
		}
	}
	return best, shared
}

// node is of a radix tree: its bucket is of the rules whose prefix ends here.
type node struct {
	label    string // what leads here from the node above
	rules    []int32
	bucket   *bucket
	children []*node // by the first character of their labels
}

// add puts a rule at a prefix.
func (n *node) add(prefix string, rule int32) {
	if prefix == "" {
		n.rules = append(n.rules, rule)
		return
	}
	at, ok := n.child(prefix[0])
	if !ok {
		n.children = slices.Insert(n.children, at, &node{label: prefix, rules: []int32{rule}})
		return
	}
	c := n.children[at]
	same := commonPrefix(c.label, prefix)
	if same < len(c.label) { // c goes below a new node
		upper := &node{label: c.label[:same], children: []*node{c}}
		c.label = c.label[same:]
		n.children[at] = upper
		c = upper
	}
	c.add(prefix[same:], rule)
}

func (n *node) child(first byte) (at int, ok bool) {
	lo, hi := 0, len(n.children)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := n.children[mid].label[0]; {
		case c == first:
			return mid, true
		case c < first:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// finish makes the buckets.
func (n *node) finish(entries []entry) {
	n.bucket, n.rules = newBucket(entries, n.rules), nil
	for _, c := range n.children {
		c.finish(entries)
	}
}

// walk looks into the buckets of all prefixes of the request's path.
func (n *node) walk(s *search, fold bool) {
	rest := s.path
	for {
		s.in(n.bucket)
		if len(rest) == 0 || len(n.children) == 0 {
			return
		}
		first := rest[0]
		if fold {
			first = lower(first)
		}
		at, ok := n.child(first)
		if !ok {
			return
		}
		n = n.children[at]
		if !hasPrefix(rest, n.label, fold) {
			return
		}
		rest = rest[len(n.label):]
	}
}

// literalPrefix is what every text begins with that a regular expression
// matches whole.
func literalPrefix(text string) string {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return ""
	}
	return leading(re)
}

func leading(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return ""
		}
		for i, r := range re.Rune {
			if r >= utf8.RuneSelf { // the replacement character matches what is no text
				return string(re.Rune[:i])
			}
		}
		return string(re.Rune)
	case syntax.OpCapture:
		return leading(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if sub.Op != syntax.OpBeginText && sub.Op != syntax.OpEmptyMatch {
				return leading(sub)
			}
		}
	}
	return ""
}
