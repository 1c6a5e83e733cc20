package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reclosermesh/recloser/internal/meshtest/fakecontrol"
	"github.com/reclosermesh/recloser/internal/observe"
)

// TestObserveScripts runs the commands that ask the HTTP API against a real one
// over a fake control plane and a Prometheus with fixed answers. Each script
// has its own. RECLOSER_CONTROL names it.
func TestObserveScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/observe",
		Setup: func(env *testscript.Env) error {
			url, err := serveTutorial(env.Defer)
			env.Setenv("RECLOSER_CONTROL", url)
			env.Setenv("TZ", "UTC")
			return err
		},
	})
}

// tutorialTime is when the tutorial's breaker opened.
var tutorialTime = time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)

// serveTutorial serves the tutorial's mesh and gives its URL.
func serveTutorial(cleanup func(func())) (string, error) {
	prom := httptest.NewServer(http.HandlerFunc(tutorialMetrics))
	cleanup(prom.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	fake := fakecontrol.Tutorial(tutorialTime)
	o, err := observe.New(observe.Config{Mesh: fake, Reports: fake, Configuration: fake, Listener: ln, Prometheus: prom.URL})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
	})
	return "http://" + ln.Addr().String(), nil
}

// tutorialMetrics answers each query of a table with the tutorial's figures for
// a window of ten seconds.
func tutorialMetrics(w http.ResponseWriter, r *http.Request) {
	type series struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	expr := r.FormValue("query")
	result := []series{}
	add := func(workload string, value float64, more ...string) {
		labels := map[string]string{"namespace": "demo", "deployment": workload}
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		result = append(result, series{labels, [2]any{1800000000, fmt.Sprint(value)}})
	}
	outbound := strings.Contains(expr, `direction="outbound",namespace="demo",deployment="slow-cooker",dst_namespace="demo",dst_service="bb"`)
	inbound := strings.Contains(expr, `direction="inbound",namespace="demo",deployment!=""`)
	switch {
	case strings.Contains(expr, "response_total") && outbound:
		add("slow-cooker", 51, "classification", "success")
		add("slow-cooker", 49, "classification", "failure")
	case strings.Contains(expr, "response_total") && inbound:
		add("bad", 3, "classification", "success")
		add("bad", 44, "classification", "failure")
		add("good", 59, "classification", "success")
	case strings.Contains(expr, "histogram_quantile(0.99") && outbound:
		add("slow-cooker", 1.99)
	case strings.Contains(expr, "histogram_quantile") && outbound:
		add("slow-cooker", 0.6)
	case strings.Contains(expr, "histogram_quantile(0.99") && inbound:
		add("bad", 3.98)
		add("good", 0.99)
	case strings.Contains(expr, "histogram_quantile") && inbound:
		add("bad", 0.5)
		add("good", 0.5)
	case strings.Contains(expr, "tcp_open_connections") && outbound:
		add("slow-cooker", 2)
	case strings.Contains(expr, "tcp_open_connections") && inbound:
		add("bad", 2)
		add("good", 3)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
}
