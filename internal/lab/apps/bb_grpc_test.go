package apps

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/reclosermesh/recloser/internal/lab/apps/bbpb"
)

// dialBB is a client of a block at a URL of startBB.
func dialBB(t *testing.T, url string) bbpb.TheServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(url, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return bbpb.NewTheServiceClient(conn)
}

func TestBBAnswersByGRPC(t *testing.T) {
	url, end := startBB(t, nil, "terminus", "--grpc-server-port=9090", "--response-text", "BANANA")
	c := dialBB(t, url)
	out, err := c.TheFunction(t.Context(), &bbpb.TheRequest{RequestUID: "one"})
	if err != nil || out.GetPayload() != "BANANA" || out.GetRequestUID() != "one" {
		t.Errorf("%v, %v", out, err)
	}
	out, err = c.TheFunction(t.Context(), &bbpb.TheRequest{})
	if err != nil || !strings.HasPrefix(out.GetRequestUID(), "in:grpc-sid:terminus-grpc:9090-h1:-1-") {
		t.Errorf("a request without a name: %v, %v", out, err)
	}
	if err := end(); err != nil {
		t.Errorf("a program that was asked to end: %v", err)
	}
}

func TestBBFailsByGRPC(t *testing.T) {
	bad, _ := startBB(t, nil, "terminus", "--grpc-server-port=9090", "--percent-failure=100", "--id=bad")
	_, err := dialBB(t, bad).TheFunction(t.Context(), &bbpb.TheRequest{})
	if status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), "injected by [bad]") {
		t.Errorf("an injected failure: %v", err)
	}
	slow, _ := startBB(t, nil, "terminus", "--grpc-server-port=9090", "--sleep-in-millis=60000")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := dialBB(t, slow).TheFunction(ctx, &bbpb.TheRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a request without time: %v", err)
	}
	// Who passes a request on by gRPC passes its code back.
	gone, _ := startBB(t, nil, "point-to-point-channel", "--grpc-server-port=9090", "--grpc-downstream-server", freeAddress(t))
	if _, err := dialBB(t, gone).TheFunction(t.Context(), &bbpb.TheRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a downstream server that is not there: %v", err)
	}
}

// TestBBTurnsProtocols: HTTP in, gRPC out, and the other way round, and both
// out at once.
func TestBBTurnsProtocols(t *testing.T) {
	byGRPC, _ := startBB(t, nil, "terminus", "--grpc-server-port=9090", "--response-text=G")
	byHTTP, _ := startBB(t, nil, "terminus", "--h1-server-port=8080", "--response-text=H")
	server := strings.TrimPrefix(byGRPC, "http://")

	in, _ := startBB(t, nil, "point-to-point-channel", "--h1-server-port=8080", "--grpc-downstream-server", server)
	if code, body, _ := send(t, http.MethodPost, in, `{"requestUID":"x"}`); code != 200 || strings.TrimSpace(body) != `{"requestUID":"x","payload":"G"}` {
		t.Errorf("HTTP to gRPC: %d %q", code, body)
	}
	out, _ := startBB(t, nil, "point-to-point-channel", "--grpc-server-port=9090", "--h1-downstream-server", byHTTP)
	if m, err := dialBB(t, out).TheFunction(t.Context(), &bbpb.TheRequest{}); err != nil || m.GetPayload() != "H" {
		t.Errorf("gRPC to HTTP: %v, %v", m, err)
	}
	both, _ := startBB(t, nil, "broadcast-channel", "--h1-server-port=8080", "--grpc-downstream-server", server, "--h1-downstream-server", byHTTP)
	if code, body, _ := get(t, both); code != 200 || !strings.Contains(body, `"payload":"H,G"`) {
		t.Errorf("both: %d %q", code, body)
	}
}

// TestBBCallsThroughAProxy: gRPC goes to the proxy, as HTTP_PROXY or the flag
// says, and names there whom it is for.
func TestBBCallsThroughAProxy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	authorities := make(chan string, 1)
	proxy := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		authorities <- md.Get(":authority")[0]
		return status.Error(codes.Aborted, "no further")
	}))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = proxy.Serve(ln)
	}()
	defer func() {
		proxy.Stop()
		<-served
	}()
	for _, c := range []struct {
		env  map[string]string
		args []string
	}{
		{map[string]string{"HTTP_PROXY": "http://" + ln.Addr().String()}, nil},
		{map[string]string{"HTTP_PROXY": "http://192.0.2.1:1"}, []string{"--grpc-proxy", ln.Addr().String()}},
	} {
		in, _ := startBB(t, c.env, append([]string{"point-to-point-channel", "--grpc-server-port=9090", "--grpc-downstream-server=bb.shop:50051"}, c.args...)...)
		_, err := dialBB(t, in).TheFunction(t.Context(), &bbpb.TheRequest{})
		if status.Code(err) != codes.Aborted {
			t.Fatalf("%v %v: %v", c.env, c.args, err)
		}
		if a := <-authorities; a != "bb.shop:50051" {
			t.Errorf("%v %v: authority %q", c.env, c.args, a)
		}
	}
}

func TestBBEndsAfterItsLastGRPCRequest(t *testing.T) {
	url, end := startBB(t, nil, "terminus", "--grpc-server-port=9090", "--terminate-after=1")
	if _, err := dialBB(t, url).TheFunction(t.Context(), &bbpb.TheRequest{}); err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
