package gateway

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// RouteStatus is a route's name and its status, as an object of Kubernetes with
// nothing else in it.
type RouteStatus struct {
	metav1.TypeMeta `json:",inline"`

	Metadata RouteMeta             `json:"metadata"`
	Status   gatewayv1.RouteStatus `json:"status"`
}

// RouteMeta names a route.
type RouteMeta struct {
	Name       string `json:"name"`
	Namespace  string `json:"namespace"`
	Generation int64  `json:"generation,omitempty"`
}

// RouteKinds are the kinds of routes, in the order in which they are shown.
func RouteKinds() []source.Kind {
	return []source.Kind{source.GRPCRoute, source.HTTPRoute, source.LinkerdHTTPRoute}
}

// Report is the status of a route as it would be stored by somebody who sees
// the route for the first time at now. ok is false for an object of any other
// kind.
func Report(w *model.World, o source.Object, now time.Time) (r RouteStatus, ok bool) {
	if read(o) == nil {
		return RouteStatus{}, false
	}
	r.Metadata = RouteMeta{o.Name, o.Namespace, o.Meta().GetGeneration()}
	switch v := o.Value.(type) {
	case *source.GatewayHTTPRoute:
		r.TypeMeta = v.TypeMeta
	case *source.GatewayGRPCRoute:
		r.TypeMeta = v.TypeMeta
	}
	r.Status.Parents = Status(w, o)
	if r.Status.Parents == nil {
		r.Status.Parents = []ParentStatus{} // the field is required
	}
	for i := range r.Status.Parents {
		for j := range r.Status.Parents[i].Conditions {
			r.Status.Parents[i].Conditions[j].LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		}
	}
	return r, true
}

// OtherParents are the parents of a route that are no Services, as
// "gateway/edge". Other controllers tell what they do with it.
func OtherParents(o source.Object) []string {
	r := read(o)
	if r == nil {
		return nil
	}
	var out []string
	for i := range r.parents {
		if _, ok := model.ParentService(&r.parents[i], r.Namespace); !ok {
			out = append(out, ParentName(&r.parents[i], r.Namespace))
		}
	}
	return out
}
