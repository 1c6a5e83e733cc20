package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// FieldError is one thing that is wrong with an object.
type FieldError struct {
	// Field is the path from the top of the object: "spec.ports[0].port".
	Field string
	// Value as it was given; empty when it is absent.
	Value string
	// Allowed says what would be right.
	Allowed string
}

// Error says field, value and what is allowed.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Allowed)
	}
	return fmt.Sprintf("%s: %q: %s", e.Field, e.Value, e.Allowed)
}

// maxReplicas bounds a typing mistake, not a user: each replica is two
// processes on this machine.
const maxReplicas = 1000

var (
	// portName is RFC 6335 section 5.1 as Kubernetes reads it (IANA_SVC_NAME).
	portName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`)
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	// appProtocol is Kubernetes' syntax of labels: a name, or a domain, a slash,
	// and a name.
	appProtocol = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
)

// Validate reports everything that is wrong with the Workload, joined; each
// part is a *FieldError. The object's name and namespace are checked where
// objects are read, for all kinds alike.
func (w *Workload) Validate() error {
	v := &validation{}
	v.source(&w.Spec)
	v.ports(&w.Spec)
	v.addresses(&w.Spec)
	v.env(&w.Spec)
	v.readiness(&w.Spec)
	return errors.Join(v.errs...)
}

// validation collects errors.
type validation struct{ errs []error }

func (v *validation) add(field string, value any, allowed string) {
	s := ""
	if value != nil {
		s = fmt.Sprint(value)
	}
	v.errs = append(v.errs, &FieldError{Field: field, Value: s, Allowed: allowed})
}

func (v *validation) source(s *WorkloadSpec) {
	switch {
	case len(s.Command) == 0 && len(s.Addresses) == 0:
		v.add("spec.command", nil, "either a command or addresses must be given")
	case len(s.Command) > 0 && len(s.Addresses) > 0:
		v.add("spec.addresses", strings.Join(s.Addresses, ", "), "a command and addresses exclude each other")
	}
	if len(s.Command) > 0 && s.Command[0] == "" {
		v.add("spec.command[0]", nil, "must name a program")
	}
	if len(s.Addresses) > 0 {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"spec.args", len(s.Args) > 0},
			{"spec.env", len(s.Env) > 0},
			{"spec.workingDir", s.WorkingDir != ""},
			{"spec.replicas", s.Replicas != nil},
		} {
			if f.set {
				v.add(f.name, nil, "has a meaning only with a command, not with addresses")
			}
		}
	}
	if s.Replicas != nil && (*s.Replicas < 0 || *s.Replicas > maxReplicas) {
		v.add("spec.replicas", *s.Replicas, fmt.Sprintf("must be 0 to %d", maxReplicas))
	}
}

func (v *validation) ports(s *WorkloadSpec) {
	names, numbers := map[string]bool{}, map[int32]bool{}
	for i, p := range s.Ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		switch {
		case p.Port < 1 || p.Port > 65535:
			v.add(field+".port", p.Port, "must be 1 to 65535")
		case numbers[p.Port]:
			v.add(field+".port", p.Port, "must be different from the other ports")
		}
		numbers[p.Port] = true
		switch {
		case p.Name == "" && len(s.Ports) > 1:
			v.add(field+".name", nil, "each of several ports needs a name")
		case p.Name != "" && !validPortName(p.Name):
			v.add(field+".name", p.Name, "must be at most 15 lower-case letters, digits and single inner dashes, with a letter")
		case p.Name != "" && names[p.Name]:
			v.add(field+".name", p.Name, "must be different from the other names")
		}
		names[p.Name] = true
		if p.AppProtocol != "" && !appProtocol.MatchString(p.AppProtocol) {
			v.add(field+".appProtocol", p.AppProtocol, "must be a name such as http or grpc, or DOMAIN/NAME such as kubernetes.io/h2c")
		}
	}
}

func validPortName(s string) bool {
	return portName.MatchString(s) && !strings.Contains(s, "--") && strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz")
}

func (v *validation) addresses(s *WorkloadSpec) {
	seen := map[string]bool{}
	for i, a := range s.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		if seen[a] {
			v.add(field, a, "must be different from the other addresses")
		}
		seen[a] = true
		if ip, err := netip.ParseAddr(a); err == nil {
			if ip.IsUnspecified() || ip.IsMulticast() {
				v.add(field, a, "must be the address of one machine")
			}
			if len(s.Ports) == 0 {
				v.add("spec.ports", nil, "an address without a port needs ports")
			}
			continue
		}
		ap, err := netip.ParseAddrPort(a)
		switch {
		case err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() || ap.Addr().IsMulticast():
			v.add(field, a, "must be an IP address or IP:PORT; names are not looked up")
		case len(s.Ports) > 1:
			v.add(field, a, "IP:PORT is clear only with a single port in spec.ports")
		}
	}
}

func (v *validation) env(s *WorkloadSpec) {
	for i, e := range s.Env {
		if !envName.MatchString(e.Name) {
			v.add(fmt.Sprintf("spec.env[%d].name", i), e.Name, "must be letters, digits, '_', '-' or '.', and not begin with a digit")
		}
	}
}

func (v *validation) readiness(s *WorkloadSpec) {
	r := s.Readiness
	if r == nil {
		return
	}
	if r.HTTPGet != nil && r.TCPSocket != nil {
		v.add("spec.readiness", nil, "httpGet and tcpSocket exclude each other")
	}
	if h := r.HTTPGet; h != nil {
		v.probePort(s, "spec.readiness.httpGet.port", h.Port)
		if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
			v.add("spec.readiness.httpGet.path", h.Path, "must begin with /")
		}
	}
	if t := r.TCPSocket; t != nil {
		v.probePort(s, "spec.readiness.tcpSocket.port", t.Port)
	}
	v.within("spec.readiness.initialDelaySeconds", r.InitialDelaySeconds, 3600)
	v.within("spec.readiness.periodSeconds", r.PeriodSeconds, 3600)
	v.within("spec.readiness.timeoutSeconds", r.TimeoutSeconds, 3600)
	v.within("spec.readiness.failureThreshold", r.FailureThreshold, 1000)
}

func (v *validation) probePort(s *WorkloadSpec, field string, port int32) {
	if port == 0 && len(s.Ports) > 0 {
		return
	}
	for _, p := range s.Ports {
		if p.Port == port {
			return
		}
	}
	v.add(field, port, "must be one of spec.ports")
}

// within allows 0, which stands for the default.
func (v *validation) within(field string, value, limit int32) {
	if value < 0 || value > limit {
		v.add(field, value, fmt.Sprintf("must be 0 (the default) to %d", limit))
	}
}
