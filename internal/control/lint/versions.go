package lint

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// version tells of an API version that has a successor. All of them are read
// and mean the same.
func (e *effective) version(o *source.Object) {
	v, ok := o.Value.(interface {
		GroupVersionKind() schema.GroupVersionKind
	})
	if !ok {
		return
	}
	is := v.GroupVersionKind()
	if now := successor(is); now != "" {
		e.find(origin.Of(*o, "apiVersion"), Info, "deprecated-version", is.GroupVersion().String(), "", "this has a successor: "+now, "")
	}
}

// successor says what took the place of a version; empty: nothing did.
func successor(k schema.GroupVersionKind) string {
	switch {
	case k.Group == "gateway.networking.k8s.io" && k.Version != "v1":
		return "gateway.networking.k8s.io/v1 has the same fields"
	case k.Group == "policy.linkerd.io" && k.Kind == "HTTPRoute":
		return "HTTPRoute of gateway.networking.k8s.io/v1, which Linkerd reads too, has more"
	case k.Group == "networking.istio.io" && strings.HasPrefix(k.Version, "v1alpha"):
		return "networking.istio.io/v1 has the same fields"
	case k.Group == "split.smi-spec.io", k.Group == "specs.smi-spec.io":
		return "the Service Mesh Interface is no longer developed; HTTPRoute of gateway.networking.k8s.io/v1 says all that it says"
	default:
		return ""
	}
}
