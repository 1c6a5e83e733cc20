package local

import (
	"cmp"
	"slices"
)

// member is what a rollout sees of an instance.
type member struct {
	name    string
	hash    string // of its template
	address string // of a program that runs already
	number  int    // instances of an owner are numbered as they are started
	ready   bool
	leaving bool // it drains already
}

// steps are what has to be done next for one owner. More steps may follow when
// these have shown their effect.
type steps struct {
	start []string // one entry per instance to start: the address of a program that runs already, or ""
	drain []string // names
}

// rollout decides the next steps from what is wanted (nil: nothing any more)
// and what is there. While instances are replaced there is at most one more of
// them than wanted, and never fewer ready ones than there were: a new instance
// has to be ready before an old one is drained.
func rollout(w *want, members []member) steps {
	var s steps
	if w == nil {
		s.drainAll(members, func(member) bool { return true })
		return s
	}
	if len(w.template.addresses) > 0 {
		return addressRollout(w, members)
	}
	var current, old []member
	for _, m := range members {
		switch {
		case m.leaving:
		case m.hash == w.template.hash:
			current = append(current, m)
		default:
			old = append(old, m)
		}
	}
	if w.recreate {
		s.drainAll(old, func(member) bool { return true })
		if leavingOrOld := len(members) - len(current); leavingOrOld > 0 {
			return s
		}
	}
	surge := min(1, len(old))
	for range min(w.replicas-len(current), w.replicas+surge-len(current)-len(old)) {
		s.start = append(s.start, "")
	}
	s.retire(w.replicas, current, old)
	return s
}

// retire drains what is too much: old instances that serve nobody, other old
// ones as far as enough instances are ready without them, and current ones
// beyond the number that is wanted, the youngest first.
func (s *steps) retire(replicas int, current, old []member) {
	s.drainAll(old, func(m member) bool { return !m.ready })
	ready := countReady(current) + countReady(old)
	for _, m := range old {
		if m.ready && ready > replicas {
			s.drain = append(s.drain, m.name)
			ready--
		}
	}
	if extra := len(current) - replicas; extra > 0 {
		slices.SortFunc(current, func(a, b member) int {
			if a.ready != b.ready {
				return cmp.Compare(boolNumber(a.ready), boolNumber(b.ready))
			}
			return cmp.Compare(b.number, a.number)
		})
		for _, m := range current[:extra] {
			s.drain = append(s.drain, m.name)
		}
	}
}

// addressRollout keeps one instance per address of a program that runs already.
func addressRollout(w *want, members []member) steps {
	var s steps
	have := make(map[string]bool)
	for _, m := range members {
		if m.leaving {
			continue
		}
		if m.hash != w.template.hash || !slices.Contains(w.template.addresses, m.address) || have[m.address] {
			continue
		}
		have[m.address] = true
	}
	for _, a := range w.template.addresses {
		if !have[a] {
			s.start = append(s.start, a)
		}
	}
	for _, m := range members {
		stale := m.hash != w.template.hash
		gone := !slices.Contains(w.template.addresses, m.address)
		// The program itself goes on: the old sidecar goes once the new one
		// serves the same address.
		replaced := slices.ContainsFunc(members, func(n member) bool {
			return n.address == m.address && n.hash == w.template.hash && n.ready && !n.leaving
		})
		if !m.leaving && (gone || stale && (replaced || !m.ready)) {
			s.drain = append(s.drain, m.name)
		}
	}
	return s
}

func (s *steps) drainAll(members []member, which func(member) bool) {
	for _, m := range members {
		if !m.leaving && which(m) {
			s.drain = append(s.drain, m.name)
		}
	}
}

func countReady(members []member) int {
	n := 0
	for _, m := range members {
		n += boolNumber(m.ready)
	}
	return n
}

func boolNumber(b bool) int {
	if b {
		return 1
	}
	return 0
}
