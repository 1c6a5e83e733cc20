package lint

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// checkRule looks at a DestinationRule. What it says beyond TLS is told, field
// by field: it has no effect yet.
func checkRule(w *model.World, o source.Object, add adder) {
	spec := o.Value.(*source.IstioDestinationRule).Spec
	service := checkRuleHost(w, o, spec.GetHost(), add)
	checkShadowed(w, o, service, add)
	if spec.GetWorkloadSelector() != nil {
		add(Error, "not-supported", "spec.workloadSelector", "", "", "rules for some workloads only are not supported yet; the whole rule has no effect", "")
	}
	others(spec, "spec", add, "host", "traffic_policy", "export_to", "workload_selector")
	policy := spec.GetTrafficPolicy()
	others(policy, "spec.trafficPolicy", add, "tls", "port_level_settings")
	checkTLS(policy.GetTls(), "spec.trafficPolicy.tls", add)
	for i, p := range policy.GetPortLevelSettings() {
		at := fmt.Sprintf("spec.trafficPolicy.portLevelSettings[%d]", i)
		others(p, at, add, "port", "tls")
		checkTLS(p.GetTls(), at+".tls", add)
		if n := p.GetPort().GetNumber(); n > 65535 || service != nil && service.Port(uint16(n)) == nil {
			add(Warning, "unknown-port", at+".port.number", fmt.Sprint(n), "", "the service has no such port, so this has no effect", "")
		}
	}
}

// checkRuleHost gives the service that the rule is for, nil if there is none.
func checkRuleHost(w *model.World, o source.Object, host string, add adder) *model.Service {
	const field = "spec.host"
	name, ok := model.RuleHost(host, o.Namespace)
	switch {
	case host == "":
		add(Error, "no-host", field, "", "", "a rule needs the host that it is for", "")
		return nil
	case strings.Contains(host, "*"):
		add(Warning, "not-supported", field, host, "", "hosts with wildcards are not supported yet; the rule has no effect", "")
		return nil
	case !ok:
		mend := ""
		if a, ok := model.ParseAuthority(host, ""); ok && a.Service != (model.Name{}) {
			mend = "write " + a.Service.Host()
		}
		add(Warning, "unknown-host", field, host, "the name of a Service of this namespace, or NAME.NAMESPACE.svc."+model.Domain,
			"no Service has this host, so the rule has no effect", mend)
		return nil
	}
	service := w.Service(name.Namespace, name.Name)
	if service == nil {
		var names []string
		for _, s := range w.Services() {
			if s.Namespace == name.Namespace {
				names = append(names, s.Name.Name)
			}
		}
		mend := ""
		if near := source.Nearest(name.Name, names); near != "" {
			mend = "did you mean " + near + "?"
		}
		add(Warning, "unknown-host", field, host, "", fmt.Sprintf("there is no Service %s in namespace %s, so the rule has no effect", name.Name, name.Namespace), mend)
	}
	return service
}

// checkShadowed tells a rule that another one of its namespace is before.
func checkShadowed(w *model.World, o source.Object, service *model.Service, add adder) {
	if service == nil || o.Value.(*source.IstioDestinationRule).Spec.GetTrafficPolicy() == nil {
		return
	}
	for _, other := range w.RulesOf(service.Name, source.DestinationRule) {
		if other.Key == o.Key {
			return
		}
		spec := other.Value.(*source.IstioDestinationRule).Spec
		if other.Namespace == o.Namespace && spec.GetTrafficPolicy() != nil && spec.GetWorkloadSelector() == nil {
			add(Warning, "shadowed", "spec.trafficPolicy", "", "", other.String()+" is for the same host and comes first, so this has no effect", "write both into one rule")
			return
		}
	}
}

// others tells each field that is set but for these.
func others(m proto.Message, at string, add adder, but ...protoreflect.Name) {
	r := m.ProtoReflect()
	known := map[protoreflect.Name]bool{}
	for _, name := range but {
		known[name] = true
	}
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); r.Has(f) && !known[f.Name()] {
			add(Warning, "not-supported", at+"."+f.JSONName(), "", "", "this field of a DestinationRule is not supported yet; it has no effect", "")
		}
	}
}

func checkTLS(t *networkingv1.ClientTLSSettings, at string, add adder) {
	if t == nil {
		return
	}
	mode := t.GetMode()
	switch mode {
	case networkingv1.ClientTLSSettings_ISTIO_MUTUAL:
		add(Warning, "not-supported", at+".mode", mode.String(), "DISABLE, SIMPLE, MUTUAL", "certificates of the mesh are not supported yet; calls go on as without this", "")
		return
	case networkingv1.ClientTLSSettings_DISABLE:
		return
	}
	if t.GetCredentialName() != "" {
		add(Error, "not-supported", at+".credentialName", t.GetCredentialName(), "", "Secrets are not read yet; without what it names endpoints are not trusted, or do not trust us",
			"name files by caCertificates, clientCertificate and privateKey")
	}
	if t.GetCaCrl() != "" {
		add(Warning, "not-supported", at+".caCrl", t.GetCaCrl(), "", "lists of revoked certificates are not read yet; revoked ones are taken", "")
	}
	mutual := mode == networkingv1.ClientTLSSettings_MUTUAL
	for _, f := range []struct{ name, value string }{{"clientCertificate", t.GetClientCertificate()}, {"privateKey", t.GetPrivateKey()}} {
		switch {
		case mutual && f.value == "" && t.GetCredentialName() == "":
			add(Error, "missing-field", at+"."+f.name, "", "the path of a file", "mode MUTUAL needs it; endpoints that ask for a certificate get none", "")
		case !mutual && f.value != "":
			add(Warning, "no-effect", at+"."+f.name, f.value, "", "this has an effect in mode MUTUAL only", "write mode: MUTUAL")
		}
	}
	for i, name := range t.GetSubjectAltNames() {
		if name == "" {
			add(Error, "bad-name", fmt.Sprintf("%s.subjectAltNames[%d]", at, i), "", "a name", "an empty name is in no certificate", "")
		}
	}
	if t.GetInsecureSkipVerify().GetValue() {
		reason := "the certificates of endpoints are not verified"
		if t.GetCaCertificates() != "" || len(t.GetSubjectAltNames()) > 0 {
			reason += ", so caCertificates and subjectAltNames have no effect"
		}
		add(Warning, "insecure", at+".insecureSkipVerify", "true", "", reason, "")
	}
}
