package source

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kinds of the Service Mesh Interface.
const (
	TrafficSplit   Kind = "TrafficSplit"
	HTTPRouteGroup Kind = "HTTPRouteGroup"
)

// SMITrafficSplit is a TrafficSplit of split.smi-spec.io, v1alpha1 to v1alpha4.
// Weights are quantities in v1alpha1 and whole numbers since; there are matches
// since v1alpha3.
type SMITrafficSplit struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TrafficSplitSpec `json:"spec"`
	// Status is what a cluster has written. It is not looked at.
	Status map[string]any `json:"status,omitempty"`
}

// TrafficSplitSpec is what a TrafficSplit says.
type TrafficSplitSpec struct {
	// Service is the root: what callers ask for.
	Service  string         `json:"service,omitempty"`
	Backends []SplitBackend `json:"backends,omitempty"`
	// Matches name HTTPRouteGroups; what none of their matches takes goes to the
	// root's own endpoints.
	Matches []corev1.TypedLocalObjectReference `json:"matches,omitempty"`
}

// SplitBackend is a service and its weight.
type SplitBackend struct {
	Service string             `json:"service,omitempty"`
	Weight  *resource.Quantity `json:"weight,omitempty"`
}

// SMIRouteGroup is an HTTPRouteGroup of specs.smi-spec.io. Its matches are at
// the top in v1alpha1 and v1alpha2, and in the spec since v1alpha3.
type SMIRouteGroup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec       *RouteGroupSpec `json:"spec,omitempty"`
	TopMatches []GroupMatch    `json:"matches,omitempty"`
}

// RouteGroupSpec is what an HTTPRouteGroup says.
type RouteGroupSpec struct {
	Matches []GroupMatch `json:"matches,omitempty"`
}

// Matches are those of any version, and the field that they are in.
func (g *SMIRouteGroup) Matches() (list []GroupMatch, field string) {
	if g.Spec != nil {
		return g.Spec.Matches, "spec.matches"
	}
	return g.TopMatches, "matches"
}

// GroupMatch is one class of requests. What is empty matches any.
type GroupMatch struct {
	Name string `json:"name,omitempty"`
	// PathRegex is anchored to the begin of the path.
	PathRegex string `json:"pathRegex,omitempty"`
	// Methods, or "*" for any.
	Methods []string     `json:"methods,omitempty"`
	Headers GroupHeaders `json:"headers,omitempty"`
}

// GroupHeaders are regular expressions by the name of the header. It is a map,
// or a list of maps as some versions have it.
type GroupHeaders map[string]string

// UnmarshalJSON reads either form.
func (h *GroupHeaders) UnmarshalJSON(raw []byte) error {
	var one map[string]string
	if json.Unmarshal(raw, &one) == nil {
		*h = one
		return nil
	}
	var list []map[string]string
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*h = GroupHeaders{}
	for _, m := range list {
		for name, value := range m {
			if _, twice := (*h)[name]; twice {
				return fmt.Errorf("header %q stands twice", name)
			}
			(*h)[name] = value
		}
	}
	return nil
}
