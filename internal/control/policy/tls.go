package policy

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// RootNamespace holds the DestinationRules that are for the whole mesh, as
// Istio's default has it.
const RootNamespace = "istio-system"

// TLSMode is Istio's ClientTLSSettings.TLSmode.
type TLSMode string

// Modes. IstioMutual is not supported yet: calls stay as they are without it.
const (
	TLSDisable     TLSMode = "DISABLE"
	TLSSimple      TLSMode = "SIMPLE"
	TLSMutual      TLSMode = "MUTUAL"
	TLSIstioMutual TLSMode = "ISTIO_MUTUAL"
)

// TLS is how endpoints are spoken to. All but Mode is set in modes SIMPLE and
// MUTUAL only.
type TLS struct {
	Mode Value[TLSMode] `json:"mode"`
	// SNI is the name that is sent.
	SNI Value[string] `json:"sni,omitzero"`
	// CACertificates is a file; empty: the system's authorities.
	CACertificates Value[string] `json:"caCertificates,omitzero"`
	// SubjectAltNames: one of them must be in the endpoint's certificate.
	SubjectAltNames Value[[]string] `json:"subjectAltNames,omitzero"`
	// Insecure: the endpoint's certificate is not looked at.
	Insecure Value[bool] `json:"insecureSkipVerify,omitzero"`
	// ClientCertificate and PrivateKey are files; in mode MUTUAL.
	ClientCertificate Value[string] `json:"clientCertificate,omitzero"`
	PrivateKey        Value[string] `json:"privateKey,omitzero"`
}

// On tells whether there is any TLS.
func (t *TLS) On() bool {
	return t != nil && (t.Mode.Value == TLSSimple || t.Mode.Value == TLSMutual)
}

// Governing is the DestinationRule whose traffic policy holds for calls from a
// namespace to a service. Istio looks in three namespaces, and the first with a
// rule decides: the client's, the service's, and the root namespace; in the
// latter two only among those that are exported to the client. Of several in
// one namespace the first with a traffic policy counts. Rules that are for some
// workloads only are not looked at.
func Governing(w *model.World, client string, service model.Name) (source.Object, bool) {
	all := w.RulesOf(service, source.DestinationRule)
	for _, namespace := range []string{client, service.Namespace, RootNamespace} {
		matched := false
		for _, o := range all {
			spec := o.Value.(*source.IstioDestinationRule).Spec
			if name, ok := model.RuleHost(spec.GetHost(), o.Namespace); !ok || name != service {
				continue // its host is a pattern
			}
			if o.Namespace != namespace || !exported(spec.GetExportTo(), namespace, client) || spec.GetWorkloadSelector() != nil {
				continue
			}
			matched = true
			if spec.GetTrafficPolicy() != nil {
				return o, true
			}
		}
		if matched {
			break
		}
	}
	return source.Object{}, false
}

func exported(to []string, from, client string) bool {
	return from == client || len(to) == 0 || slices.Contains(to, "*") || slices.Contains(to, client)
}

// tls is what holds for one port, nil where no rule says anything.
func (t *Table) tls(client string, service model.Name, port uint16) *TLS {
	o, ok := Governing(t.world, client, service)
	if !ok {
		return nil
	}
	policy := o.Value.(*source.IstioDestinationRule).Spec.GetTrafficPolicy()
	said, field := policy.GetTls(), "spec.trafficPolicy.tls"
	for i, p := range policy.GetPortLevelSettings() {
		if p.GetPort().GetNumber() == uint32(port) {
			// All blocks of a port's policy take the place of the host's, also
			// those that it leaves out.
			said, field = p.GetTls(), fmt.Sprintf("spec.trafficPolicy.portLevelSettings[%d].tls", i)
			break
		}
	}
	if said == nil {
		return nil
	}
	return readTLS(o, field, said, service)
}

func readTLS(o source.Object, field string, said *networkingv1.ClientTLSSettings, service model.Name) *TLS {
	at := func(name string) Origin { return origin.Of(o, field+"."+name) }
	t := &TLS{Mode: Value[TLSMode]{Value: TLSMode(said.GetMode().String()), Origin: at("mode")}}
	if !t.On() {
		return t
	}
	t.SNI = Value[string]{Value: service.Host(), Origin: Origin{Default: "Recloser: the service's host"}}
	if said.GetSni() != "" {
		t.SNI = Value[string]{Value: said.GetSni(), Origin: at("sni")}
	}
	t.CACertificates = Value[string]{Value: "", Origin: Origin{Default: "Istio: the system's"}}
	if said.GetCaCertificates() != "" {
		t.CACertificates = Value[string]{Value: said.GetCaCertificates(), Origin: at("caCertificates")}
	}
	t.SubjectAltNames = Value[[]string]{Value: []string{t.SNI.Value}, Origin: Origin{Default: "Istio: the name that is sent"}}
	names := slices.DeleteFunc(slices.Clone(said.GetSubjectAltNames()), func(name string) bool { return name == "" })
	if len(names) > 0 {
		t.SubjectAltNames = Value[[]string]{Value: names, Origin: at("subjectAltNames")}
	}
	t.Insecure = Value[bool]{Value: false, Origin: Origin{Default: "Istio"}}
	if v := said.GetInsecureSkipVerify(); v != nil {
		t.Insecure = Value[bool]{Value: v.GetValue(), Origin: at("insecureSkipVerify")}
	}
	if t.Mode.Value == TLSMutual {
		t.ClientCertificate = Value[string]{Value: said.GetClientCertificate(), Origin: at("clientCertificate")}
		t.PrivateKey = Value[string]{Value: said.GetPrivateKey(), Origin: at("privateKey")}
	}
	return t
}

// leaves are the settings as people read them, none where nobody said anything.
func (t *TLS) leaves() []Leaf {
	if t == nil {
		return nil
	}
	same := func(s string) string { return s }
	out := []Leaf{leaf("tls.mode", t.Mode, func(m TLSMode) string {
		if m == TLSIstioMutual {
			return string(m) + " (not supported yet: as without it)"
		}
		return string(m)
	})}
	if !t.On() {
		return out
	}
	out = append(out, leaf("tls.sni", t.SNI, same))
	if t.Insecure.Value {
		return append(out, leaf("tls.insecureSkipVerify", t.Insecure, func(bool) string { return "true (nothing is verified)" }))
	}
	out = append(out,
		leaf("tls.caCertificates", t.CACertificates, func(s string) string {
			if s == "" {
				return "the system's"
			}
			return s
		}),
		leaf("tls.subjectAltNames", t.SubjectAltNames, func(s []string) string { return strings.Join(s, ", ") }),
	)
	if t.Mode.Value == TLSMutual {
		out = append(out, leaf("tls.clientCertificate", t.ClientCertificate, same), leaf("tls.privateKey", t.PrivateKey, same))
	}
	return out
}
