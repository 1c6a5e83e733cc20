package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// maxCallers bounds whose requests are looked at for one service.
const maxCallers = 50

// CheckPolicy looks at what comes of everything together: where requests go, who
// lost, what is tried again and how often. have are the findings so far; what
// they tell of is not told again.
func CheckPolicy(w *model.World, t *policy.Table, have []Finding) []Finding {
	e := &effective{
		world: w, table: t, objects: map[string]*source.Object{},
		told: map[string][]string{}, broken: map[string]bool{}, used: map[string][]string{}, lost: map[lostKey]lostWhy{},
		attempts: map[model.Name]uint32{}, retryOrigin: map[model.Name]origin.Origin{},
		leads: map[model.Name][]model.Name{},
	}
	for i := range have {
		f := &have[i]
		if f.Severity != Info {
			e.told[f.Object] = append(e.told[f.Object], f.Field)
		}
		e.broken[f.Object] = e.broken[f.Object] || f.Severity == Error
	}
	all := w.AllObjects()
	for i := range all {
		e.objects[all[i].String()] = &all[i]
	}
	for _, s := range w.Services() {
		e.probes(s)
		if !spokenOf(w, s) {
			continue
		}
		for _, c := range e.callers(s) {
			for i := range s.Ports {
				if r, err := t.Routes(c, s.Name, s.Ports[i].Number); err == nil {
					e.routes(s, r)
				}
			}
		}
	}
	e.losers()
	e.amplification()
	for i := range all {
		e.version(&all[i])
	}
	return e.out
}

// effective is one look at a policy.
type effective struct {
	world   *model.World
	table   *policy.Table
	objects map[string]*source.Object // by their String
	told    map[string][]string       // fields of findings, by object
	broken  map[string]bool           // objects with errors
	cmp     routing.Comparer
	out     []Finding

	// used are the fields that have an effect, by object.
	used map[string][]string
	lost map[lostKey]lostWhy
	// attempts are the most that a request to a service is sent again.
	attempts    map[model.Name]uint32
	retryOrigin map[model.Name]origin.Origin
	// leads are the services that requests for a service lead to.
	leads map[model.Name][]model.Name
	run   *runners // of runners
}

// spokenOf tells whether anything but the service itself can decide about
// requests to it. There are very many services of which nothing is said.
func spokenOf(w *model.World, s *model.Service) bool {
	for _, o := range w.Rules(s.Name) {
		if o.Kind != source.HTTPRouteGroup && o.Kind != source.DestinationRule {
			return true
		}
	}
	for name := range s.Spec.Annotations {
		prefix, _, _ := strings.Cut(name, "/")
		if prefix == "retry.linkerd.io" || prefix == "timeout.linkerd.io" || name == policy.RouteToAnnotation {
			return true
		}
	}
	return false
}

// callers are those whose requests may differ: any of the service's namespace,
// and of those in which a rule about it is; and, as a VirtualService may be for
// some workloads only, the workloads of these namespaces.
func (e *effective) callers(s *model.Service) []model.Client {
	namespaces := []string{s.Namespace}
	byWorkload := false
	for _, o := range e.world.Rules(s.Name) {
		namespaces = append(namespaces, o.Namespace)
		byWorkload = byWorkload || o.Kind == source.VirtualService
	}
	slices.Sort(namespaces)
	var out []model.Client
	for _, ns := range slices.Compact(namespaces) {
		out = append(out, model.Client{Namespace: ns})
	}
	if byWorkload {
		for _, kind := range []source.Kind{source.Deployment, source.Workload} {
			for _, o := range e.world.Objects(kind) {
				out = append(out, model.Client{Namespace: o.Namespace, Workload: o.Name, Kind: string(kind)})
			}
		}
	}
	return out[:min(len(out), maxCallers)]
}

// find adds a finding about what an origin names. What nobody has written, and
// what has no object, is not told of.
func (e *effective) find(from origin.Origin, severity source.Severity, code, value, allowed, reason, mend string) {
	o := e.objects[from.Object]
	if o == nil {
		return
	}
	e.out = append(e.out, o.Problem(Finding{
		Code: code, Severity: severity, Field: from.Field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
	}))
}

// routes looks at the rules for one port and one caller.
func (e *effective) routes(s *model.Service, r *policy.Routes) {
	e.shadowed(r)
	for i := range r.Rules {
		rule := &r.Rules[i]
		e.use(rule)
		e.weights(rule)
		e.retries(s, rule)
		e.timeouts(rule)
		e.unstacked(s, r, rule)
		for i := range rule.Backends {
			if to := rule.Backends[i].Service; !slices.Contains(e.leads[s.Name], to) {
				e.leads[s.Name] = append(e.leads[s.Name], to)
			}
		}
	}
	for _, l := range r.Losers {
		key := lostKey{l.Origin.Object, l.Origin.Field}
		if _, ok := e.lost[key]; !ok {
			e.lost[key] = lostWhy{l, r.Dialect}
		}
	}
}

// maxComparisons bounds the comparisons for one port; rules that are compared
// with each other grow with their square.
const maxComparisons = 1_000_000

// shadowed looks for rules that never get a request, because earlier ones take
// all that they match. A part of an object that became several rules is
// shadowed when all of them are.
func (e *effective) shadowed(r *policy.Routes) {
	type part struct {
		origin origin.Origin
		rules  []int
	}
	var parts []part
	at := map[origin.Origin]int{}
	for i := range r.Rules {
		o := r.Rules[i].Origin
		n, ok := at[o]
		if !ok {
			n = len(parts)
			at[o] = n
			parts = append(parts, part{origin: o})
		}
		parts[n].rules = append(parts[n].rules, i)
	}
	budget := maxComparisons
	for _, p := range parts {
		var by *routing.Rule
		all := true
		for _, i := range p.rules {
			cover := e.coveredBy(r.Rules, i, &budget)
			if cover == nil {
				all = false
				break
			}
			by = cover
		}
		if !all || by == nil {
			continue
		}
		last := &r.Rules[p.rules[len(p.rules)-1]]
		if by.Match.All() && last.Match.All() {
			e.find(p.origin, Warning, "two-match-all", "", "", fmt.Sprintf("%s takes every request already, and so would this; this one never gets any", by.Origin), "give it a match, or delete one of the two")
			continue
		}
		e.find(p.origin, Warning, "shadowed-rule", last.Match.String(), "", fmt.Sprintf("this never gets a request: %s takes all that it matches (%s), and comes first", by.Origin, by.Match), "make its match narrower than the other's, or put it first")
	}
}

// coveredBy is an earlier rule of another part that takes all that rule i
// matches.
func (e *effective) coveredBy(rules []routing.Rule, i int, budget *int) *routing.Rule {
	for j := range rules[:i] {
		if rules[j].Origin == rules[i].Origin {
			continue
		}
		if *budget--; *budget < 0 {
			return nil
		}
		if e.cmp.Covers(rules[j].Match, rules[i].Match) {
			return &rules[j]
		}
	}
	return nil
}

// weights looks at the shares of a rule's backends.
func (e *effective) weights(r *routing.Rule) {
	sum := uint64(0)
	for i := range r.Backends {
		b := &r.Backends[i]
		sum += uint64(b.Weight.Value)
		s := e.world.Service(b.Service.Namespace, b.Service.Name)
		if b.Invalid == "" || s == nil || s.Port(b.Port) != nil || b.Weight.Value > 65535 {
			continue
		}
		if p := s.Port(uint16(b.Weight.Value)); p != nil && b.Weight.Value > 0 {
			e.find(b.Origin, Warning, "port-and-weight-swapped", fmt.Sprintf("port %d, weight %d", b.Port, b.Weight.Value), s.PortList(),
				fmt.Sprintf("service %s has no port %d, but one of the number that is the weight", s.Name.Name, b.Port), fmt.Sprintf("write port: %d and weight: %d", p.Number, b.Port))
		}
	}
	if len(r.Backends) > 0 && sum == 0 {
		e.find(r.Origin, Warning, "zero-weights", "", "", "the weights of all backends are 0, so requests are answered with 500", "give one a weight")
	}
}

// unstacked looks for backends with routes of their own, which do not hold for
// what comes by way of this one.
func (e *effective) unstacked(s *model.Service, r *policy.Routes, rule *routing.Rule) {
	for i := range rule.Backends {
		b := &rule.Backends[i]
		to := e.world.Service(b.Service.Namespace, b.Service.Name)
		if to == nil || to == s || b.Invalid != "" || strings.TrimSpace(to.Spec.Annotations[policy.StackAnnotation]) == "true" || !spokenOf(e.world, to) {
			continue
		}
		own, err := e.table.Routes(r.Client, to.Name, b.Port)
		if err != nil || own.Dialect == routing.Recloser || len(own.Rules) == 0 || own.Rules[0].Origin.Object == rule.Origin.Object {
			continue
		}
		e.find(b.Origin, Warning, "routes-not-stacked", to.Name.String(), "",
			fmt.Sprintf("%s has routes of its own (%s), which hold for requests that ask for it, and not for these", to.Object.String(), own.Rules[0].Origin.Object),
			fmt.Sprintf("set %s: \"true\" on it to have them hold for these too", policy.StackAnnotation))
	}
}
