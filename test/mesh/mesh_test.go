package mesh

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestLife goes through what the suites ask of a proxy: it starts and routes,
// takes another configuration, tells its figures, and ends when told to.
func TestLife(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s", r.URL.Path, r.Host)
	}))
	defer upstream.Close()
	cfg := Config{
		Listeners: []Listener{{Name: "outbound", Address: FreeAddress(t), Routes: []Route{{Prefix: "/one", Cluster: "up"}}}},
		Clusters: []Cluster{{
			Name: "up", Endpoints: []string{strings.TrimPrefix(upstream.URL, "http://")},
			Protocol: HTTP1, Failures: 7,
		}},
	}
	p := Start(t, cfg)
	url := "http://" + cfg.Listeners[0].Address
	if got := get(t, url+"/one"); got != "200 /one of "+strings.TrimPrefix(url, "http://") {
		t.Errorf("GET /one: %q", got)
	}
	if got := get(t, url+"/two"); !strings.HasPrefix(got, "404 ") {
		t.Errorf("GET /two without a route: %q", got)
	}

	cfg.Listeners[0].Routes = append(cfg.Listeners[0].Routes, Route{Prefix: "/two", Cluster: "up"})
	p.Reload(cfg)
	Until(t, "the second route", func() error {
		if got := get(t, url+"/two"); !strings.HasPrefix(got, "200 /two") {
			return fmt.Errorf("GET /two: %q", got)
		}
		return nil
	})

	asked, err := p.Metric("request_total", `direction="outbound"`, `addr="`+cfg.Clusters[0].Endpoints[0]+`"`)
	if err != nil || asked < 2 {
		t.Errorf("request_total %v, %v; two requests at least went to the endpoint", asked, err)
	}
	if none, err := p.Metric("request_total", `direction="nowhere"`); none != 0 || err != nil {
		t.Errorf("request_total to nowhere: %v, %v", none, err)
	}
	f := p.MustFigures()
	if f.Goroutines < 2 || f.Private < 1<<20 || f.Private > 1<<30 || f.Heap < 1<<16 {
		t.Errorf("figures %+v", f)
	}

	p.Terminate()
	if err := p.Wait(); err != nil {
		t.Errorf("end: %v\n%s", err, p.Log())
	}
	if p.Running() {
		t.Error("runs after its end")
	}
}

// get returns the status and the body of an answer.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := admin.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", string(body))
}
