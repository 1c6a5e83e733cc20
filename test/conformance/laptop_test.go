package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/test/mesh"
)

// laptop is a mesh on this machine that runs the suite's applications.
type laptop struct {
	t    testing.TB
	dir  string // of the manifests
	http string // of the HTTP API
}

// startLaptop runs `recloser up` until the test ends. It returns when all pods
// are ready.
func startLaptop(t testing.TB) *laptop {
	t.Helper()
	l := &laptop{t: t, dir: t.TempDir(), http: mesh.FreeAddress(t)}
	l.write("mesh.yaml", manifest(t, "mesh/manifests.yaml"))
	mesh.Run(t, mesh.Recloser(t), "up", "-f", l.dir, "--http-address", l.http, "--proxy", mesh.Binary(t), "--quiet")
	mesh.Until(t, "pods that are ready", func() error {
		want := l.replicas()
		have := slices.DeleteFunc(l.pods(), func(p corev1.Pod) bool { return !ready(&p) })
		if want == 0 || len(have) != want {
			return fmt.Errorf("%d of %d", len(have), want)
		}
		return nil
	})
	return l
}

// manifest is one that the module carries.
func manifest(t testing.TB, name string) []byte {
	t.Helper()
	data, err := conformance.Manifests.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// write puts a file into the mesh's folder at once.
func (l *laptop) write(name string, data []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	// Not a manifest until it is whole.
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		l.t.Fatal(err)
	}
}

// apply adds manifests of routes to the mesh until the test ends, and returns
// when the control plane has read them and nothing else.
func (l *laptop) apply(t *testing.T, names ...string) {
	t.Helper()
	var docs []byte
	for _, name := range names {
		docs = append(docs, append(manifest(t, name), "\n---\n"...)...)
	}
	l.applyText(t, string(docs))
}

func (l *laptop) applyText(t *testing.T, docs string) {
	t.Helper()
	l.write("routes.yaml", []byte(docs))
	t.Cleanup(func() {
		l.write("routes.yaml", []byte("# no routes\n")) // an empty file would be taken for one that is being written
		l.untilRoutes(t, nil)
	})
	l.untilRoutes(t, routesOf(t, docs))
}

// untilRoutes waits until the mesh has these routes.
func (l *laptop) untilRoutes(t *testing.T, want []string) {
	t.Helper()
	mesh.Until(t, "the routes "+strings.Join(want, ", "), func() error {
		have, err := l.routes()
		if err == nil && !slices.Equal(have, want) {
			err = fmt.Errorf("there are %v", have)
		}
		return err
	})
}

// routesOf are the routes in a manifest, sorted, as "kind/namespace/name".
func routesOf(t *testing.T, docs string) []string {
	t.Helper()
	var out []string
	for doc := range strings.SplitSeq(docs, "\n---\n") {
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Kind, "Route") {
			out = append(out, o.Kind+"/"+o.Namespace+"/"+o.Name)
		}
	}
	slices.Sort(out)
	return out
}

// routes are those of the mesh.
func (l *laptop) routes() ([]string, error) {
	objects, err := l.objects()
	var out []string
	for _, raw := range objects {
		var o metav1.PartialObjectMetadata
		if json.Unmarshal(raw, &o) == nil && strings.HasSuffix(o.Kind, "Route") {
			out = append(out, o.Kind+"/"+o.Namespace+"/"+o.Name)
		}
	}
	slices.Sort(out)
	return out, err
}

// objects are all that the mesh has read and made.
func (l *laptop) objects() ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.http+"/api/v1/objects", nil)
	if err != nil {
		return nil, err
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var doc struct {
		Objects []struct {
			Object json.RawMessage `json:"object"`
		} `json:"objects"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return nil, err
	}
	out := make([]json.RawMessage, 0, len(doc.Objects))
	for _, o := range doc.Objects {
		out = append(out, o.Object)
	}
	return out, nil
}

// pods are the instances of the mesh.
func (l *laptop) pods() []corev1.Pod {
	objects, err := l.objects()
	if err != nil {
		return nil
	}
	var out []corev1.Pod
	for _, raw := range objects {
		var p corev1.Pod
		if json.Unmarshal(raw, &p) == nil && p.Kind == "Pod" {
			out = append(out, p)
		}
	}
	return out
}

// replicas are how many pods there are to be.
func (l *laptop) replicas() int {
	objects, err := l.objects()
	if err != nil {
		return 0
	}
	n := 0
	for _, raw := range objects {
		var o metav1.PartialObjectMetadata
		if json.Unmarshal(raw, &o) == nil && o.Kind == "Deployment" {
			n++ // one each
		}
	}
	return n
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// pod is an instance of a deployment.
func (l *laptop) pod(namespace, deployment string) corev1.Pod {
	l.t.Helper()
	for _, p := range l.pods() {
		if p.Namespace == namespace && strings.HasPrefix(p.Name, deployment+"-") {
			return p
		}
	}
	l.t.Fatalf("no pod of %s in namespace %s", deployment, namespace)
	return corev1.Pod{}
}
