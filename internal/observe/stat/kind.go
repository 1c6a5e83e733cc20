package stat

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of resource that has a table, by the name that JSON shows.
type Kind string

// The kinds that have tables.
const (
	Deployment Kind = "deployment"
	Pod        Kind = "pod"
	Service    Kind = "service"
	Workload   Kind = "workload"
	Namespace  Kind = "namespace"
)

// names lists the ways to write each kind, the usual short one first.
var names = []struct {
	kind Kind
	also []string
}{
	{Deployment, []string{"deploy", "deployment", "deployments"}},
	{Pod, []string{"pod", "po", "pods"}},
	{Service, []string{"svc", "service", "services"}},
	{Workload, []string{"workload", "workloads"}},
	{Namespace, []string{"ns", "namespace", "namespaces"}},
}

func (k Kind) known() bool {
	return k == Deployment || k == Pod || k == Service || k == Workload || k == Namespace
}

func kindNames() string {
	var all []string
	for _, n := range names {
		all = append(all, n.also[0])
	}
	return strings.Join(all, ", ")
}

// Ref is a kind and, perhaps, the name of one object.
type Ref struct {
	Kind Kind
	Name string
}

// ParseRef reads KIND or KIND/NAME, with the short names of kinds that kubectl
// has: deploy/good, po, svc/bb.
func ParseRef(s string) (Ref, error) {
	kind, name, named := strings.Cut(s, "/")
	for _, n := range names {
		if !slices.Contains(n.also, strings.ToLower(kind)) {
			continue
		}
		if named && name == "" {
			return Ref{}, fmt.Errorf("resource %q: the name is missing", s)
		}
		if strings.ContainsAny(name, "/ ") {
			return Ref{}, fmt.Errorf("resource %q: give KIND or KIND/NAME", s)
		}
		return Ref{n.kind, name}, nil
	}
	return Ref{}, fmt.Errorf("resource %q: the kind %q is not known: allowed are %s", s, kind, kindNames())
}

// String writes the ref as ParseRef reads it.
func (r Ref) String() string {
	s := string(r.Kind)
	if r.Name != "" {
		s += "/" + r.Name
	}
	return s
}
