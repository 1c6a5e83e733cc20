package source

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayxv1alpha1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"
)

// Kinds of Gateway API. An HTTPRoute of policy.linkerd.io is the same resource
// in an older group; as two objects of one name may exist, its kind has the
// group, as kubectl writes it.
const (
	HTTPRoute            Kind = "HTTPRoute"
	GRPCRoute            Kind = "GRPCRoute"
	LinkerdHTTPRoute     Kind = "HTTPRoute.policy.linkerd.io"
	BackendTrafficPolicy Kind = "XBackendTrafficPolicy"
)

// GatewayHTTPRoute is an HTTPRoute of gateway.networking.k8s.io, whose versions
// have the same fields, or of policy.linkerd.io, whose fields are some of them.
type GatewayHTTPRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec gatewayv1.HTTPRouteSpec `json:"spec"`
	// Status is what a cluster has written. It is not looked at.
	Status map[string]any `json:"status,omitempty"`
}

// GatewayGRPCRoute is a GRPCRoute of gateway.networking.k8s.io.
type GatewayGRPCRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec gatewayv1.GRPCRouteSpec `json:"spec"`
	// Status is what a cluster has written. It is not looked at.
	Status map[string]any `json:"status,omitempty"`
}

// GatewayBackendPolicy is an XBackendTrafficPolicy of
// gateway.networking.x-k8s.io (GEP-3388).
type GatewayBackendPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec gatewayxv1alpha1.BackendTrafficPolicySpec `json:"spec"`
	// Status is what a cluster has written. It is not looked at.
	Status map[string]any `json:"status,omitempty"`
}
