package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// cluster is what the suite sees of the mesh.
type cluster struct {
	client.Client // not there: List is all that the suite's mesh tests call

	laptop *laptop
	rest   *rest.Config
	sets   kubernetes.Interface
}

// newCluster stands in for a cluster until the test ends.
func newCluster(t testing.TB, l *laptop) *cluster {
	t.Helper()
	c := &cluster{laptop: l}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/pods/{pod}/exec", c.exec)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.rest = &rest.Config{Host: server.URL, QPS: -1}
	var err error
	if c.sets, err = kubernetes.NewForConfig(c.rest); err != nil {
		t.Fatal(err)
	}
	return c
}

// List lists pods.
func (c *cluster) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	pods, ok := into.(*corev1.PodList)
	if !ok {
		return fmt.Errorf("%T cannot be listed here", into)
	}
	o := (&client.ListOptions{}).ApplyOptions(opts)
	selector := o.LabelSelector
	if selector == nil {
		selector = labels.Everything()
	}
	for _, p := range c.laptop.pods() {
		if (o.Namespace == "" || o.Namespace == p.Namespace) && selector.Matches(labels.Set(p.Labels)) && ready(&p) {
			pods.Items = append(pods.Items, p)
		}
	}
	return nil
}

// exec runs a command in a pod, as the API server's sub-resource does
// (Kubernetes, remotecommand, protocol v4.channel.k8s.io).
func (c *cluster) exec(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	streams := make(chan httpstream.Stream, 4)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return // it has answered
	}
	defer conn.Close()
	conn.SetIdleTimeout(time.Minute)
	have := map[string]httpstream.Stream{}
	for len(have) < 3 {
		select {
		case s := <-streams:
			have[s.Headers().Get(corev1.StreamType)] = s
		case <-conn.CloseChan():
			return
		}
	}
	status := metav1.Status{Status: metav1.StatusSuccess}
	out, err := c.run(r)
	if err != nil {
		status = metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Message: err.Error()}
	}
	raw, _ := json.Marshal(status)
	_, _ = io.WriteString(have[corev1.StreamTypeStdout], out) // the other side may have gone
	_, _ = have[corev1.StreamTypeError].Write(raw)
	for _, s := range have {
		_ = s.Close()
	}
	<-conn.CloseChan()
}

// run is the work of exec.
func (c *cluster) run(r *http.Request) (string, error) {
	call, err := parseCall(r.URL.Query()["command"])
	if err != nil {
		return "", err
	}
	for _, p := range c.laptop.pods() {
		if p.Namespace != r.PathValue("namespace") || p.Name != r.PathValue("pod") {
			continue
		}
		answers, err := call.do(r.Context(), &p)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for i := range answers {
			answers[i].print(&b, i)
		}
		return b.String(), nil
	}
	return "", fmt.Errorf("there is no pod %s in namespace %s", r.PathValue("pod"), r.PathValue("namespace"))
}
