package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// startBB runs bb as its command line says, with a free port of 127.0.0.1 in
// place of its port 8080 (HTTP) or 9090 (gRPC), and returns its URL once it answers connections, and a function that ends it.
func startBB(t *testing.T, vars map[string]string, args ...string) (url string, end func() error) {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	all := map[string]string{EnvAddress: "127.0.0.1", EnvPorts: "8080=" + port + ",9090=" + port}
	maps.Copy(all, vars)
	env, _, stderr := testEnv(all)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, "bb", args, env) }()
	end = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = end()
	})
	stderr.await(t, "server listening")
	return "http://" + address, end
}

// freeAddress finds a port of 127.0.0.1 that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	return send(t, http.MethodGet, url, "")
}

func send(t *testing.T, method, url, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestBBTerminusAnswers(t *testing.T) {
	url, end := startBB(t, nil, "terminus", "--h1-server-port=8080", "--response-text", "BANANA")
	status, body, header := get(t, url)
	var m map[string]string
	if err := json.Unmarshal([]byte(body), &m); status != 200 || err != nil {
		t.Fatalf("%d %q %v", status, body, err)
	}
	if m["payload"] != "BANANA" || !strings.HasPrefix(m["requestUID"], "in:http-sid:terminus-grpc:-1-h1:8080-") {
		t.Errorf("answer %v", m)
	}
	if ct := header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	status, body, _ = send(t, http.MethodPost, url, `{"requestUID":"one"}`)
	if status != 200 || strings.TrimSpace(body) != `{"requestUID":"one","payload":"BANANA"}` {
		t.Errorf("an identifier that came with the request: %d %q", status, body)
	}
	if err := end(); err != nil {
		t.Errorf("a program that was asked to end: %v", err)
	}
}

func TestBBFailures(t *testing.T) {
	url, _ := startBB(t, nil, "terminus", "--h1-server-port=8080", "--percent-failure=100", "--id", "bad")
	status, body, header := get(t, url)
	if status != 500 || !strings.Contains(body, "injected by [bad]") || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %q %q", status, body, header.Get("Content-Type"))
	}
	if status, body, _ := send(t, http.MethodPost, url, "no json"); status != 500 {
		t.Errorf("a body that is no message: %d %q", status, body)
	}
}

func TestBBPointToPointAndBroadcast(t *testing.T) {
	a, _ := startBB(t, nil, "terminus", "--h1-server-port=8080", "--response-text=A")
	b, _ := startBB(t, nil, "terminus", "--h1-server-port=8080", "--response-text=B")
	bad, _ := startBB(t, nil, "terminus", "--h1-server-port=8080", "--percent-failure=100")

	p2p, _ := startBB(t, nil, "point-to-point-channel", "--h1-server-port=8080", "--h1-downstream-server", a)
	if status, body, _ := send(t, http.MethodPost, p2p, `{"requestUID":"x"}`); status != 200 ||
		strings.TrimSpace(body) != `{"requestUID":"x","payload":"A"}` {
		t.Errorf("point to point: %d %q", status, body)
	}
	all, _ := startBB(t, nil, "broadcast-channel", "--h1-server-port=8080", "--h1-downstream-server="+a+","+b)
	if status, body, _ := get(t, all); status != 200 || !strings.Contains(body, `"payload":"A,B"`) {
		t.Errorf("broadcast: %d %q", status, body)
	}
	half, _ := startBB(t, nil, "broadcast-channel", "--h1-server-port=8080",
		"--h1-downstream-server", a, "--h1-downstream-server", bad)
	if status, body, _ := get(t, half); status != 500 || !strings.Contains(body, bad) {
		t.Errorf("broadcast with a failing server: %d %q", status, body)
	}
}

func TestBBEgressGoesThroughTheProxy(t *testing.T) {
	var seen atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.Store(fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body))
		io.WriteString(w, "from the other side")
	}))
	defer proxy.Close()
	url, _ := startBB(t, map[string]string{"http_proxy": proxy.URL},
		"http-egress", "--h1-server-port=8080", "--method=PUT", "--url", "http://checkout.shop/price")
	status, body, _ := send(t, http.MethodPost, url, `{"requestUID":"x"}`)
	if status != 200 || !strings.Contains(body, `"payload":"from the other side"`) {
		t.Errorf("%d %q", status, body)
	}
	if got := seen.Load(); got != "PUT http://checkout.shop/price x" {
		t.Errorf("the proxy saw %v", got)
	}
}

func TestBBFireAndForgetDoesNotWait(t *testing.T) {
	arrived, release := make(chan string, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- string(body)
		<-release
	}))
	defer slow.Close()
	defer close(release)
	url, _ := startBB(t, nil, "point-to-point-channel", "--h1-server-port=8080", "--fire-and-forget", "--h1-downstream-server", slow.URL)
	// The server does not answer before the test has ended, so this answer
	// cannot have waited for it.
	if status, body, _ := send(t, http.MethodPost, url, `{"requestUID":"x"}`); status != 200 || !strings.Contains(body, "without waiting") {
		t.Errorf("%d %q", status, body)
	}
	if got := <-arrived; got != `{"requestUID":"x"}` {
		t.Errorf("the downstream server got %q", got)
	}
}

func TestBBTerminateAfter(t *testing.T) {
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	env, _, stderr := testEnv(map[string]string{EnvAddress: "127.0.0.1", EnvPorts: "8080=" + port})
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), "bb", []string{"terminus", "--h1-server-port=8080", "--terminate-after=3"}, env)
	}()
	stderr.await(t, "server listening")
	for i := range 3 {
		if status, _, _ := get(t, "http://"+address); status != 200 {
			t.Errorf("request %d: %d", i, status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestBBKnobs(t *testing.T) {
	for _, control := range []string{filepath.Join(t.TempDir(), "k"), freeAddress(t)} {
		url, _ := startBB(t, map[string]string{EnvControl: control}, "terminus", "--h1-server-port=8080", "--percent-failure=100")
		turn := func(name string, v int64) error { return TurnKnob(t.Context(), control, name, v) }

		if v, err := ReadKnob(t.Context(), control, "percent-failure"); v != 100 || err != nil {
			t.Errorf("%s: first value %d, %v", control, v, err)
		}
		if err := turn("percent-failure", 0); err != nil {
			t.Error(err)
		}
		if status, _, _ := get(t, url); status != 200 {
			t.Errorf("%s: healed, still %d", control, status)
		}
		if err := turn("percent-failure", 101); err == nil || !strings.Contains(err.Error(), "allowed are 0 to 100") {
			t.Errorf("%s: 101 percent: %v", control, err)
		}
		if v, _ := ReadKnob(t.Context(), control, "percent-failure"); v != 0 {
			t.Errorf("%s: a refused value was taken: %d", control, v)
		}
		if err := turn("sleep-in-millis", 1); err != nil {
			t.Error(err)
		}
		if err := turn("colour", 1); err == nil {
			t.Errorf("%s: an unknown knob was turned", control)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}

func TestBBRefusesArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"terminus", "--h1-server-port, --grpc-server-port: terminus needs a server port"},
		{"terminus --h1-server-port=70000", "--h1-server-port 70000: allowed are 1 to 65535"},
		{"terminus --h1-server-port=1 --percent-failure=101", "--percent-failure 101: allowed are 0 to 100"},
		{"terminus --h1-server-port=1 --sleep-in-millis=-1", "--sleep-in-millis -1: allowed are 0 and more"},
		{"terminus --h1-server-port=1 --h1-downstream-server=http://a", "terminus has no downstream servers, 1 given"},
		{"terminus --grpc-server-port=0", "--grpc-server-port 0: allowed are 1 to 65535"},
		{"terminus --grpc-server-port=1 --h1-server-port=1", "is that of the HTTP/1.1 server too"},
		{"terminus --grpc-server-port=1 --grpc-proxy=x", `--grpc-proxy "x"`},
		{"point-to-point-channel --h1-server-port=1", "exactly one downstream server, 0 given"},
		{"point-to-point-channel --h1-server-port=1 --grpc-downstream-server=a:0", `--grpc-downstream-server "a:0"`},
		{"point-to-point-channel --h1-server-port=1 --grpc-downstream-server=http://a:1", `--grpc-downstream-server "http://a:1"`},
		{"point-to-point-channel --h1-server-port=1 --h1-downstream-server=a:1", `--h1-downstream-server "a:1"`},
		{"broadcast-channel --h1-server-port=1 --h1-downstream-server=http://a", "two downstream servers or more, 1 given"},
		{"http-egress --h1-server-port=1", `--url ""`},
		{"http-egress --h1-server-port=1 --url=http://a --method=HEAD", "allowed are GET, POST, PUT, DELETE, PATCH"},
		{"terminus --h1-server-port=1 --log-level=loud", `--log-level "loud"`},
		{"terminus --h1-server-port=1 extra", "extra"},
		{"observer", "observer"},
	} {
		env, _, _ := testEnv(nil)
		err := Run(t.Context(), "bb", strings.Fields(c.args), env)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("bb %s: %v, want a usage error with %q", c.args, err, c.want)
		}
	}
}

func TestBBTakenPortIsNoUsageError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	env, _, _ := testEnv(map[string]string{EnvAddress: "127.0.0.1"})
	err = Run(t.Context(), "bb", []string{"terminus", "--h1-server-port", port}, env)
	var usage *UsageError
	if err == nil || errors.As(err, &usage) {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestRunNamesThePrograms(t *testing.T) {
	env, _, _ := testEnv(nil)
	err := Run(t.Context(), "nginx", nil, env)
	var usage *UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "bb, echo, slow_cooker") {
		t.Errorf("%v", err)
	}
}

func TestForImage(t *testing.T) {
	for ref, want := range map[string]string{
		"buoyantio/bb:v0.0.6":                       "bb",
		"buoyantio/bb":                              "bb",
		"docker.io/buoyantio/bb:v0.0.6":             "bb",
		"localhost:5000/buoyantio/slow_cooker:1":    "slow_cooker",
		"buoyantio/slow_cooker@sha256:0123":         "slow_cooker",
		"buoyantio/slow_cooker:1.3.0@sha256:012345": "slow_cooker",
		"nginx:1.27":                                "",
		"example.com/bb":                            "",
		"evil/buoyantio/bb":                         "",
		"":                                          "",
	} {
		im, ok := ForImage(ref)
		if im.Program != want || ok != (want != "") {
			t.Errorf("ForImage(%q) = %q, %v; want %q", ref, im.Program, ok, want)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for _, c := range []struct {
		address, ports, want string
		bad                  bool
	}{
		{"", "", "0.0.0.0:8080", false},
		{"127.1.2.3", "", "127.1.2.3:8080", false},
		{"127.0.0.1", "9090=1, 8080=41002", "127.0.0.1:41002", false},
		{"here", "", "", true},
		{"", "8080", "", true},
		{"", "8080=0", "", true},
	} {
		got, err := listenAddress(func(k string) string { return map[string]string{EnvAddress: c.address, EnvPorts: c.ports}[k] }, 8080)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestKnobsStayOnThisMachine(t *testing.T) {
	for _, address := range []string{"0.0.0.0:80", "192.0.2.1:80", "localhost:80", "x"} {
		if _, err := listenKnobs(t.Context(), address); err == nil {
			t.Errorf("%s was opened", address)
		}
	}
}
