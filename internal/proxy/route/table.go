package route

import (
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Table is a compiled Config.
type Table struct {
	name    string
	entries []entry
	index   *index // nil: there are so few entries that each is looked at
}

type entry struct {
	name    string
	path    pathMatcher
	headers []headerMatcher
	query   []queryMatcher
	action  *Action
}

// New compiles a valid Config. outer is what holds around it, nil for nothing;
// resolve gives a cluster by name, nil where there is none.
func New(cfg *Config, outer *Common, resolve func(name string) *upstream.Cluster) *Table {
	t := &Table{name: cfg.Name, entries: make([]entry, 0, len(cfg.Rules))}
	c := compiler{cfg: cfg, outer: outer, resolve: resolve}
	if outer == nil {
		c.outer = new(Common)
	}
	for i := range cfg.Rules {
		r := &cfg.Rules[i]
		e := entry{name: r.Name, path: newPathMatcher(r.Match.Path), action: c.action(r)}
		for _, h := range r.Match.Headers {
			e.headers = append(e.headers, newHeaderMatcher(h))
		}
		for _, q := range r.Match.Query {
			e.query = append(e.query, queryMatcher{name: q.Name, valueMatcher: newValueMatcher(q.ValueMatch)})
		}
		t.entries = append(t.entries, e)
	}
	if len(t.entries) > fewEntries {
		t.index = newIndex(t.entries)
	}
	return t
}

// SingleTable sends every request to one action.
func SingleTable(a *Action) *Table { return &Table{entries: []entry{{action: a}}} }

// Name is the virtual host's name.
func (t *Table) Name() string { return t.name }

// Actions lists the actions in the order of the rules.
func (t *Table) Actions() []*Action {
	list := make([]*Action, len(t.entries))
	for i := range t.entries {
		list[i] = t.entries[i].action
	}
	return list
}

// Match gives the action of the first rule that matches, nil when none does.
func (t *Table) Match(r *http1.Request) *Action {
	path, query := splitPath(r.Path)
	if t.index != nil {
		if i := t.index.first(t.entries, r, path, query); i < len(t.entries) {
			return t.entries[i].action
		}
		return nil
	}
	for i := range t.entries {
		if t.entries[i].match(r, path, query) {
			return t.entries[i].action
		}
	}
	return nil
}

// TCP gives the action of the first rule that every request matches: where bytes
// go that are no requests. nil: there is none.
func (t *Table) TCP() *Action {
	for i := range t.entries {
		e := &t.entries[i]
		all := e.path.kind == PathPrefix && (e.path.value == "" || e.path.value == "/")
		if all && len(e.headers)+len(e.query) == 0 {
			return e.action
		}
	}
	return nil
}

func (e *entry) match(r *http1.Request, path, query []byte) bool {
	if !e.path.match(path) {
		return false
	}
	for i := range e.headers {
		if !e.headers[i].match(r) {
			return false
		}
	}
	for i := range e.query {
		if !e.query[i].match(query) {
			return false
		}
	}
	return true
}
