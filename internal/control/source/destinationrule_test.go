package source_test

import (
	"strings"
	"testing"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

const ruleHead = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\n"

func TestDestinationRule(t *testing.T) {
	for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
		d := decode(strings.Replace(ruleHead, "/v1", "/"+version, 1) + `spec:
  host: bb
  traffic_policy:
    tls: {mode: MUTUAL, caCertificates: /ca.pem, subjectAltNames: [a, b], insecureSkipVerify: false}
    portLevelSettings:
    - port: {number: 8443}
      connectionPool: {tcp: {connectTimeout: 0.5s, maxConnections: 7}}
      outlierDetection: {consecutive5xxErrors: 3}
  subsets: [{name: v1, labels: {version: v1}}]
status: {conditions: [{type: x}]}
`)
		if len(d.Problems) != 0 || len(d.Objects) != 1 {
			t.Fatalf("%s: %+v", version, d.Problems)
		}
		o := d.Objects[0]
		if o.Key != (source.Key{Kind: source.DestinationRule, Namespace: "default", Name: "r"}) {
			t.Errorf("key %v", o.Key)
		}
		spec := o.Value.(*source.IstioDestinationRule).Spec
		tls := spec.GetTrafficPolicy().GetTls()
		if spec.GetHost() != "bb" || tls.GetMode() != networkingv1.ClientTLSSettings_MUTUAL || tls.GetCaCertificates() != "/ca.pem" ||
			strings.Join(tls.GetSubjectAltNames(), " ") != "a b" || tls.GetInsecureSkipVerify() == nil || tls.GetInsecureSkipVerify().GetValue() {
			t.Errorf("%+v", spec)
		}
		port := spec.GetTrafficPolicy().GetPortLevelSettings()[0]
		if port.GetPort().GetNumber() != 8443 || port.GetConnectionPool().GetTcp().GetConnectTimeout().AsDuration().String() != "500ms" ||
			port.GetOutlierDetection().GetConsecutive_5XxErrors().GetValue() != 3 {
			t.Errorf("%+v", port)
		}
		if spec.GetSubsets()[0].GetLabels()["version"] != "v1" {
			t.Errorf("%+v", spec.GetSubsets())
		}
		if line := o.Origin.LineOf("spec.traffic_policy.portLevelSettings[0].port.number"); line != 9 {
			t.Errorf("line %d", line)
		}
	}
}

// TestDestinationRuleProblems: Istio's own reader passes over what it does not
// know, and says little of what it cannot read.
func TestDestinationRuleProblems(t *testing.T) {
	for name, c := range map[string]struct {
		spec, code, field, value, mend string
		good                           bool
	}{
		"unknown field":    {spec: "{host: a, trafficPolcy: {}}", code: "unknown-field", field: "spec.trafficPolcy", mend: "did you mean trafficPolicy?", good: true},
		"unknown, deeper":  {spec: "{host: a, trafficPolicy: {tls: {Mode: SIMPLE}}}", code: "unknown-field", field: "spec.trafficPolicy.tls.Mode", mend: "did you mean mode?", good: true},
		"unknown value":    {spec: "{host: a, trafficPolicy: {tls: {mode: simple}}}", code: "wrong-value", field: "spec.trafficPolicy.tls.mode", value: "simple", mend: "did you mean SIMPLE?"},
		"number for text":  {spec: "{host: 7}", code: "wrong-type", field: "spec.host", value: "7", mend: `put it in quotes: "7"`},
		"text for number":  {spec: "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: http}}]}}", code: "wrong-type", field: "spec.trafficPolicy.portLevelSettings[0].port.number", value: "http"},
		"negative":         {spec: "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: -1}}]}}", code: "wrong-type", field: "spec.trafficPolicy.portLevelSettings[0].port.number", value: "-1"},
		"duration":         {spec: "{host: a, trafficPolicy: {outlierDetection: {interval: 5}}}", code: "wrong-type", field: "spec.trafficPolicy.outlierDetection.interval", value: "5"},
		"text for truth":   {spec: "{host: a, trafficPolicy: {tls: {insecureSkipVerify: maybe}}}", code: "wrong-type", field: "spec.trafficPolicy.tls.insecureSkipVerify", value: "maybe"},
		"object for list":  {spec: "{host: a, subsets: {}}", code: "wrong-type", field: "spec.subsets", value: "{…}"},
		"list for map":     {spec: "{host: a, subsets: [{labels: []}]}", code: "wrong-type", field: "spec.subsets[0].labels", value: "[…]"},
		"text for message": {spec: "{host: a, trafficPolicy: x}", code: "wrong-type", field: "spec.trafficPolicy", value: "x"},
	} {
		d := decode(ruleHead + "spec: " + c.spec + "\n")
		if len(d.Problems) != 1 {
			t.Errorf("%s: %+v", name, d.Problems)
			continue
		}
		if p := d.Problems[0]; p.Code != c.code || p.Field != c.field || p.Value != c.value || p.Mend != c.mend || p.Line != 4 {
			t.Errorf("%s: %+v", name, p)
		}
		if (len(d.Objects) == 1) != c.good {
			t.Errorf("%s: %d objects", name, len(d.Objects))
		}
	}
}
