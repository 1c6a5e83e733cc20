package lint

import (
	"fmt"

	networkingv1 "istio.io/api/networking/v1"
)

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
