package apps

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// freePorts are ports of this machine on which nobody listens.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	var held []net.Listener
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ln)
		out = append(out, ln.Addr().(*net.TCPAddr).Port)
	}
	for _, ln := range held {
		ln.Close()
	}
	return out
}

// startEcho runs echo until the test ends.
func startEcho(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	env := Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(k string) string {
		return map[string]string{EnvAddress: "127.0.0.1", "HOSTNAME": "echo-v1-x"}[k]
	}}
	go func() { ended <- Run(ctx, "echo", args, env) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// await repeats until there is no error.
func await(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestEcho(t *testing.T) {
	p := freePorts(t, 4)
	startEcho(t,
		fmt.Sprintf("--port=%d", p[0]), fmt.Sprintf("--port=%d", p[1]), fmt.Sprintf("--tls=%d", p[1]),
		"--crt=/nowhere.crt", "--key=/nowhere.key",
		fmt.Sprintf("--grpc=%d", p[2]), fmt.Sprintf("--tcp=%d", p[3]), "--version=v1",
	)
	trusting := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(trusting.CloseIdleConnections)
	for _, tt := range []struct{ url, proto string }{
		{fmt.Sprintf("http://127.0.0.1:%d/a?b=c", p[0]), "HTTP/1.1"},
		{fmt.Sprintf("https://127.0.0.1:%d/a?b=c", p[1]), "HTTP/2.0"},
	} {
		await(t, func() error {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, tt.url, strings.NewReader("body"))
			req.Header.Add("X-Two", "1")
			req.Header.Add("X-Two", "2")
			resp, err := trusting.RoundTrip(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			lines := strings.Split(string(body), "\n")
			for _, want := range []string{
				"ServiceVersion=v1", "Hostname=echo-v1-x", "Method=PUT", "URL=/a?b=c", "Proto=" + tt.proto,
				"RequestHeader=X-Two:1", "RequestHeader=X-Two:2", "Host=" + req.Host,
			} {
				if !slices.Contains(lines, want) {
					t.Errorf("the answer has no line %s:\n%s", want, body)
				}
			}
			return nil
		})
	}
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", p[2]),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("echo:7070"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	out := new(wrapperspb.StringValue)
	if err := conn.Invoke(t.Context(), "/"+echoService+"/"+echoMethod, wrapperspb.String("hello"), out, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Hostname=echo-v1-x\n", "Echo=hello\n", "Host=echo:7070\n"} {
		if !strings.Contains(out.GetValue(), want) {
			t.Errorf("the answer of gRPC is without %s:\n%s", want, out.GetValue())
		}
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p[3]))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 5)
	if _, err := io.ReadFull(c, back); err != nil || string(back) != "ping\n" {
		t.Errorf("%q came back, %v", back, err)
	}
}

func TestEchoRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--port=0", "port 0: must be 1 to 65535"},
		{"--port=80 --grpc=80", "each may stand once"},
		{"--port=80 --tls=81", "--tls 81: it must be one of --port"},
		{"--colour=red", "unknown flag"},
	} {
		err := Run(t.Context(), "echo", strings.Fields(tt.args), Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) string { return "" }})
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("echo %s: %v, want a usage error with %q", tt.args, err, tt.want)
		}
	}
}

func TestEchoLines(t *testing.T) {
	var a echoAnswer
	a.add("RequestHeader", "X:1\nHostname=somebody else")
	if a.String() != "RequestHeader=X:1 Hostname=somebody else\n" {
		t.Errorf("got %q", a.String())
	}
}
