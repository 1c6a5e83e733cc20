package local

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/lab/apps"
)

// setting is where a program of an instance is started: everything that its
// command line and environment may depend on.
type setting struct {
	pod, namespace string
	node           string // name of this machine
	serviceAccount string
	labels         map[string]string
	annotations    map[string]string
	place          *place
	ports          []uint16 // declared
	doors          []door   // to services
	knobs          string   // address of the program's knobs
	programs       string   // folder of the stand-ins for images' programs
	folder         string   // of the instance
	recloser       string   // path of the recloser program
	environ        []string // of the mesh itself
}

// containerProgram is the program of a container, or the reason why it cannot
// be run on this machine.
func containerProgram(c *corev1.Container) (program, error) {
	image, ok := apps.ForImage(c.Image)
	if !ok {
		return program{}, fmt.Errorf("image %q is not built in; built in are %s. A Workload (%s/%s) runs a command of your own",
			c.Image, strings.Join(apps.ImageNames(), ", "), v1alpha1.Group, v1alpha1.Version)
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef == nil {
			return program{}, fmt.Errorf("env %q: valueFrom is understood with fieldRef only", e.Name)
		}
	}
	if len(c.EnvFrom) > 0 {
		return program{}, errors.New("envFrom: ConfigMaps and Secrets are not understood")
	}
	return program{name: c.Name, command: func(s *setting) (command, error) {
		return containerCommand(c, image, s)
	}}, nil
}

// containerCommand is the command line of a container at a place: its command
// and args, or the image's own program with its args.
func containerCommand(c *corev1.Container, image apps.Image, s *setting) (command, error) {
	env := newEnvironment(s)
	for _, e := range c.Env {
		v := e.Value
		if e.ValueFrom != nil {
			var err error
			if v, err = s.field(e.ValueFrom.FieldRef.FieldPath); err != nil {
				return command{}, fmt.Errorf("env %q: %w", e.Name, err)
			}
			env.set(e.Name, v)
			continue
		}
		env.set(e.Name, env.expand(v))
	}
	expand := func(in []string) []string {
		out := make([]string, len(in))
		for i, a := range in {
			out[i] = standIns(env.expand(a), image, s.programs)
		}
		return out
	}
	argv, args := expand(c.Command), expand(c.Args)
	dir := c.WorkingDir
	if fi, err := os.Stat(dir); dir == "" || err != nil || !fi.IsDir() {
		dir = s.folder // the image's folders do not exist here
	}
	if len(argv) == 0 {
		return command{path: s.recloser, args: append([]string{"app", image.Program}, args...), env: env.list(), dir: dir}, nil
	}
	file, err := lookPath(argv[0], env.get("PATH"), dir)
	if err != nil {
		return command{}, fmt.Errorf("command %q: %w", c.Command[0], err)
	}
	return command{path: file, args: append(argv[1:], args...), env: env.list(), dir: dir}, nil
}

// standIns replaces the paths at which an image holds its program by the path
// of its stand-in on this machine, wherever they stand as words of their own:
// in an argument or inside a script.
func standIns(s string, image apps.Image, folder string) string {
	standIn := filepath.Join(folder, image.Program)
	for _, p := range image.Paths {
		s = replaceWord(s, p, standIn)
	}
	return s
}

// replaceWord replaces a path where no character of a path goes before or after.
func replaceWord(s, old, with string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, old)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len(old)
		before, after := i > 0 && isPathByte(s[i-1]), end < len(s) && isPathByte(s[end])
		b.WriteString(s[:i])
		if before || after {
			b.WriteString(old)
		} else {
			b.WriteString(with)
		}
		s = s[end:]
	}
}

func isPathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/._-~", c) >= 0
}

// writeStandIns makes the folder of the stand-ins: for each built-in program a
// small script of its name, which also is found by PATH.
func writeStandIns(folder, recloser string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range apps.Programs() {
		script := fmt.Sprintf("#!/bin/sh\nexec %s app %s \"$@\"\n", shellQuote(recloser), p.Name)
		if err := os.WriteFile(filepath.Join(folder, p.Name), []byte(script), 0o755); err != nil { //nolint:gosec // it is to be executed
			return err
		}
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// workloadProgram is the user's own command.
func workloadProgram(w *v1alpha1.Workload, manifest string) program {
	return program{name: w.Name, command: func(s *setting) (command, error) {
		listen := v1alpha1.Listen{Address: s.place.app.String()}
		for _, v := range serviceVariables(s.doors) {
			listen.Services = append(listen.Services, v1alpha1.EnvVar{Name: v[0], Value: v[1]})
		}
		for _, p := range w.Spec.Ports {
			listen.Ports = append(listen.Ports, int32(s.place.appPort(uint16(p.Port)))) //nolint:gosec // a port number
		}
		env := newEnvironment(s)
		for _, kv := range w.Environment(listen) {
			k, v, _ := strings.Cut(kv, "=")
			env.set(k, v)
		}
		dir := w.Spec.WorkingDir
		if !filepath.IsAbs(dir) {
			if manifest != "" {
				dir = filepath.Join(filepath.Dir(manifest), dir)
			}
			var err error
			if dir, err = filepath.Abs(dir); err != nil {
				return command{}, fmt.Errorf("spec.workingDir: %w", err)
			}
		}
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			return command{}, fmt.Errorf("spec.workingDir %q: there is no such folder on this machine", dir)
		}
		argv := w.CommandLine(listen)
		file, err := lookPath(argv[0], env.get("PATH"), dir)
		if err != nil {
			return command{}, fmt.Errorf("spec.command %q: %w", argv[0], err)
		}
		return command{path: file, args: argv[1:], env: env.list(), dir: dir}, nil
	}}
}

// lookPath finds an executable: a bare name in the folders of PATH, a path
// with a slash from dir.
func lookPath(name, pathVar, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, folder := range filepath.SplitList(pathVar) {
		if folder == "" {
			continue
		}
		if file := path.Join(folder, name); executable(file) == nil {
			return file, nil
		}
	}
	return "", errors.New("there is no such program in PATH")
}

func executable(file string) error {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("there is no such program on this machine: %w", err)
	case fi.IsDir() || fi.Mode()&0o111 == 0:
		return errors.New("the file is not executable")
	}
	return nil
}

// field is a value of the downward API.
func (s *setting) field(fieldPath string) (string, error) {
	if kind, key, ok := strings.Cut(strings.TrimSuffix(fieldPath, "']"), "['"); ok {
		switch kind {
		case "metadata.labels":
			return s.labels[key], nil
		case "metadata.annotations":
			return s.annotations[key], nil
		}
	}
	switch fieldPath {
	case "metadata.name":
		return s.pod, nil
	case "metadata.namespace":
		return s.namespace, nil
	case "metadata.uid":
		return s.namespace + "." + s.pod, nil
	case "status.podIP", "status.podIPs":
		return s.place.public.String(), nil
	case "status.hostIP", "status.hostIPs":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}).String(), nil
	case "spec.nodeName":
		return s.node, nil
	case "spec.serviceAccountName":
		return s.serviceAccount, nil
	}
	return "", fmt.Errorf("fieldPath %q is not understood", fieldPath)
}

// environment is the variables of a program, in the order of their first
// setting.
type environment struct {
	names  []string
	values map[string]string
}

// newEnvironment is that of the mesh itself, and over it what every program is
// told: who it is, where to listen, and that its requests go to its sidecar.
func newEnvironment(s *setting) *environment {
	e := &environment{values: map[string]string{}}
	for _, kv := range s.environ {
		k, v, _ := strings.Cut(kv, "=")
		e.set(k, v)
	}
	// A NO_PROXY of the user's own would lead calls past the sidecar, and Go
	// programs do not believe HTTP_PROXY when REQUEST_METHOD is set.
	for _, name := range []string{"NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		e.unset(name)
	}
	proxy := "http://" + s.place.outbound.String()
	e.set("HTTP_PROXY", proxy)
	e.set("http_proxy", proxy)
	if len(s.doors) > 0 {
		e.set("NO_PROXY", noProxy(s.doors))
		e.set("no_proxy", noProxy(s.doors))
	}
	for _, v := range serviceVariables(s.doors) {
		e.set(v[0], v[1])
	}
	e.set("HOSTNAME", s.pod)
	e.set("POD_NAME", s.pod)
	e.set("POD_NAMESPACE", s.namespace)
	e.set("POD_IP", s.place.public.String())
	e.set(apps.EnvAddress, s.place.app.String())
	e.set(apps.EnvPorts, portsVariable(s))
	e.set(apps.EnvControl, s.knobs)
	e.set(apps.EnvEndWithParent, "1")
	e.set("PATH", s.programs+string(os.PathListSeparator)+e.get("PATH"))
	return e
}

// portsVariable is the value of RECLOSER_APP_PORTS.
func portsVariable(s *setting) string {
	var items []string
	for _, p := range s.ports {
		if other := s.place.appPort(p); other != p {
			items = append(items, fmt.Sprintf("%d=%d", p, other))
		}
	}
	return strings.Join(items, ",")
}

func (e *environment) get(name string) string { return e.values[name] }

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) unset(name string) {
	if _, ok := e.values[name]; ok {
		delete(e.values, name)
		e.names = slices.DeleteFunc(e.names, func(n string) bool { return n == name })
	}
}

func (e *environment) list() []string {
	out := make([]string, len(e.names))
	for i, n := range e.names {
		out[i] = n + "=" + e.values[n]
	}
	return out
}

// expand replaces $(NAME) and $$ as Kubernetes does; a name that is not known
// stays as it is written.
func (e *environment) expand(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		if s[1] == '$' {
			b.WriteByte('$')
			s = s[2:]
			continue
		}
		if name, rest, ok := strings.Cut(s[1:], ")"); ok && strings.HasPrefix(name, "(") {
			if v, known := e.values[name[1:]]; known {
				b.WriteString(v)
				s = rest
				continue
			}
		}
		b.WriteByte('$')
		s = s[1:]
	}
}

func portNumber(p uint16) string { return strconv.Itoa(int(p)) }
