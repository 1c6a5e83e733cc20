package local

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/api/v1alpha1"
)

// probe tells whether a program is ready for requests.
type probe struct {
	path      string // of an HTTP GET; empty: a TCP connect
	port      uint16 // as declared; 0: the first (HTTP) or all (TCP)
	headers   []corev1.HTTPHeader
	delay     time.Duration // before the first try
	period    time.Duration // between tries
	timeout   time.Duration // of one try
	threshold int           // failures in a row after which a ready instance is not
}

// Until an instance is ready for the first time it is looked at more often
// than its probe says, so that it gets traffic as soon as it can take it.
const eagerPeriod = 50 * time.Millisecond

func defaultProbe() *probe {
	return &probe{period: time.Second, timeout: time.Second, threshold: 3}
}

// containerProbe reads a readinessProbe of the kinds httpGet and tcpSocket.
func containerProbe(c *corev1.Container) *probe {
	r := c.ReadinessProbe
	if r == nil || (r.HTTPGet == nil && r.TCPSocket == nil) {
		return nil
	}
	p := &probe{
		delay:     time.Duration(r.InitialDelaySeconds) * time.Second,
		period:    time.Duration(orDefault(r.PeriodSeconds, 10)) * time.Second,
		timeout:   time.Duration(orDefault(r.TimeoutSeconds, 1)) * time.Second,
		threshold: int(orDefault(r.FailureThreshold, 3)),
	}
	var port intstr.IntOrString
	if r.HTTPGet != nil {
		p.path, port, p.headers = r.HTTPGet.Path, r.HTTPGet.Port, r.HTTPGet.HTTPHeaders
		if p.path == "" {
			p.path = "/"
		}
	} else {
		port = r.TCPSocket.Port
	}
	p.port = uint16(port.IntVal) //nolint:gosec // a port number
	for _, cp := range c.Ports {
		if port.StrVal != "" && cp.Name == port.StrVal {
			p.port = uint16(cp.ContainerPort) //nolint:gosec // a port number
		}
	}
	return p
}

// workloadProbe reads a Workload's readiness.
func workloadProbe(w *v1alpha1.Workload) *probe {
	r := w.Spec.Readiness
	if r == nil {
		return nil
	}
	p := &probe{
		delay:     time.Duration(r.InitialDelaySeconds) * time.Second,
		period:    time.Duration(orDefault(r.PeriodSeconds, 1)) * time.Second,
		timeout:   time.Duration(orDefault(r.TimeoutSeconds, 1)) * time.Second,
		threshold: int(orDefault(r.FailureThreshold, 3)),
	}
	switch {
	case r.HTTPGet != nil:
		p.path, p.port = r.HTTPGet.Path, uint16(r.HTTPGet.Port) //nolint:gosec // a port number
		if p.path == "" {
			p.path = "/"
		}
	case r.TCPSocket != nil:
		p.port = uint16(r.TCPSocket.Port) //nolint:gosec // a port number
	}
	return p
}

func orDefault(v, def int32) int32 {
	if v <= 0 {
		return def
	}
	return v
}

// targets are the declared ports that are tried.
func (p *probe) targets(ports []uint16) []uint16 {
	switch {
	case p.port != 0:
		return []uint16{p.port}
	case p.path != "" && len(ports) > 0:
		return ports[:1]
	}
	return ports
}

// check tries the probe once. at gives the address of a declared port; ports
// are all of them. A program without ports is ready as soon as it runs.
func (p *probe) check(ctx context.Context, at func(declared uint16) string, ports []uint16) bool {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	ports = p.targets(ports)
	if p.path != "" && len(ports) > 0 {
		return p.get(ctx, at(ports[0]))
	}
	for _, port := range ports {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", at(port))
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}

// get succeeds on a status from 200 to 399.
func (p *probe) get(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+p.path, http.NoBody)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", "recloser-probe")
	for _, h := range p.headers {
		req.Header.Set(h.Name, h.Value)
		if h.Name == "Host" {
			req.Host = h.Value
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode >= 200 && resp.StatusCode < 400
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
