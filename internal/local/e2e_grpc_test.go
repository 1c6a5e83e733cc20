package local

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/reclosermesh/recloser/internal/lab/apps/bbpb"
)

const accrual = "  annotations:\n    balancer.linkerd.io/failure-accrual: consecutive\n"

// words calls the example's service of gRPC at an address, as a client that
// knows nothing of a mesh.
func words(t *testing.T, address string, opts ...grpc.DialOption) func() error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := bbpb.NewTheServiceClient(conn)
	return func() error {
		out, err := c.TheFunction(t.Context(), &bbpb.TheRequest{RequestUID: "x"}, grpc.WaitForReady(true))
		if err == nil && out.GetPayload() != "BANANA" {
			err = fmt.Errorf("the answer is %v", out)
		}
		return err
	}
}

// TestGRPCEndToEnd runs the example: calls by gRPC that fail open a breaker,
// on each way by which gRPC comes to a sidecar.
func TestGRPCEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	manifest := string(must(os.ReadFile("../../docs/examples/grpc.yaml")))
	open := must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=words:9090"))
	m := newWholeMesh(t, strings.Replace(manifest, accrual, "", 1), func(c *UpConfig) { c.Gateways = []Gateway{open} })
	gateway := m.instance("gateway")
	door := m.door(gateway.Name, "words")
	// Of this one nothing is said: that it is gRPC is seen.
	manifest += "---\napiVersion: v1\nkind: Service\nmetadata: {name: plain, namespace: grpc-demo}\nspec: {selector: {app: words}, ports: [{port: 9090}]}\n"
	m.write(strings.Replace(manifest, accrual, "", 1))
	plain := words(t, gateway.Outbound.String(), grpc.WithAuthority("plain:9090"))
	until(t, "an undeclared service answers", plain, func(err error) bool { return err == nil })

	ways := map[string]func() error{
		"the address of the service": words(t, door),
		"the outbound port":          words(t, gateway.Outbound.String(), grpc.WithAuthority("words:9090")),
		"--publish":                  words(t, open.Listen.String()),
	}
	for name, call := range ways {
		for _, want := range []codes.Code{codes.OK, codes.Unknown} {
			until(t, fmt.Sprintf("by %s comes %s", name, want), call, func(err error) bool { return status.Code(err) == want })
		}
	}
	m.awaitSuccess("bad", 0)
	m.awaitSuccess("good", 1)

	// slow-cooker is told of the service too, and has not called it.
	if text := m.awaitText("/api/v1/breakers?service=words", "gateway"); strings.Contains(text, "slow-cooker") {
		t.Errorf("who follows the service:\n%s", text)
	}

	m.write(manifest)
	for name, call := range ways {
		inARow := 0
		until(t, "50 successes in a row by "+name, call, func(err error) bool {
			if inARow++; err != nil {
				if !strings.Contains(err.Error(), "injected") {
					t.Fatalf("%s: a failure that is not the endpoint's: %v", name, err)
				}
				inARow = 0
			}
			return inARow == 50
		})
	}
	m.awaitText("/api/v1/events", `"grpc_status":2`) // of the calls before a breaker opened
}

// until repeats a call until it ends as wanted.
func until(t *testing.T, what string, call func() error, wanted func(error) bool) {
	t.Helper()
	var last error
	for range 2000 {
		if last = call(); wanted(last) {
			return
		}
	}
	t.Fatalf("%s: not within 2000 calls; the last ended with %v", what, last)
}

// door is where the programs of an instance find a service's first port.
func (m *wholeMesh) door(instance, service string) string {
	m.t.Helper()
	for _, in := range m.up.Mesh.list() {
		for _, d := range in.doors {
			if in.name == instance && d.service.Name == service {
				return net.JoinHostPort(d.address.String(), portNumber(d.ports[0].listen))
			}
		}
	}
	m.t.Fatalf("%s has no door to %s", instance, service)
	return ""
}

// get asks the HTTP API.
func (m *wholeMesh) get(path string, read func(io.Reader)) {
	m.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + m.up.HTTPAddress() + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	read(resp.Body)
}

// awaitText waits until an answer of the HTTP API has a text in it: proxies
// report within a second or so.
func (m *wholeMesh) awaitText(path, want string) (text string) {
	m.t.Helper()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		m.get(path, func(body io.Reader) { text = string(must(io.ReadAll(body))) })
		if strings.Contains(text, want) || !sleep(m.t.Context(), eagerPeriod) {
			return text
		}
	}
	m.t.Errorf("%s: %q does not come:\n%s\n%s", path, want, text, m.log)
	return text
}

// row is the row of a resource in the table.
func (m *wholeMesh) row(resource string) (row map[string]any) {
	m.t.Helper()
	m.get("/api/v1/stat?all_namespaces=true&resource="+resource, func(body io.Reader) {
		var table struct{ Rows []map[string]any }
		if err := json.NewDecoder(body).Decode(&table); err != nil || len(table.Rows) != 1 {
			m.t.Fatalf("stat: %v, %d rows", err, len(table.Rows))
		}
		row = table.Rows[0]
	})
	return row
}

// awaitSuccess waits until the success rate of a deployment is as wanted.
func (m *wholeMesh) awaitSuccess(deployment string, want float64) {
	m.t.Helper()
	var row map[string]any
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		if row = m.row("deploy/" + deployment); row["success"] == want {
			return
		}
		if !sleep(m.t.Context(), eagerPeriod) {
			return
		}
	}
	m.t.Errorf("success of %s is not %g: %v", deployment, want, row)
}
