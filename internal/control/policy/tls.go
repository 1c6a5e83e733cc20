package policy

import (
	"slices"
	"strings"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

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

// tlsOf is nil where no rule says anything. The block of the rule with the last
// word counts as a whole, also where rules inherit: half of one and half of
// another would not trust each other.
func tlsOf(ls layers[*networkingv1.ClientTLSSettings], service model.Name) *TLS {
	if len(ls) == 0 {
		return nil
	}
	return readTLS(ls[0].object, ls[0].field, ls[0].said, service)
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
