package source

import (
	networkingv1 "istio.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IstioVirtualService is an object of networking.istio.io, whose versions have
// the same fields. The module of Istio's API has the message of the spec; the
// object around it is this.
type IstioVirtualService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec *networkingv1.VirtualService `json:"spec,omitempty"`
	// Status is what a cluster has written. It is not looked at.
	Status map[string]any `json:"status,omitempty"`
}
