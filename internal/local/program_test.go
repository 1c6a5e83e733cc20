package local

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/internal/lab/apps"
)

func testSetting(t *testing.T) *setting {
	t.Helper()
	dir := t.TempDir()
	s := &setting{
		pod: "web-1", namespace: "shop", node: "here", serviceAccount: "clerk",
		labels: map[string]string{"app": "web"},
		place: &place{
			public: netip.MustParseAddr("127.9.0.1"), app: netip.MustParseAddr("127.9.0.2"),
			outbound: netip.MustParseAddrPort("127.9.0.1:4140"),
			moved:    map[uint16]portPair{8080: {41001, 41002}},
		},
		ports: []uint16{8080, 9090}, knobs: "/k", folder: dir, recloser: "/opt/recloser",
		programs: filepath.Join(dir, "bin"), environ: []string{"PATH=/bin", "NO_PROXY=*", "HTTP_PROXY=http://office"},
	}
	if err := writeStandIns(s.programs, "/bin/echo"); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContainerCommand(t *testing.T) {
	s := testSetting(t)
	standIn := filepath.Join(s.programs, "slow_cooker")
	for _, c := range []struct {
		name string
		in   corev1.Container
		want []string
	}{
		{
			"args go to the image's program",
			corev1.Container{Image: "buoyantio/bb", Args: []string{"terminus", "--id=$(POD_NAME)"}},
			[]string{"/opt/recloser", "app", "bb", "terminus", "--id=web-1"},
		},
		{
			"a command of the image's path",
			corev1.Container{Image: "buoyantio/slow_cooker", Command: []string{"/slow_cooker/slow_cooker", "-qps", "1"}, Args: []string{"http://a"}},
			[]string{standIn, "-qps", "1", "http://a"},
		},
		{
			"a bare name is found by PATH",
			corev1.Container{Image: "buoyantio/slow_cooker", Command: []string{"slow_cooker"}},
			[]string{standIn},
		},
		{
			"the path inside a script; $(cmd) and $VAR stay the shell's",
			corev1.Container{Image: "buoyantio/slow_cooker", Command: []string{"/bin/sh"}, Args: []string{"-c", "x=$(date)$HOME; exec /slow_cooker/slow_cooker; /slow_cooker/slow_cooker-x"}},
			[]string{"/bin/sh", "-c", "x=$(date)$HOME; exec " + standIn + "; /slow_cooker/slow_cooker-x"},
		},
	} {
		c.in.Name = "c"
		p, err := containerProgram(&c.in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		cmd, err := p.command(s)
		if got := append([]string{cmd.path}, cmd.args...); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestContainerRefusals(t *testing.T) {
	s := testSetting(t)
	for _, c := range []struct {
		in   corev1.Container
		want string
	}{
		{corev1.Container{Image: "nginx:1"}, `image "nginx:1" is not built in; built in are buoyantio/bb, buoyantio/slow_cooker`},
		{corev1.Container{Image: "buoyantio/bb", Command: []string{"/no/such"}}, `command "/no/such": there is no such program`},
		{corev1.Container{Image: "buoyantio/bb", Command: []string{"nosuch-program"}}, "not such program in PATH"},
		{corev1.Container{Image: "buoyantio/bb", Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.moon"}}}}}, `env "A": fieldPath "status.moon"`},
		{corev1.Container{Image: "buoyantio/bb", Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}}}}, "fieldRef only"},
		{corev1.Container{Image: "buoyantio/bb", EnvFrom: []corev1.EnvFromSource{{}}}, "ConfigMaps and Secrets"},
	} {
		p, err := containerProgram(&c.in)
		if err == nil {
			_, err = p.command(s)
		}
		want := strings.Replace(c.want, "not such", "no such", 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNewEnvironment(t *testing.T) {
	e := newEnvironment(testSetting(t))
	for name, want := range map[string]string{
		"HTTP_PROXY": "http://127.9.0.1:4140", "http_proxy": "http://127.9.0.1:4140", "NO_PROXY": "",
		"HOSTNAME": "web-1", "POD_NAME": "web-1", "POD_NAMESPACE": "shop", "POD_IP": "127.9.0.1",
		apps.EnvAddress: "127.9.0.2", apps.EnvPorts: "8080=41002", apps.EnvControl: "/k",
	} {
		if got := e.get(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if slices.ContainsFunc(e.list(), func(kv string) bool { return strings.HasPrefix(kv, "NO_PROXY") }) {
		t.Errorf("NO_PROXY leads past the sidecar: %q", e.list())
	}
}

func TestFields(t *testing.T) {
	s := testSetting(t)
	for path, want := range map[string]string{
		"metadata.name": "web-1", "metadata.namespace": "shop", "status.podIP": "127.9.0.1", "status.hostIP": "127.0.0.1",
		"spec.nodeName": "here", "spec.serviceAccountName": "clerk", "metadata.labels['app']": "web", "metadata.annotations['x']": "",
	} {
		if got, err := s.field(path); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestExpand(t *testing.T) {
	e := &environment{}
	e.values = map[string]string{"A": "1", "B": "$(A)"}
	for in, want := range map[string]string{
		"": "", "$": "$", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(NO)": "$(NO)", "$$(A)": "$(A)",
		"$A": "$A", "$(A": "$(A", "$(B)": "$(A)", "$((A))": "$((A))", "$(echo $(A))": "$(echo 1)",
	} {
		if got := e.expand(in); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReplaceWord(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b": "X", "/a/b -q": "X -q", "exec /a/b;": "exec X;", "'/a/b'": "'X'", "/a/b/c": "/a/b/c",
		"/z/a/b": "/z/a/b", "/a/b2 /a/b": "/a/b2 X", "x=/a/b": "x=X", "(/a/b)": "(X)", "": "",
	} {
		if got := replaceWord(in, "/a/b", "X"); got != want {
			t.Errorf("replaceWord(%q) = %q, want %q", in, got, want)
		}
	}
}

// The stand-ins run the recloser program with the arguments as they are.
func TestStandInsPassArguments(t *testing.T) {
	s := testSetting(t)
	r := &launcherRig{t: t}
	lines := r.run(command{path: filepath.Join(s.programs, "bb"), args: []string{"a b", "$(c)", "'d'"}})
	if want := "app bb a b $(c) 'd'"; len(lines) != 1 || lines[0] != want {
		t.Errorf("it printed %q, want %q", lines, want)
	}
}

func TestContainerProbe(t *testing.T) {
	c := &corev1.Container{
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: &corev1.Probe{
			PeriodSeconds: 2,
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}},
		},
	}
	p := containerProbe(c)
	if p.path != "/ready" || p.port != 8080 || p.period != 2*time.Second || p.timeout != time.Second || p.threshold != 3 {
		t.Errorf("%+v", p)
	}
	c.ReadinessProbe.HTTPGet, c.ReadinessProbe.Exec = nil, &corev1.ExecAction{}
	if p := containerProbe(c); p != nil {
		t.Errorf("an exec probe: %+v", p)
	}
}

func FuzzParseGateway(f *testing.F) {
	f.Add("8200=checkout:80")
	f.Add("8200=checkout")
	f.Add("127.0.0.1:8200=a.b.svc.cluster.local")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGateway(s)
		if err != nil {
			return
		}
		// What was understood, written out in full, is understood the same.
		full := fmt.Sprintf("%s=%s", g.Listen, g.Service)
		if g.Namespace != "" {
			full += "." + g.Namespace
		}
		if g.Port != 0 {
			full = fmt.Sprintf("%s:%d", full, g.Port)
		}
		again, err := ParseGateway(full)
		if err != nil || again != g {
			t.Errorf("%q is %+v, but %q is %+v (%v)", s, g, full, again, err)
		}
	})
}

func TestCheckState(t *testing.T) {
	for folder, ok := range map[string]bool{"/tmp/recloser-1": true, "tmp": false, "/with space": false, "/x;rm": false, "/$HOME": false} {
		if err := checkState(folder); (err == nil) != ok {
			t.Errorf("%q: %v", folder, err)
		}
	}
}

func TestFindProxy(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", "")
	recloser := filepath.Join(dir, "recloser")
	if got, err := findProxy("", recloser); err == nil || !strings.Contains(err.Error(), "--proxy") {
		t.Errorf("found %q, %v", got, err)
	}
	proxy := filepath.Join(dir, "recloser-proxy")
	if err := os.WriteFile(proxy, nil, 0o755); err != nil { //nolint:gosec // it stands for a program
		t.Fatal(err)
	}
	if got, err := findProxy("", recloser); got != proxy || err != nil {
		t.Errorf("found %q, %v", got, err)
	}
}
