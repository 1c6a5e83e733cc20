package proxy

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func parse(args []string, env map[string]string) (Config, string, error) {
	var out strings.Builder
	cfg, err := ParseFlags(args, func(name string) string { return env[name] }, "v1", Streams{Out: &out, Err: &out})
	return cfg, out.String(), err
}

func TestFlags(t *testing.T) {
	cfg, _, err := parse([]string{
		"--node-id", "p.ns", "--namespace=ns", "--pod", "p", "--workload", "w", "--xds", "127.0.0.1:8086",
		"--admin", "127.0.0.1:0", "--outbound", "127.0.0.1:4140", "--drain-timeout", "5s",
		"--node-metadata", "A=b", "--node-metadata", "PUBLISH=x=y,z", "--log-level", "warn", "--max-headers", "7", "--locality", "eu/eu-1",
	}, map[string]string{"RECLOSER_PROXY_DRAIN_TIMEOUT": "9s", "RECLOSER_PROXY_MAX_HOSTS": "5", "RECLOSER_PROXY_WORKLOAD_KIND": "Workload"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DrainTimeout != 5*time.Second || cfg.MaxHosts != 5 || cfg.HTTP1.MaxHeaders != 7 || cfg.AccessLog != nil {
		t.Errorf("%+v", cfg)
	}
	n := cfg.node("127.0.0.1:4191")
	if n.GetId() != "p.ns" || n.GetCluster() != "w.ns" {
		t.Errorf("node %v", n)
	}
	if l := n.GetLocality(); l.GetRegion() != "eu" || l.GetZone() != "eu-1" || l.GetSubZone() != "" {
		t.Errorf("locality %v", l)
	}
	for key, want := range map[string]string{
		"NAMESPACE": "ns", "POD": "p", "WORKLOAD": "w", "WORKLOAD_KIND": "Workload", "ADMIN": "127.0.0.1:4191",
		"OUTBOUND": "127.0.0.1:4140", "A": "b", "PUBLISH": "x=y,z",
	} {
		if got := n.GetMetadata().GetFields()[key].GetStringValue(); got != want {
			t.Errorf("metadata %s is %q, want %q", key, got, want)
		}
	}
	cfg, _, err = parse([]string{"--xds", "h:1", "--pod", "p", "--namespace", "ns", "--access-log", "json", "--access-log-file", filepath.Join(t.TempDir(), "log")}, nil)
	if err != nil || cfg.Node.id() != "p.ns" || cfg.AccessLogFormat != telemetry.LogJSON || cfg.AccessLog == nil || cfg.node("").GetLocality() != nil {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestFlagsThatAreWrong(t *testing.T) {
	for _, tt := range []struct {
		args string
		env  map[string]string
		want string
	}{
		{"", nil, "exactly one of them is needed"},
		{"--xds a:1 --resources f", nil, "exactly one of them is needed"},
		{"--xds a:1", nil, "node id"},
		{"--xds nowhere --node-id x", nil, `xds "nowhere"`},
		{"--resources f --drain-timeout -1s", nil, "drain timeout -1s"},
		{"--resources f --max-hosts 0", nil, "max hosts 0: must be at least 1"},
		{"--resources f --xds-min-backoff 1m", nil, "minimum back-off 1m0s"},
		{"--resources f --access-log xml", nil, `"xml"`},
		{"--resources f --log-format xml", nil, `log-format "xml"`},
		{"--resources f --log-level loud", nil, "loud"},
		{"--resources f --node-metadata x", nil, "KEY=VALUE"},
		{"--resources f extra", nil, `argument "extra"`},
		{"--resources f", map[string]string{"RECLOSER_PROXY_MAX_HEADERS": "many"}, `RECLOSER_PROXY_MAX_HEADERS "many"`},
		{"--resources f --locality a/b/c/d", nil, `locality "a/b/c/d": must be REGION`},
		{"--nonsense", nil, "nonsense"},
	} {
		_, _, err := parse(strings.Fields(tt.args), tt.env)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	_, out, err := parse([]string{"--help"}, nil)
	if !errors.Is(err, ErrDone) || !strings.Contains(out, "--drain-timeout duration") || !strings.Contains(out, "(default 30s)") {
		t.Errorf("%v\n%s", err, out)
	}
	_, out, err = parse([]string{"--version"}, nil)
	if !errors.Is(err, ErrDone) || out != "recloser-proxy v1\n" {
		t.Errorf("%v %q", err, out)
	}
}

func TestHTTP2Overlay(t *testing.T) {
	own := DefaultConfig().HTTP2
	same := own
	overlay(&same, snapshot.HTTP2Options{})
	if same.MaxConcurrentStreams != own.MaxConcurrentStreams || same.StreamWindow != own.StreamWindow || same.KeepAlive != own.KeepAlive {
		t.Errorf("a listener that says nothing changed %+v to %+v", own, same)
	}
	overlay(&same, snapshot.HTTP2Options{MaxStreams: 7, StreamWindow: 70000, KeepAlive: time.Second, KeepAliveTimeout: time.Minute})
	if same.MaxConcurrentStreams != 7 || same.StreamWindow != 70000 || same.KeepAlive != time.Second || same.KeepAliveTimeout != time.Minute {
		t.Errorf("%+v", same)
	}
}
