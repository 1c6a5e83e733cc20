package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
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
	again     time.Duration // between tries while they fail; 0: period
	timeout   time.Duration // of one try
	threshold int           // failures in a row after which a ready instance is not
	// once: a port that has accepted a connection is not tried again until the
	// programs are started anew. A server that speaks first, or one that counts
	// connections, is not troubled for ever.
	once bool
}

// Until an instance is ready for the first time it is looked at more often
// than its probe says, so that it gets traffic as soon as it can take it.
const eagerPeriod = 50 * time.Millisecond

// Periods of the probe that holds where none is declared.
const (
	lookPeriod    = time.Second      // at programs that we run: whether they still do
	addressPeriod = 10 * time.Second // at what runs already, as in Kubernetes
)

// defaultProbe holds where none is declared: each port must have accepted a
// connection. How programs go on is known of those that we run (supervised);
// others are connected to again.
func defaultProbe(supervised bool) *probe {
	p := &probe{period: lookPeriod, timeout: time.Second, threshold: 3, once: supervised}
	if !supervised {
		p.period, p.again = addressPeriod, lookPeriod
	}
	return p
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

// prober tries the probe of one instance again and again.
type prober struct {
	*probe
	at      func(declared uint16) string // the address of a declared port
	ports   []uint16                     // all that are declared
	starts  int                          // of the programs, as accepted is about them
	done    map[uint16]bool              // of once: the ports that have accepted
	leaving sync.WaitGroup               // connections that are being closed
}

func newProber(in *instance) *prober {
	p := in.template.probe
	if p == nil {
		p = defaultProbe(in.address == "")
	}
	return &prober{probe: p, at: in.programAddress, ports: in.ports}
}

// check tries the probe. starts is how often the programs have been started. A
// program without ports is ready as soon as it runs.
func (p *prober) check(ctx context.Context, starts int) bool {
	tryCtx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	ports := p.targets(p.ports)
	if p.path != "" && len(ports) > 0 {
		return p.get(tryCtx, p.at(ports[0]))
	}
	if p.done == nil || p.starts != starts {
		p.done, p.starts = map[uint16]bool{}, starts
	}
	for _, port := range ports {
		if p.once && p.done[port] {
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(tryCtx, "tcp", p.at(port))
		if err != nil {
			return false
		}
		p.done[port] = true
		p.leaving.Go(func() { leave(ctx, conn, leaveTime) })
	}
	return true
}

// What a server that speaks first may take and say before a connection that
// only tried whether it accepts is closed.
const (
	leaveTime  = time.Second
	leaveBytes = 64 << 10
)

// leave closes a connection as a client does that has nothing more to say. A
// server that speaks first is read, and not answered by a reset, which it would
// take for a fault.
func leave(ctx context.Context, conn net.Conn, patience time.Duration) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if t, ok := conn.(*net.TCPConn); !ok || t.CloseWrite() != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience)) // it is closed: there is nothing to read
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, leaveBytes))
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
