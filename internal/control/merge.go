package control

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// merge puts the objects of all sources together, each once, with the live
// annotations on them. It is false until every source has published.
func (c *Control) merge() (objects []source.Object, problems []lint.Finding, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := map[source.Key]int{}
	for _, u := range c.updates {
		if u == nil {
			return nil, nil, false
		}
		problems = append(problems, u.Problems...)
		for _, o := range u.Objects {
			i, twice := at[o.Key]
			switch {
			case !twice:
				at[o.Key] = len(objects)
				objects = append(objects, o)
			case o.Kind == source.Pod:
				// A Pod of a manifest, and the same one as it runs.
				if o.Value.(*corev1.Pod).Status.PodIP != "" {
					objects[i] = o
				}
			default:
				problems = append(problems, source.Duplicate(&objects[i], &o))
			}
		}
	}
	c.overlay.apply(objects)
	return objects, problems, true
}
