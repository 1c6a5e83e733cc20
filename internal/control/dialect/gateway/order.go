package gateway

import (
	"cmp"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// rank is the specification's precedence of a match, one number for each
// criterion, the more the earlier (HTTPRouteSpec, hostnames; HTTPRouteRule,
// matches; GRPCRouteRule, matches).
//
// The specification leaves open where regular expressions stand. Here they come
// behind all exact paths and before all prefixes, the longer pattern first: who
// writes one means something narrower than the prefix beside it. For gRPC they
// come behind exact services and methods, of whatever length.
type rank [8]int

// The criteria. For gRPC a longer service takes the place of a longer prefix,
// and the number of characters of the method that of a method at all.
const (
	rankExactHost  = iota // characters of a host name without *
	rankHost              // characters of the host name
	rankPath              // class of the path
	rankPathLength        // characters of a prefix or a pattern
	rankMethod
	rankHeaders
	rankQuery
)

// Classes of paths.
const (
	classPrefix = iota
	classRegex
	classExact
)

func pathRank(p routing.PathMatch) (class, length int) {
	switch p.Kind {
	case routing.PathExact:
		return classExact, 0
	case routing.PathRegex:
		return classRegex, len(p.Value)
	default:
		return classPrefix, len(p.Value)
	}
}

// of is the rank with a host name.
func (r rank) of(host string) rank {
	r[rankHost] = len(host)
	if !strings.HasPrefix(host, "*.") {
		r[rankExactHost] = len(host)
	}
	return r
}

// compare puts the higher rank first.
func (r rank) compare(o rank) int {
	for i := range r {
		if d := cmp.Compare(o[i], r[i]); d != 0 {
			return d
		}
	}
	return 0
}

// ordered are the rules of routes, which are in the order of their age, in the
// order of precedence. Within a route the first of equal rank stays first.
func ordered(list []*compiler) []routing.Rule {
	var entries []entry
	for _, c := range list {
		entries = append(entries, c.entries...)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.rank.compare(b.rank) })
	out := make([]routing.Rule, 0, len(entries))
	for i := range entries {
		out = append(out, entries[i].rule)
	}
	return out
}
