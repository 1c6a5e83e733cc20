package xds

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const resources = `
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: outbound
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: a
  connectTimeout: 2s
- "@type": type.googleapis.com/envoy.config.route.v3.VirtualHost
  name: vh
  domains: ["bb:8080", "*.example.com"]
`

func write(t *testing.T, path, text string) {
	t.Helper()
	// As deployment tools do it: written aside, then renamed.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resources.yaml")
	write(t, path, resources)
	sink := newRecorder()
	f := NewFile(FileConfig{Path: path, Sink: sink, Logger: quiet()})
	f.Subscribe(Listener, Wildcard)
	run(t, f.Run)
	expect := func(want ...string) Update {
		t.Helper()
		u := receive(t, "update", sink.updates)
		if diff := cmp.Diff(want, u.names()); diff != "" {
			t.Errorf("%s: %s", u.Type, diff)
		}
		return u
	}
	expect("outbound")
	f.Subscribe(Cluster, "a", "missing")
	expect("-missing", "a")
	f.Subscribe(VirtualHost, "outbound/bb:8080", "outbound/x.example.com", "outbound/other")
	expect("-outbound/other", "outbound/bb:8080", "outbound/x.example.com")

	// Only what differs is told; what goes is removed.
	write(t, path, strings.ReplaceAll(strings.ReplaceAll(resources, "2s", "3s"), "name: outbound", "name: other"))
	var got []string
	for range 2 {
		got = append(got, receive(t, "update", sink.updates).names()...)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"-outbound", "a", "other"}, got); diff != "" {
		t.Error(diff)
	}

	// A wrong file changes nothing; the right one after it does.
	write(t, path, "resources: [{")
	write(t, path, resources)
	got = nil
	for range 2 {
		got = append(got, receive(t, "update", sink.updates).names()...)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"-other", "a", "outbound"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadResourcesSaysAllThatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resources.yaml")
	write(t, path, resources+`
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: a
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: b
  connect_timeouts: 2s
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
- "@type": type.googleapis.com/google.protobuf.Duration
  value: 3s
- "@type": type.googleapis.com/envoy.config.route.v3.VirtualHost
  name: vh2
  domains: ["bb:8080"]
`)
	_, err := readResources(path)
	for _, want := range []string{
		`resources[3]: Cluster "a": is there twice`, "resources[4]", "connect_timeouts",
		"resources[5]: Cluster: name", "resources[6]", `resources[7]: domain "bb:8080": is there twice`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
}

func TestFileFollowsASymbolicLinkThatIsSwitched(t *testing.T) {
	// As Kubernetes mounts a ConfigMap: file -> ..data/file, ..data -> ..v1.
	dir := t.TempDir()
	for version, text := range map[string]string{"..v1": resources, "..v2": strings.ReplaceAll(resources, "name: outbound", "name: other")} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "r.yaml"), text)
	}
	for from, to := range map[string]string{"..data": "..v1", "r.yaml": "..data/r.yaml"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	sink := newRecorder()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "r.yaml"), Sink: sink, Logger: quiet()})
	f.Subscribe(Listener, Wildcard)
	run(t, f.Run)
	receive(t, "update", sink.updates)
	if err := os.Symlink("..v2", filepath.Join(dir, "..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"-outbound", "other"}, receive(t, "update", sink.updates).names()); diff != "" {
		t.Error(diff)
	}
}
