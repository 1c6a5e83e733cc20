package convert

import (
	"encoding/json"
	"fmt"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// apiVersions of the kinds that are passed through.
func apiVersion(k source.Kind) string {
	switch k {
	case source.Deployment:
		return "apps/v1"
	case source.EndpointSlice:
		return "discovery.k8s.io/v1"
	case source.Workload:
		return v1alpha1.APIVersion
	default:
		return "v1"
	}
}

// manifestOf is an object as it is written, without what a cluster adds.
func manifestOf(o source.Object) (Manifest, error) {
	raw, err := json.Marshal(o.Value)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", o, err)
	}
	m := Manifest{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("writing %s: %w", o, err)
	}
	m["apiVersion"], m["kind"] = apiVersion(o.Kind), string(o.Kind)
	delete(m, "status")
	if meta, ok := m["metadata"].(object); ok {
		for _, k := range []string{"creationTimestamp", "resourceVersion", "uid", "generation", "managedFields"} {
			delete(meta, k)
		}
	}
	return Manifest(prune(map[string]any(m)).(object)), nil
}

// prune leaves out what is nothing.
func prune(v any) any {
	switch v := v.(type) {
	case object:
		for k := range v {
			switch x := prune(v[k]).(type) {
			case nil:
				delete(v, k)
			case object:
				if len(x) == 0 && k != "emptyDir" {
					delete(v, k)
				}
			case float64:
				if x == 0 && k == "targetPort" {
					delete(v, k) // of the port's own number
				}
			}
		}
	case list:
		for i := range v {
			v[i] = prune(v[i])
		}
	}
	return v
}
