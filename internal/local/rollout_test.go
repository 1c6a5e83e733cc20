package local

import (
	"fmt"
	"strings"
	"testing"
)

// parseMembers reads "new:ready old:ready,leaving" and so on: the template's
// hash, then what is true of the instance; names are a, b, c, ...
func parseMembers(s string) []member {
	var out []member
	for i, f := range strings.Fields(s) {
		hash, state, _ := strings.Cut(f, ":")
		m := member{name: string(rune('a' + i)), hash: hash, number: i}
		if h, a, ok := strings.Cut(hash, "@"); ok {
			m.hash, m.address = h, a
		}
		m.ready = strings.Contains(state, "ready")
		m.leaving = strings.Contains(state, "leaving")
		out = append(out, m)
	}
	return out
}

func TestRollout(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas int // -1: the owner is gone
		recreate bool
		members  string
		start    int
		drain    string
	}{
		{name: "from nothing", replicas: 3, start: 3},
		{name: "nothing to do", replicas: 2, members: "new:ready new:ready"},
		{name: "still starting is enough", replicas: 2, members: "new:ready new"},
		{name: "up", replicas: 3, members: "new:ready", start: 2},
		{name: "down: the youngest goes", replicas: 1, members: "new:ready new:ready new:ready", drain: "c b"},
		{name: "down: what serves nobody goes first", replicas: 1, members: "new new:ready", drain: "a"},
		{name: "to zero", replicas: 0, members: "new:ready new", drain: "b a"},
		{name: "to zero with old ones", replicas: 0, members: "old:ready", drain: "a"},
		{name: "the owner is gone", replicas: -1, members: "new:ready old new:ready,leaving", drain: "a b"},
		{name: "a new template: one more first", replicas: 1, members: "old:ready", start: 1},
		{name: "the new one is not ready: wait", replicas: 1, members: "old:ready new"},
		{name: "the new one is ready: the old goes", replicas: 1, members: "old:ready new:ready", drain: "a"},
		{name: "the old one leaves: done", replicas: 1, members: "old:leaving new:ready"},
		{name: "three: one at a time", replicas: 3, members: "old:ready old:ready old:ready", start: 1},
		{name: "three: the first is ready", replicas: 3, members: "old:ready old:ready old:ready new:ready", drain: "a"},
		{name: "three: next", replicas: 3, members: "old:leaving old:ready old:ready new:ready", start: 1},
		{name: "old ones that serve nobody go at once", replicas: 2, members: "old old:ready", start: 1, drain: "a"},
		{name: "template and scale at once", replicas: 3, members: "old:ready", start: 3},
		{name: "recreate: all go first", replicas: 2, recreate: true, members: "old:ready old:ready", drain: "a b"},
		{name: "recreate: wait for the end", replicas: 2, recreate: true, members: "old:leaving"},
		{name: "recreate: then start", replicas: 2, recreate: true, start: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w *want
			if c.replicas >= 0 {
				w = &want{replicas: c.replicas, recreate: c.recreate, template: &template{hash: "new"}}
			}
			got := rollout(w, parseMembers(c.members))
			if len(got.start) != c.start || strings.Join(got.drain, " ") != c.drain {
				t.Errorf("start %d drain %q, want %d and %q", len(got.start), got.drain, c.start, c.drain)
			}
		})
	}
}

func TestRolloutOfAddresses(t *testing.T) {
	for _, c := range []struct{ addresses, members, start, drain string }{
		{"x y", "", "x y", ""},
		{"x y", "new@x:ready new@y", "", ""},
		{"x", "new@x:ready new@y:ready", "", "b"},
		{"x", "old@x:ready", "x", ""},
		{"x", "old@x:ready new@x", "", ""},
		{"x", "old@x:ready new@x:ready", "", "a"},
		{"x", "old@x", "x", "a"},
	} {
		w := &want{template: &template{hash: "new", addresses: strings.Fields(c.addresses)}}
		got := rollout(w, parseMembers(c.members))
		if strings.Join(got.start, " ") != c.start || strings.Join(got.drain, " ") != c.drain {
			t.Errorf("%+v: start %q drain %q", c, got.start, got.drain)
		}
	}
}

// Whatever happens on the way, a rollout of instances that do become ready
// never leaves fewer ready than are wanted, and ends.
func TestRolloutNeverGoesBelowWhatIsWanted(t *testing.T) {
	for replicas := 1; replicas <= 5; replicas++ {
		w := &want{replicas: replicas, template: &template{hash: "new"}}
		var members []member
		for i := range replicas {
			members = append(members, member{name: fmt.Sprint("old", i), hash: "old", number: i, ready: true})
		}
		for round := range 10 * replicas {
			s := rollout(w, members)
			if len(s.start)+len(s.drain) == 0 && countNew(members) == replicas && len(members) == replicas {
				break
			}
			if round == 10*replicas-1 {
				t.Fatalf("%d replicas: not done: %+v", replicas, members)
			}
			members = apply(members, s, round)
			if n := countServing(members); n < replicas {
				t.Fatalf("%d replicas: %d serve in round %d: %+v", replicas, n, round, members)
			}
			if len(members) > replicas+1 {
				t.Fatalf("%d replicas: %d instances at once", replicas, len(members))
			}
		}
	}
}

// apply plays one round: what leaves has ended, what starts is ready next time.
func apply(members []member, s steps, round int) []member {
	var out []member
	for _, m := range members {
		if m.leaving {
			continue
		}
		m.ready = true
		for _, name := range s.drain {
			m.leaving = m.leaving || m.name == name
		}
		m.ready = m.ready && !m.leaving
		out = append(out, m)
	}
	for i := range s.start {
		out = append(out, member{name: fmt.Sprint("new", round, i), hash: "new", number: 100 + round})
	}
	return out
}

func countNew(members []member) (n int) {
	for _, m := range members {
		if m.hash == "new" && m.ready {
			n++
		}
	}
	return n
}

func countServing(members []member) int { return countReady(members) }
