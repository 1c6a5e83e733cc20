package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
	corev1 "k8s.io/api/core/v1"
)

// Ports of a sidecar: that to which its instance's requests go, and that of its
// administration.
const (
	outbound = "4140"
	admin    = "4191"
)

// call is what the client in a pod is asked to do.
type call struct {
	url     *url.URL
	method  string
	headers http.Header
	count   int
}

// parseCall reads the arguments of the client of the suite's images.
func parseCall(args []string) (c call, err error) {
	if len(args) < 2 || args[0] != "client" {
		return c, fmt.Errorf("%q: only the client can be run", args)
	}
	c = call{method: http.MethodGet, headers: http.Header{}, count: 1}
	if c.url, err = url.Parse(args[1]); err != nil {
		return c, err
	}
	for i := 2; i < len(args); i++ {
		name, v, _ := strings.Cut(args[i], "=")
		switch {
		case name == "--method":
			c.method = v
		case name == "--count":
			if c.count, err = strconv.Atoi(v); err != nil {
				return c, err
			}
		case args[i] == "-H" && i+1 < len(args):
			i++
			k, v, _ := strings.Cut(args[i], ":")
			c.headers.Add(k, v)
		default:
			return c, fmt.Errorf("%q: this flag of the client is not known here", args[i])
		}
	}
	return c, nil
}

// answer is one that came back: of HTTP, or of a call of gRPC that succeeded.
type answer struct {
	status int
	header http.Header
	body   string
}

// line is a line of the body, which the suite's server writes as "Name=value".
func (a *answer) line(name string) string {
	for l := range strings.Lines(a.body) {
		if v, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), name+"="); ok {
			return v
		}
	}
	return ""
}

// do makes the calls one after the other, as a program in a pod would.
func (c *call) do(ctx context.Context, pod *corev1.Pod) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	sidecar := net.JoinHostPort(pod.Status.PodIP, outbound)
	if c.url.Scheme == "grpc" {
		return c.callGRPC(ctx, sidecar)
	}
	to, target, err := c.way(ctx, pod)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r := bufio.NewReader(conn)
	out := make([]answer, 0, c.count)
	for range c.count {
		a, err := c.callHTTP(conn, r, target)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// way is where a program dials, and what it writes into the request line.
//
//   - A name goes to the sidecar, by HTTP_PROXY, with the whole URL in the
//     request line.
//   - An address is dialled, as programs do with those of this machine.
//   - Where a header Host says something else than the URL, the program means
//     the Service's address: a sidecar opens one for each Service of its
//     namespace. To a proxy, one request with two hosts is malformed.
func (c *call) way(ctx context.Context, pod *corev1.Pod) (dial, target string, err error) {
	port := c.url.Port()
	if port == "" {
		port = "80"
	}
	switch {
	case net.ParseIP(c.url.Hostname()) != nil:
		return net.JoinHostPort(c.url.Hostname(), port), c.url.RequestURI(), nil
	case c.headers.Get("Host") != "":
		dial, err = door(ctx, pod.Status.PodIP, c.url.Hostname()+"."+pod.Namespace+":"+port)
		return dial, c.url.RequestURI(), err
	default:
		return net.JoinHostPort(pod.Status.PodIP, outbound), "http://" + c.url.Host + c.url.RequestURI(), nil
	}
}

// door is where a sidecar listens for one port of a service.
func door(ctx context.Context, podIP, authority string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(podIP, admin)+"/config_dump", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var dump struct {
		Listener map[string]json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&dump); err != nil {
		return "", err
	}
	for name, l := range dump.Listener {
		if address, ok := strings.CutPrefix(name, "publish|"); ok && strings.Contains(string(l), `"publish|`+authority+`"`) {
			return address, nil
		}
	}
	return "", fmt.Errorf("the sidecar of %s has no address for %s", podIP, authority)
}

// callHTTP makes one call on a connection.
func (c *call) callHTTP(conn net.Conn, r *bufio.Reader, target string) (answer, error) {
	host := c.url.Host
	if v := c.headers.Get("Host"); v != "" {
		host = v
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.method, target, host)
	for _, k := range slices.Sorted(maps.Keys(c.headers)) {
		for _, v := range c.headers[k] {
			if k != "Host" {
				fmt.Fprintf(&b, "%s: %s\r\n", k, v)
			}
		}
	}
	if c.method == http.MethodPost || c.method == http.MethodPut || c.method == http.MethodPatch {
		b.WriteString("Content-Length: 0\r\n")
	}
	if _, err := io.WriteString(conn, b.String()+"\r\n"); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: c.method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

func (c *call) callGRPC(ctx context.Context, sidecar string) (out []answer, err error) {
	conn, err := grpc.NewClient("passthrough:///"+sidecar, grpc.WithAuthority(c.url.Host),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for range c.count {
		got := new(wrapperspb.StringValue)
		if err := conn.Invoke(ctx, "/proto.EchoTestService/Echo", wrapperspb.String("hello"), got); err != nil {
			return nil, err
		}
		out = append(out, answer{status: http.StatusOK, body: got.GetValue()})
	}
	return out, nil
}

// print writes an answer as the client of the suite's images does.
func (a *answer) print(w *strings.Builder, n int) {
	fmt.Fprintf(w, "[%d] StatusCode=%d\n", n, a.status)
	for _, k := range slices.Sorted(maps.Keys(a.header)) {
		for _, v := range a.header[k] {
			fmt.Fprintf(w, "[%d] ResponseHeader=%s:%s\n", n, k, v)
		}
	}
	for l := range strings.Lines(a.body) {
		if l = strings.TrimSpace(l); l != "" {
			fmt.Fprintf(w, "[%d body] %s\n", n, l)
		}
	}
	w.WriteString("\n")
}
