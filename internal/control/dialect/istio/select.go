package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// candidate is a VirtualService that names the host, and that the client may
// see.
type candidate struct {
	object source.Object
	field  string // of the host
	host   string // as it is written
	// exactness is 0 for the host itself, and falls with the length of a
	// pattern.
	exactness int
	scope     scope
	created   time.Time
}

// scope is to whom an object is exported, the narrowest first, which is Istio's
// order.
type scope int

const (
	toOwn scope = iota
	toSome
	toAll
	toOthers // than the client
)

// candidates are in the order in which they hold.
func (q *question) candidates() []candidate {
	var out []candidate
	for _, o := range q.objects {
		v, ok := o.Value.(*source.IstioVirtualService)
		if !ok {
			continue
		}
		c, ok := q.nearest(o, v.Spec.GetHosts())
		if !ok {
			continue
		}
		if !boundToMesh(v) {
			q.lose(origin.Of(o, "spec.gateways"), "it is bound to gateways (%s), and not to the mesh", strings.Join(v.Spec.GetGateways(), ", "))
			continue
		}
		if c.scope = exported(v.Spec.GetExportTo(), o.Namespace, q.client.Namespace); c.scope == toOthers {
			q.lose(origin.Of(o, "spec.exportTo"), "it is not exported to namespace %s", q.client.Namespace)
			continue
		}
		c.created = v.CreationTimestamp.Time
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(b.exactness, a.exactness), cmp.Compare(a.scope, b.scope), a.created.Compare(b.created),
			cmp.Compare(a.object.Name+"."+a.object.Namespace, b.object.Name+"."+b.object.Namespace),
		)
	})
	return slices.CompactFunc(out, func(a, b candidate) bool { return a.object.Key == b.object.Key })
}

// nearest is the object with its host that fits best.
func (q *question) nearest(o source.Object, hosts []string) (candidate, bool) {
	best := candidate{object: o}
	found := false
	for i, h := range hosts {
		full := fullHost(h, o.Namespace)
		for _, asked := range q.hosts {
			e, ok := fits(full, asked)
			if ok && (!found || e > best.exactness) {
				best.field, best.host, best.exactness = fmt.Sprintf("spec.hosts[%d]", i), h, e
				found = true
			}
		}
	}
	return best, found
}

// fullHost is a host as it is compared. A name without a dot is one of the
// object's namespace.
func fullHost(host, namespace string) string {
	if name, ok := model.RuleHost(host, namespace); ok {
		return name.Host()
	}
	return model.HostOf(host).Name
}

// fits compares a host or a pattern with the host asked for.
func fits(pattern, host string) (exactness int, ok bool) {
	if pattern == host {
		return 0, true
	}
	end, cut := strings.CutPrefix(pattern, "*")
	return len(end) - 1000, cut && strings.HasSuffix(host, end)
}

func boundToMesh(v *source.IstioVirtualService) bool {
	g := v.Spec.GetGateways()
	return len(g) == 0 || slices.Contains(g, source.MeshGateway)
}

// exported is to whom an object is exported, as the client sees it. Nothing
// said is everybody, as the default of Istio's mesh has it.
func exported(to []string, own, client string) scope {
	best := toOthers
	if len(to) == 0 {
		best = toAll
	}
	for _, t := range to {
		switch {
		case t == "*":
			return toAll
		case (t == "." || t == own) && client == own:
			best = min(best, toOwn)
		case t == client && t != own:
			best = min(best, toSome)
		}
	}
	return best
}

// whyLater says why one candidate holds and another does not.
func whyLater(winner, c *candidate) string {
	name := winner.object.String()
	switch {
	case winner.exactness != c.exactness:
		return fmt.Sprintf("%s has the host %s, which is nearer than %s", name, winner.host, c.host)
	case winner.scope != c.scope:
		return name + " is for the same host and exported to fewer namespaces, which comes first"
	case !winner.created.Equal(c.created):
		return name + " is for the same host and older; VirtualServices for one host are not merged in the mesh"
	default:
		return name + " is for the same host and comes first by its name; VirtualServices for one host are not merged in the mesh"
	}
}
