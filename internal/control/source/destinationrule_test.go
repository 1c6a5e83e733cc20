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

// TestDestinationRuleRefused has the errors that Istio's users know, and what
// Envoy could not do.
func TestDestinationRuleRefused(t *testing.T) {
	policy := func(s string) string { return "{host: a, trafficPolicy: {" + s + "}}" }
	for spec, want := range map[string]string{
		"{host: a, trafficPolicy: {}}":                                                                     "empty-block spec.trafficPolicy ",
		"{host: a, subsets: [{name: v1, trafficPolicy: {}}]}":                                              "empty-block spec.subsets[0].trafficPolicy ",
		"{host: a, subsets: [{name: v1}, {name: v1}]}":                                                     "duplicate-subset spec.subsets[1].name v1",
		"{host: a, subsets: [{name: V_1}]}":                                                                "bad-name spec.subsets[0].name V_1",
		"{host: a, subsets: [{labels: {a: b}}]}":                                                           "bad-name spec.subsets[0].name ",
		"{host: a, exportTo: [A/B]}":                                                                       "bad-name spec.exportTo[0] A/B",
		policy("connectionPool: {}"):                                                                       "empty-block spec.trafficPolicy.connectionPool ",
		policy("connectionPool: {tcp: {maxConnections: -1}}"):                                              "bad-number spec.trafficPolicy.connectionPool.tcp.maxConnections -1",
		policy("connectionPool: {tcp: {connectTimeout: 0s}}"):                                              "bad-duration spec.trafficPolicy.connectionPool.tcp.connectTimeout 0s",
		policy("connectionPool: {tcp: {idleTimeout: 0s}}"):                                                 "",
		policy("connectionPool: {tcp: {idleTimeout: 0.0001s}}"):                                            "bad-duration spec.trafficPolicy.connectionPool.tcp.idleTimeout 100µs",
		policy("connectionPool: {http: {http2KeepAlive: {interval: -1s}}}"):                                "bad-duration spec.trafficPolicy.connectionPool.http.http2KeepAlive.interval -1s",
		policy("connectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}"):              "contradiction spec.trafficPolicy.connectionPool.http.useClientProtocol true",
		policy("outlierDetection: {}"):                                                                     "",
		policy("outlierDetection: {interval: 0.5ms}"):                                                      "bad-duration spec.trafficPolicy.outlierDetection.interval 500µs",
		policy("outlierDetection: {interval: 0s}"):                                                         "bad-duration spec.trafficPolicy.outlierDetection.interval 0s",
		policy("outlierDetection: {baseEjectionTime: 900000h}"):                                            "bad-duration spec.trafficPolicy.outlierDetection.baseEjectionTime 900000h0m0s",
		policy("outlierDetection: {maxEjectionPercent: 101}"):                                              "bad-percentage spec.trafficPolicy.outlierDetection.maxEjectionPercent 101",
		policy("outlierDetection: {minHealthPercent: -1}"):                                                 "bad-percentage spec.trafficPolicy.outlierDetection.minHealthPercent -1",
		policy("outlierDetection: {consecutiveLocalOriginFailures: 5}"):                                    "missing-field spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures 5",
		policy("outlierDetection: {outlierDetectionHttpErrorCodes: [500, 600]}"):                           "bad-status spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[1] 600",
		policy("loadBalancer: {consistentHash: {}}"):                                                       "missing-field spec.trafficPolicy.loadBalancer.consistentHash ",
		policy("loadBalancer: {consistentHash: {httpHeaderName: 'a b'}}"):                                  "bad-header spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName a b",
		policy("loadBalancer: {consistentHash: {httpCookie: {ttl: 1s}}}"):                                  "bad-name spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name ",
		policy("loadBalancer: {consistentHash: {httpQueryParameterName: ''}}"):                             "missing-field spec.trafficPolicy.loadBalancer.consistentHash.httpQueryParameterName ",
		policy("loadBalancer: {consistentHash: {useSourceIp: false}}"):                                     "missing-field spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp false",
		policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}}"):             "bad-number spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize 10",
		policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}}"):        "",
		policy("loadBalancer: {warmup: {}}"):                                                               "missing-field spec.trafficPolicy.loadBalancer.warmup.duration ",
		policy("loadBalancer: {warmup: {duration: 1s, minimumPercent: 101}}"):                              "bad-number spec.trafficPolicy.loadBalancer.warmup.minimumPercent 101",
		policy("loadBalancer: {warmup: {duration: 1s, aggression: 0.5}}"):                                  "bad-number spec.trafficPolicy.loadBalancer.warmup.aggression 0.5",
		policy("loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 99}}]}}"):                "bad-percentage spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to 99",
		policy("loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}"):                        "contradiction spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to a",
		policy("loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [x]}}"): "contradiction spec.trafficPolicy.loadBalancer.localityLbSetting ",
		policy("retryBudget: {percent: 101}"):                                                              "bad-number spec.trafficPolicy.retryBudget.percent 101",
		policy("portLevelSettings: [{connectionPool: {tcp: {maxConnections: 1}}}]"):                        "bad-port spec.trafficPolicy.portLevelSettings[0].port.number 0",
		policy("portLevelSettings: [{port: {number: 80}}]"):                                                "empty-block spec.trafficPolicy.portLevelSettings[0] ",
		policy("portLevelSettings: [{port: {number: 80}, outlierDetection: {maxEjectionPercent: 200}}]"):   "bad-percentage spec.trafficPolicy.portLevelSettings[0].outlierDetection.maxEjectionPercent 200",
	} {
		d := decode(ruleHead + "spec: " + spec + "\n")
		var got []string
		for _, p := range d.Problems {
			got = append(got, p.Code+" "+p.Field+" "+p.Value)
			if p.Line != 4 || p.Severity != source.Error {
				t.Errorf("%s: %+v", spec, p)
			}
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s:\n%s, want\n%s", spec, text, want)
		}
		if (len(d.Objects) == 1) != (want == "") {
			t.Errorf("%s: %d objects", spec, len(d.Objects))
		}
	}
}
