package route

import "github.com/reclosermesh/recloser/internal/proxy/upstream"

// Million is the whole of a Mirror's fraction.
const Million = 1_000_000

// Mirror has copies of requests sent to a further cluster, whose answers nobody
// waits for (Envoy's request_mirror_policies). Immutable.
type Mirror struct {
	// Cluster is nil where the configuration names one that does not exist.
	Cluster *upstream.Cluster
	// Name is the cluster's, there or not.
	Name string
	// Fraction of the requests, in millionths.
	Fraction uint32
	// ShadowHost appends "-shadow" to the host that the copy names, as Envoy
	// does unless disable_shadow_host_suffix_append is set.
	ShadowHost bool
}

// Chosen tells whether a request is mirrored; r is a random number of the full
// range.
func (m *Mirror) Chosen(r uint32) bool { return uint64(r)*Million>>32 < uint64(m.Fraction) }
