package local

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// sidecarCommand is the command line of an instance's sidecar.
func (m *Mesh) sidecarCommand(in *instance) command {
	var more []string
	if len(in.doors) > 0 {
		more = []string{"--node-metadata", "PUBLISH=" + published(in.doors)}
	}
	return m.proxyCommand(in.folder, identity{
		pod: in.name, namespace: in.owner.namespace,
		workload: in.owner.name, workloadKind: in.owner.kind,
		locality: model.LocalityOf(in.template.labels),
	}, in.place, more...)
}

// identity is what a proxy says of itself to the control plane.
type identity struct {
	pod, namespace, workload, workloadKind string
	locality                               model.Locality
}

// proxyCommand is the command line of a proxy. Proxies get no proxy settings
// from outside: they are the way.
func (m *Mesh) proxyCommand(folder string, id identity, at *place, more ...string) command {
	var env []string
	for _, kv := range m.cfg.Environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			env = append(env, kv)
		}
	}
	if !id.locality.IsZero() {
		more = append([]string{"--locality", id.locality.String()}, more...)
	}
	return command{
		path: m.cfg.ProxyPath,
		args: append([]string{
			"--xds", m.cfg.XDSAddress,
			"--node-id", id.pod + "." + id.namespace,
			"--namespace", id.namespace,
			"--pod", id.pod,
			"--workload", id.workload,
			"--workload-kind", id.workloadKind,
			"--admin", at.admin.String(),
			"--outbound", at.outbound.String(),
			"--log-level", "warn",
		}, more...),
		env: env, dir: folder,
	}
}

// askSidecar gets a path of a sidecar's admin port. A sidecar is asked a few
// times a second at most and may be gone at any time, so connections are not
// kept.
func askSidecar(ctx context.Context, admin netip.AddrPort, path string) (*http.Response, error) {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
		Timeout:   2 * time.Second,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.String()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// sidecarReady asks a sidecar whether it serves what it was told to.
func sidecarReady(ctx context.Context, admin netip.AddrPort) bool {
	resp, err := askSidecar(ctx, admin, "/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// listensPatience is how long a program behind a sidecar may take to see that a
// connection which only tried the sidecar's port is at its end.
const listensPatience = 100 * time.Millisecond

// acceptsAll tells whether something accepts connections on all addresses.
func acceptsAll(ctx context.Context, addresses []string) bool {
	d := net.Dialer{Timeout: time.Second}
	for _, a := range addresses {
		conn, err := d.DialContext(ctx, "tcp", a)
		if err != nil {
			return false
		}
		leave(ctx, conn, listensPatience)
	}
	return true
}

// sidecarIdle asks a sidecar whether nothing is under way towards its program:
// no request, and no connection to an opaque port; those to other ports are kept
// for the next request. A sidecar that cannot tell has nothing under way that
// could be waited for.
func sidecarIdle(ctx context.Context, admin netip.AddrPort, opaque func(port uint16) bool) bool {
	resp, err := askSidecar(ctx, admin, "/clusters")
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	var view struct {
		Clusters []struct {
			Direction   string `json:"direction"`
			Port        string `json:"port"`
			Requests    uint64 `json:"requests"`
			Connections uint64 `json:"connections"`
			Pending     uint64 `json:"pending"`
			Waiting     int    `json:"waiting"`
		} `json:"clusters"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&view); err != nil {
		return true
	}
	for _, c := range view.Clusters {
		if c.Direction != "inbound" {
			continue
		}
		port, _ := strconv.ParseUint(c.Port, 10, 16)
		if c.Requests > 0 || c.Pending > 0 || c.Waiting > 0 || c.Connections > 0 && opaque(uint16(port)) {
			return false
		}
	}
	return true
}
