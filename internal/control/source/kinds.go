package source

import (
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
)

// understood is what is known of a kind: how it is written, and its Go type.
type understood struct {
	apiVersion string
	kind       Kind
	namespaced bool
	typ        reflect.Type
}

// kinds lists what the mesh reads. It is not changed.
var kinds = []understood{
	{"v1", Service, true, reflect.TypeFor[corev1.Service]()},
	{"v1", Pod, true, reflect.TypeFor[corev1.Pod]()},
	{"v1", Namespace, false, reflect.TypeFor[corev1.Namespace]()},
	{"v1", Node, false, reflect.TypeFor[corev1.Node]()},
	{"discovery.k8s.io/v1", EndpointSlice, true, reflect.TypeFor[discoveryv1.EndpointSlice]()},
	{"apps/v1", Deployment, true, reflect.TypeFor[appsv1.Deployment]()},
	{v1alpha1.APIVersion, Workload, true, reflect.TypeFor[v1alpha1.Workload]()},
	{"networking.istio.io/v1", DestinationRule, true, reflect.TypeFor[IstioDestinationRule]()},
	{"networking.istio.io/v1beta1", DestinationRule, true, reflect.TypeFor[IstioDestinationRule]()},
	{"networking.istio.io/v1alpha3", DestinationRule, true, reflect.TypeFor[IstioDestinationRule]()},
	{"gateway.networking.k8s.io/v1", HTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"gateway.networking.k8s.io/v1beta1", HTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"gateway.networking.k8s.io/v1", GRPCRoute, true, reflect.TypeFor[GatewayGRPCRoute]()},
	{"gateway.networking.k8s.io/v1alpha2", GRPCRoute, true, reflect.TypeFor[GatewayGRPCRoute]()},
	{"policy.linkerd.io/v1beta3", LinkerdHTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"policy.linkerd.io/v1beta2", LinkerdHTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"policy.linkerd.io/v1beta1", LinkerdHTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"policy.linkerd.io/v1alpha1", LinkerdHTTPRoute, true, reflect.TypeFor[GatewayHTTPRoute]()},
	{"gateway.networking.x-k8s.io/v1alpha1", BackendTrafficPolicy, true, reflect.TypeFor[GatewayBackendPolicy]()},
	{"networking.istio.io/v1", VirtualService, true, reflect.TypeFor[IstioVirtualService]()},
	{"networking.istio.io/v1beta1", VirtualService, true, reflect.TypeFor[IstioVirtualService]()},
	{"networking.istio.io/v1alpha3", VirtualService, true, reflect.TypeFor[IstioVirtualService]()},
	{"linkerd.io/v1alpha2", ServiceProfile, true, reflect.TypeFor[LinkerdServiceProfile]()},
	{"split.smi-spec.io/v1alpha4", TrafficSplit, true, reflect.TypeFor[SMITrafficSplit]()},
	{"split.smi-spec.io/v1alpha3", TrafficSplit, true, reflect.TypeFor[SMITrafficSplit]()},
	{"split.smi-spec.io/v1alpha2", TrafficSplit, true, reflect.TypeFor[SMITrafficSplit]()},
	{"split.smi-spec.io/v1alpha1", TrafficSplit, true, reflect.TypeFor[SMITrafficSplit]()},
	{"specs.smi-spec.io/v1alpha4", HTTPRouteGroup, true, reflect.TypeFor[SMIRouteGroup]()},
	{"specs.smi-spec.io/v1alpha3", HTTPRouteGroup, true, reflect.TypeFor[SMIRouteGroup]()},
	{"specs.smi-spec.io/v1alpha2", HTTPRouteGroup, true, reflect.TypeFor[SMIRouteGroup]()},
	{"specs.smi-spec.io/v1alpha1", HTTPRouteGroup, true, reflect.TypeFor[SMIRouteGroup]()},
}

// elsewhere are kinds that are right in a manifest and mean nothing to a mesh:
// they are passed over with an info instead of a warning.
var elsewhere = map[string]bool{
	"v1/ConfigMap": true, "v1/Secret": true, "v1/ServiceAccount": true,
	"v1/PersistentVolumeClaim": true, "v1/PersistentVolume": true,
	"v1/LimitRange": true, "v1/ResourceQuota": true,
	"rbac.authorization.k8s.io/v1/Role":                true,
	"rbac.authorization.k8s.io/v1/RoleBinding":         true,
	"rbac.authorization.k8s.io/v1/ClusterRole":         true,
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding":  true,
	"apiextensions.k8s.io/v1/CustomResourceDefinition": true,
	// ReferenceGrant: a mesh needs none, since routes add nothing to what could
	// be reached before (GEP-1294, "Namespace boundaries").
	"gateway.networking.k8s.io/v1/ReferenceGrant":                    true,
	"gateway.networking.k8s.io/v1beta1/ReferenceGrant":               true,
	"gateway.networking.k8s.io/v1/Gateway":                           true,
	"gateway.networking.k8s.io/v1beta1/Gateway":                      true,
	"gateway.networking.k8s.io/v1/GatewayClass":                      true,
	"gateway.networking.k8s.io/v1beta1/GatewayClass":                 true,
	"policy/v1/PodDisruptionBudget":                                  true,
	"autoscaling/v2/HorizontalPodAutoscaler":                         true,
	"admissionregistration.k8s.io/v1/MutatingWebhookConfiguration":   true,
	"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": true,
}

func lookUpKind(apiVersion, kind string) (understood, bool) {
	if group, _, _ := strings.Cut(apiVersion, "/"); group == "policy.linkerd.io" && kind == "HTTPRoute" {
		kind = string(LinkerdHTTPRoute)
	}
	for _, u := range kinds {
		if u.apiVersion == apiVersion && string(u.kind) == kind {
			return u, true
		}
	}
	return understood{}, false
}

// otherVersion is the API version under which a kind of that name is read.
func otherVersion(kind string) string {
	for _, u := range kinds {
		if string(u.kind) == kind {
			return u.apiVersion
		}
	}
	return ""
}

func kindNames() []string {
	out := make([]string, 0, len(kinds))
	for _, u := range kinds {
		out = append(out, string(u.kind))
	}
	return out
}
