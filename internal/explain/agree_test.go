package explain

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/proxy"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// echoed is what an upstream got.
type echoed struct {
	Address   string
	Authority string
	Path      string
	Headers   map[string][]string
}

// upstreams listen on addresses of their own and tell what they got.
func upstreams(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(echoed{address, r.Host, r.RequestURI, r.Header})
		})}
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close(); wg.Wait() })
		addresses = append(addresses, address)
	}
	return addresses
}

// accessLog keeps the routes by the ids of their requests.
type accessLog struct {
	mu     sync.Mutex
	rest   []byte
	routes map[string]string
}

func (a *accessLog) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rest = append(a.rest, b...)
	for {
		line, rest, ok := bytes.Cut(a.rest, []byte{'\n'})
		if !ok {
			return len(b), nil
		}
		a.rest = rest
		var one struct {
			ID    string `json:"request_id"`
			Route string `json:"route_name"`
		}
		if json.Unmarshal(line, &one) == nil {
			a.routes[one.ID] = one.Route
		}
	}
}

// mesh is a control plane over a file, and a proxy of a caller.
type mesh struct {
	outbound string
	log      *accessLog
	stop     func() // ends both; the log is complete then
}

func startMesh(t *testing.T, manifest string, client model.Client) *mesh {
	t.Helper()
	plane, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{outbound: free.Addr().String(), log: &accessLog{routes: map[string]string{}}}
	_ = free.Close()
	c := control.New(control.Config{Sources: []source.Source{file.New(file.Config{Paths: []string{manifest}})}, XDSListener: plane})
	cfg := proxy.DefaultConfig()
	cfg.Node = proxy.Node{Namespace: client.Namespace, Pod: "caller", Workload: client.Workload, WorkloadKind: client.Kind}
	cfg.XDS, cfg.Admin, cfg.Outbound = plane.Addr().String(), "127.0.0.1:0", m.outbound
	cfg.AccessLog, cfg.AccessLogFormat, cfg.DrainTimeout = m.log, telemetry.LogJSON, 0
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{
		"control": c.Run, "proxy": func(ctx context.Context) error { return proxy.Run(ctx, cfg) },
	} {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	m.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(m.stop)
	m.awaitListener(t)
	return m
}

func (m *mesh) awaitListener(t *testing.T) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-again.C {
		c, err := net.Dial("tcp", m.outbound)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not listen: ", err)
		}
	}
}

// caller sends requests over one connection as they are written.
type caller struct {
	conn net.Conn
	read *bufio.Reader
}

func (m *mesh) dial(t *testing.T) *caller {
	t.Helper()
	c, err := net.Dial("tcp", m.outbound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &caller{c, bufio.NewReader(c)}
}

func (c *caller) send(r *Request, id string) (*http.Response, []byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nx-request-id: %s\r\n", r.Method, r.Path, r.Authority, id)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	if r.Method != "GET" {
		b.WriteString("Content-Length: 0\r\n")
	}
	_ = c.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c.conn, b.String()+"\r\n"); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(c.read, &http.Request{Method: r.Method})
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// configurations is how many services with rules of their own are compared; a
// few thousand are worth a run after a change of the request path.
var configurations = flag.Int("configurations", 600, "configurations that TestAgreesWithTheProxy generates")

// TestAgreesWithTheProxy sends requests through a real control plane and a real
// proxy, over generated configurations of all dialects, and compares what comes
// of them with what Explain says.
func TestAgreesWithTheProxy(t *testing.T) {
	const perMesh = 150
	total := *configurations
	if testing.Short() {
		total = perMesh
	}
	seen := map[Kind]int{}
	for seed := uint64(1); total > 0; seed++ {
		agree(t, seed, min(total, perMesh), seen)
		total -= perMesh
	}
	for _, k := range []Kind{Forwarded, Redirected, Direct, Preflight, Aborted, Refused} {
		if seen[k] == 0 && !testing.Short() {
			t.Errorf("no request was %s: the test does not test it", k)
		}
	}
	t.Log("what came of the requests: ", seen)
}

// agree compares one mesh of services.
func agree(t *testing.T, seed uint64, services int, seen map[Kind]int) {
	t.Helper()
	const backends, each = 8, 3
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 4))}
	addresses := upstreams(t, backends+1)
	for i := range backends {
		annotations := object{}
		if i >= 4 {
			annotations["recloser.io/stack-routes"] = "true"
		}
		g.service(fmt.Sprint("b", i), annotations, addresses[i])
	}
	g.httpRoute("b5") // which stacks
	for i := range services {
		g.subject(fmt.Sprint("s", i), addresses[backends])
	}
	manifest := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(manifest, g.documents(), 0o600); err != nil {
		t.Fatal(err)
	}
	off, err := control.Read([]string{manifest})
	if err != nil {
		t.Fatal(err)
	}
	client := model.Client{Namespace: namespace}
	m := startMesh(t, manifest, client)
	c := m.dial(t)
	rules := map[string]string{}
	for i := range services * each {
		r := g.request(fmt.Sprint("s", i/each))
		a := Explain(translate.View{World: off.World, Policy: off.Policy}, Caller{Client: client}, r, nil)
		seen[a.Outcome.Kind]++
		id := fmt.Sprint(i)
		if a.Rule >= 0 {
			rules[id] = a.Rules[a.Rule].Name
		}
		resp, body, err := c.send(r, id)
		if err != nil {
			t.Fatalf("seed %d: %s %s%s: %v", seed, r.Method, r.Authority, r.Path, err)
		}
		if resp.Close {
			c = m.dial(t)
		}
		if why := compare(a, resp, body); why != "" {
			var text strings.Builder
			_ = a.WriteText(&text)
			t.Fatalf("seed %d, %s: %s\nthe proxy answers %d, %s\n%s\n%s", seed, id, why, resp.StatusCode, resp.Header, body, text.String())
		}
	}
	m.stop()
	for id, want := range rules {
		if got, ok := m.log.routes[id]; !ok || got != want {
			t.Errorf("seed %d, %s: the proxy says that rule %q matched, Explain says %q", seed, id, got, want)
		}
	}
}

// compare says what of an answer is not what was explained.
func compare(a *Answer, resp *http.Response, body []byte) string {
	o := &a.Outcome
	if status := resp.Header.Get("Grpc-Status"); a.Request.GRPC && o.Kind != Forwarded && o.Kind != Redirected {
		if o.GRPCStatus == nil && o.Kind != Preflight {
			return "nothing is said of the grpc-status"
		}
		if resp.StatusCode != 200 || o.GRPCStatus != nil && status != strconv.Itoa(*o.GRPCStatus) {
			return fmt.Sprintf("a caller of gRPC should get the grpc-status that stands for %d", o.Status)
		}
		return ""
	}
	switch o.Kind {
	case Forwarded:
		return compareForwarded(a, resp, body)
	case Redirected, Direct, Preflight:
		for _, h := range o.Headers {
			if !slices.Contains(resp.Header.Values(h.Name), h.Value) {
				return fmt.Sprintf("there should be %s: %s", h.Name, h.Value)
			}
		}
		if o.Kind == Direct && string(body) != o.Body {
			return "another body"
		}
	}
	if o.Status == 0 || resp.StatusCode != o.Status {
		return fmt.Sprintf("the status should be %d", o.Status)
	}
	return ""
}

func compareForwarded(a *Answer, resp *http.Response, body []byte) string {
	if refused := resp.Header.Get("Grpc-Status") != ""; refused || resp.StatusCode == 500 || resp.StatusCode == 503 {
		for i := range a.Backends {
			if b := &a.Backends[i]; b.Invalid != "" && b.Share > 0 {
				return ""
			}
		}
		return "no backend is invalid"
	}
	var got echoed
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 {
		return "it should have been forwarded"
	}
	var wrong []string
	for i := range a.Backends {
		b := &a.Backends[i]
		if b.Share == 0 || b.Invalid != "" || len(b.Endpoints) != 1 || b.Endpoints[0].Address != got.Address {
			continue
		}
		why := compareSent(b.Sent, &got)
		for _, h := range b.Sent.Answer {
			if !slices.Contains(resp.Header.Values(h.Name), h.Value) {
				why = fmt.Sprintf("the answer should have %s: %s", h.Name, h.Value)
			}
		}
		if why == "" {
			return ""
		}
		wrong = append(wrong, why)
	}
	return fmt.Sprintf("no backend with a share is what got it: %q", wrong)
}

func compareSent(s *Sent, got *echoed) string {
	if s.Authority != got.Authority || s.Path != got.Path {
		return fmt.Sprintf("sent as %s%s, should be %s%s", got.Authority, got.Path, s.Authority, s.Path)
	}
	want := http.Header{}
	for _, h := range s.Headers {
		want.Add(h.Name, h.Value)
	}
	have := http.Header(got.Headers).Clone()
	for _, ours := range []string{"X-Request-Id", "X-Envoy-Attempt-Count", "Content-Length", "Connection"} {
		have.Del(ours)
	}
	if len(want) != len(have) {
		return fmt.Sprintf("headers are %v, should be %v", have, want)
	}
	for name, values := range want {
		if !slices.Equal(values, have[name]) {
			return fmt.Sprintf("header %s is %q, should be %q", name, have[name], values)
		}
	}
	return ""
}
