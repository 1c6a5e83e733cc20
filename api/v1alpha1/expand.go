package v1alpha1

import (
	"net"
	"strconv"
	"strings"
)

// Listen is where an instance's program should listen.
type Listen struct {
	// Address is an IP address without a port.
	Address string
	// Ports are the numbers to listen on, by the order of spec.ports. Where an
	// instance has an address of its own they are the same as there.
	Ports []int32
	// Services are the variables that lead to other services, as Kubernetes
	// names them (REDIS_SERVICE_HOST).
	Services []EnvVar
}

// Environment is what the program of one instance is told, as NAME=VALUE in
// the order of spec.env after the defaults ADDRESS, PORT, LISTEN_ADDR and
// PORT_<NAME>, and the services'. References $(NAME) see these and the entries
// before.
func (w *Workload) Environment(l Listen) []string {
	vars := w.listenVars(l)
	names := []string{"ADDRESS"}
	for _, n := range []string{"PORT", "LISTEN_ADDR"} {
		if _, ok := vars[n]; ok {
			names = append(names, n)
		}
	}
	for i := range w.Spec.Ports {
		if n := portVar(w.Spec.Ports[i].Name); n != "" && i < len(l.Ports) {
			names = append(names, n)
		}
	}
	for _, s := range l.Services {
		if _, ok := vars[s.Name]; !ok {
			vars[s.Name] = s.Value
			names = append(names, s.Name)
		}
	}
	at := map[string]int{}
	for i, n := range names {
		at[n] = i
	}
	for _, e := range w.Spec.Env {
		vars[e.Name] = expand(e.Value, vars)
		if _, ok := at[e.Name]; !ok {
			at[e.Name] = len(names)
			names = append(names, e.Name)
		}
	}
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, n+"="+vars[n])
	}
	return out
}

// CommandLine is Command and Args with $(NAME) replaced from Environment.
func (w *Workload) CommandLine(l Listen) []string {
	vars := map[string]string{}
	for _, kv := range w.Environment(l) {
		k, v, _ := strings.Cut(kv, "=")
		vars[k] = v
	}
	out := make([]string, 0, len(w.Spec.Command)+len(w.Spec.Args))
	for _, s := range w.Spec.Command {
		out = append(out, expand(s, vars))
	}
	for _, s := range w.Spec.Args {
		out = append(out, expand(s, vars))
	}
	return out
}

func (w *Workload) listenVars(l Listen) map[string]string {
	vars := map[string]string{"ADDRESS": l.Address}
	for i, p := range l.Ports {
		n := strconv.Itoa(int(p))
		if i == 0 {
			vars["PORT"] = n
			vars["LISTEN_ADDR"] = net.JoinHostPort(l.Address, n)
		}
		if i < len(w.Spec.Ports) {
			if v := portVar(w.Spec.Ports[i].Name); v != "" {
				vars[v] = n
			}
		}
	}
	return vars
}

// portVar is PORT_ and the name in capitals with dashes as underscores.
func portVar(name string) string {
	if name == "" {
		return ""
	}
	return "PORT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}

// expand replaces $(NAME) and $$ as Kubernetes does in a container's env: a
// name that is not known stays as it is written.
func expand(s string, vars map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			name, _, ok := strings.Cut(s[i+2:], ")")
			v, known := vars[name]
			if !ok || !known {
				b.WriteByte('$')
				continue
			}
			b.WriteString(v)
			i += len(name) + 2
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}
