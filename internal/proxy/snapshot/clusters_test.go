package snapshot

import (
	"net"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// options are typed_extension_protocol_options as JSON, around what is given.
func options(inner string) string {
	return `"typedExtensionProtocolOptions": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
		"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", ` + inner + `}}`
}

// resource is how the client hands a message over.
func resource(m proto.Message) xds.Resource { return xds.Resource{Name: "c", Message: m} }

// clusterOf is a cluster with some JSON fields.
func clusterOf(t *testing.T, fields string) *clusterv3.Cluster {
	t.Helper()
	return read(t, new(clusterv3.Cluster), `{"name": "c", "type": "EDS", "edsClusterConfig": {"edsConfig": {"ads": {}}}, `+fields+`}`)
}

// Each field changes this, and nothing else, of a cluster without it.
func TestClusterFields(t *testing.T) {
	explicit := `"explicitHttpConfig": {"httpProtocolOptions": {}}`
	thresholds := func(s string) string {
		return `"circuitBreakers": {"thresholds": [{"priority": "HIGH", "maxRequests": 1}, {` + s + `}]}`
	}
	envoy := breaker.EnvoyLimits()
	for name, tt := range map[string]struct {
		fields string
		want   func(*upstream.Config)
	}{
		"nothing":         {`"altStatName": "x"`, func(*upstream.Config) {}},
		"connect timeout": {`"connectTimeout": "0.25s"`, func(c *upstream.Config) { c.ConnectTimeout = 250 * time.Millisecond }},
		"least request": {
			`"lbPolicy": "LEAST_REQUEST", "leastRequestLbConfig": {"choiceCount": 5, "activeRequestBias": {"defaultValue": 1, "runtimeKey": "k"}}`,
			func(c *upstream.Config) { c.LB, c.Choices = balance.LeastRequest, 5 },
		},
		"random": {`"lbPolicy": "RANDOM"`, func(c *upstream.Config) { c.LB = balance.Random }},
		"ring hash": {
			`"lbPolicy": "RING_HASH", "ringHashLbConfig": {"minimumRingSize": "2048", "maximumRingSize": "4096"}`,
			func(c *upstream.Config) { c.LB, c.MinRing, c.MaxRing = balance.RingHash, 2048, 4096 },
		},
		"maglev": {
			`"lbPolicy": "MAGLEV", "maglevLbConfig": {"tableSize": "251"}`,
			func(c *upstream.Config) { c.LB, c.TableSize = balance.Maglev, 251 },
		},
		"our name, Envoy's sizes": {
			`"lbPolicy": "RING_HASH", "ringHashLbConfig": {"minimumRingSize": "9"}, "metadata": {"filterMetadata": {"recloser.service": {"balancer": "ring-hash"}}}`,
			func(c *upstream.Config) { c.LB, c.MinRing = balance.RingHash, 9 },
		},
		"slow start": {
			`"roundRobinLbConfig": {"slowStartConfig": {"slowStartWindow": "60s", "aggression": {"defaultValue": 2, "runtimeKey": "k"}, "minWeightPercent": {"value": 20}}}`,
			func(c *upstream.Config) {
				c.Breaker.SlowStart, c.Breaker.Ramp = time.Minute, breaker.Ramp{Aggression: 2, MinWeight: new(0.2), Added: true}
			},
		},
		"slow start beside our breaker": {
			`"lbPolicy": "LEAST_REQUEST", "leastRequestLbConfig": {"slowStartConfig": {"slowStartWindow": "5s"}},
			 "metadata": {"typedFilterMetadata": {"recloser.breaker": {"@type": "type.googleapis.com/recloser.breaker.v1.Breaker"}}}`,
			func(c *upstream.Config) {
				c.LB = balance.LeastRequest
				c.Breaker.Recovery = breaker.LinkerdConsecutive().Recovery
				c.Breaker.SlowStart, c.Breaker.Ramp = 5*time.Second, breaker.Ramp{Added: true}
			},
		},
		"locality weights": {`"commonLbConfig": {"localityWeightedLbConfig": {}, "healthyPanicThreshold": {"value": 0}}`, func(c *upstream.Config) { c.LocalityWeighted = true }},
		"limits": {thresholds(`"maxConnections": 1, "maxPendingRequests": 2, "maxRequests": 3, "maxRetries": 4`), func(c *upstream.Config) {
			c.Limits = breaker.LimitsConfig{MaxConnections: 1, MaxPending: 2, MaxRequests: 3, MaxRetries: 4}
		}},
		"limits of zero":   {thresholds(`"maxRequests": 0`), func(c *upstream.Config) { c.Limits = envoy; c.Limits.MaxRequests = 0 }},
		"limits left open": {thresholds(``), func(c *upstream.Config) { c.Limits = envoy }},
		"retry budget": {thresholds(`"retryBudget": {"budgetPercent": {"value": 25}, "minRetryConcurrency": 10, "budgetInterval": "10s"}`), func(c *upstream.Config) {
			c.Limits = envoy
			c.Limits.RetryBudget = &breaker.RetryConcurrency{Percent: 25, MinConcurrency: 10, Interval: 10 * time.Second}
		}},
		"retry budget by time": {
			thresholds(`"retryBudget": {"budgetPercent": {"value": 25}}`) +
				`, "metadata": {"typedFilterMetadata": {"recloser.breaker": {"@type": "type.googleapis.com/recloser.breaker.v1.Breaker", "retryBudget": {"ratio": 0.2, "minPerSecond": 3}}}}`,
			func(c *upstream.Config) {
				c.Limits = envoy
				c.RetryBudget = &breaker.RetryBudgetConfig{Ratio: 0.2, MinPerSecond: 3, TTL: 10 * time.Second}
				c.Breaker.Recovery = breaker.LinkerdConsecutive().Recovery
			},
		},
		"retry budget left open": {thresholds(`"retryBudget": {}`), func(c *upstream.Config) {
			c.Limits = envoy
			c.Limits.RetryBudget = &breaker.RetryConcurrency{Percent: 20, MinConcurrency: 3}
		}},
		"requests of a connection": {options(explicit + `, "commonHttpProtocolOptions": {"maxRequestsPerConnection": 1}`), func(c *upstream.Config) { c.Limits.MaxRequestsPerConnection = 1 }},
		"the old field for it":     {`"maxRequestsPerConnection": 7`, func(c *upstream.Config) { c.Limits.MaxRequestsPerConnection = 7 }},
		"times of a connection": {options(explicit + `, "commonHttpProtocolOptions": {"idleTimeout": "30s", "maxConnectionDuration": "600s"}`), func(c *upstream.Config) {
			c.IdleTimeout, c.MaxConnectionDuration = 30*time.Second, 10*time.Minute
		}},
		"no idle timeout": {options(explicit + `, "commonHttpProtocolOptions": {"idleTimeout": "0s"}`), func(c *upstream.Config) { c.IdleTimeout = upstream.NoTimeout }},
		"HTTP/2": {options(`"explicitHttpConfig": {"http2ProtocolOptions": {"maxConcurrentStreams": 50, "connectionKeepalive": {"interval": "30s", "timeout": "5s"}}}`), func(c *upstream.Config) {
			c.Protocol = upstream.HTTP2
			c.HTTP2.MaxStreams, c.HTTP2.KeepAlive, c.HTTP2.KeepAliveTimeout = 50, 30*time.Second, 5*time.Second
		}},
		"as the caller": {options(`"useDownstreamProtocolConfig": {}`), func(c *upstream.Config) { c.Protocol = upstream.AsCaller }},
		"TCP keep-alive": {`"upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveProbes": 3, "keepaliveTime": 60, "keepaliveInterval": 10}}`, func(c *upstream.Config) {
			c.KeepAlive = net.KeepAliveConfig{Enable: true, Count: 3, Idle: time.Minute, Interval: 10 * time.Second}
		}},
		"TCP keep-alive of the system": {`"upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveTime": 0}}`, func(c *upstream.Config) {
			c.KeepAlive = net.KeepAliveConfig{Enable: true, Count: -1, Idle: -1, Interval: -1}
		}},
		"bytes": {`"metadata": {"filterMetadata": {"recloser.service": {"balancer": "round-robin", "tcp_idle_timeout": "0s", "tcp_max_connection_duration": "1h0m0s"}}}`, func(c *upstream.Config) {
			c.TCPIdleTimeout, c.TCPMaxDuration = upstream.NoTimeout, time.Hour
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := upstream.Config{
				Name: "c", LB: balance.RoundRobin, Protocol: upstream.HTTP1, ConnectTimeout: 5 * time.Second, Limits: breaker.UnlimitedLimits(),
				FailFast: upstream.DefaultFailFast, MaxWaiting: upstream.DefaultMaxWaiting,
			}
			want.Service.Name = "c"
			tt.want(&want)
			got := compiled(t, clusterOf(t, tt.fields)).cfg
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b upstream.Dialer) bool { return a == nil && b == nil }), cmp.FilterPath(func(p cmp.Path) bool {
				return strings.HasPrefix(p.Last().String(), ".On") || p.Last().String() == ".Clock"
			}, cmp.Ignore())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Outlier detection is Envoy's, each field of it.
func TestOutlierFields(t *testing.T) {
	for name, tt := range map[string]struct {
		fields string
		want   func(*breaker.Config)
	}{
		"no defaults but Envoy's": {``, func(*breaker.Config) {}},
		"what Istio writes": {
			`"consecutive5xx": 7, "enforcingConsecutive5xx": 100, "consecutiveGatewayFailure": 3, "enforcingConsecutiveGatewayFailure": 100,
			 "interval": "5s", "baseEjectionTime": "15s", "maxEjectionPercent": 50, "enforcingSuccessRate": 0`,
			func(c *breaker.Config) {
				c.Detectors.Consecutive = &breaker.Consecutive{Failures: 7}
				c.Detectors.ConsecutiveGateway = &breaker.Consecutive{Failures: 3}
				c.Detectors.SuccessRateOutlier.Enforcing = new(uint32(0))
				c.SweepInterval, c.Recovery.Min = 5*time.Second, 15*time.Second
				c.Guards.MaxEjectionPercent = new(uint32(50))
			},
		},
		"times": {`"maxEjectionTime": "40s", "maxEjectionTimeJitter": "3s"`, func(c *breaker.Config) {
			c.Recovery.Max, c.Recovery.MaxJitter = 40*time.Second, 3*time.Second
		}},
		"a base above the usual maximum": {`"baseEjectionTime": "600s"`, func(c *breaker.Config) { c.Recovery.Min, c.Recovery.Max = 600*time.Second, 600*time.Second }},
		"one host":                       {`"alwaysEjectOneHost": true`, func(c *breaker.Config) { c.Guards.AlwaysEjectOne = true }},
		"rates": {`"successRateStdevFactor": 1000, "successRateMinimumHosts": 3, "successRateRequestVolume": 9, "enforcingSuccessRate": 50,
			"failurePercentageThreshold": 60, "failurePercentageMinimumHosts": 2, "failurePercentageRequestVolume": 8, "enforcingFailurePercentage": 100`, func(c *breaker.Config) {
			c.Detectors.SuccessRateOutlier = &breaker.SuccessRateOutlier{Factor: 1, MinHosts: 3, RequestVolume: 9, Enforcing: new(uint32(50))}
			c.Detectors.FailurePercentage = &breaker.FailurePercentage{Threshold: 60, MinHosts: 2, RequestVolume: 8}
		}},
		"split": {`"splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailure": 4, "enforcingLocalOriginSuccessRate": 0`, func(c *breaker.Config) {
			c.Classification.SplitLocalOrigin = true
			c.Detectors.ConsecutiveLocalOrigin = &breaker.Consecutive{Failures: 4}
			c.Detectors.LocalSuccessRateOutlier = &breaker.SuccessRateOutlier{Factor: 1.9, MinHosts: 5, RequestVolume: 100, Enforcing: new(uint32(0))}
			c.Detectors.LocalFailurePercentage = &breaker.FailurePercentage{Threshold: 85, MinHosts: 5, RequestVolume: 50, Enforcing: new(uint32(0))}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := breaker.EnvoyOutlier()
			tt.want(&want)
			spec := compiled(t, clusterOf(t, `"outlierDetection": {`+tt.fields+`}`))
			full := cmp.Transformer("full", func(e *uint32) uint32 {
				if e == nil {
					return 100
				}
				return *e
			})
			if diff := cmp.Diff(want, spec.cfg.Breaker, full); diff != "" {
				t.Error(diff)
			}
			if spec.cfg.FailFast != 0 {
				t.Errorf("fail-fast %v: Envoy refuses at once", spec.cfg.FailFast)
			}
		})
	}
}

// An error matcher says which statuses are failures.
func TestErrorMatcher(t *testing.T) {
	status := func(s string) string {
		return `{"httpResponseHeadersMatch": {"headers": [{"name": ":status", ` + s + `}]}}`
	}
	matcher := func(m string) string {
		return `"outlierDetection": {}, ` + options(`"explicitHttpConfig": {"httpProtocolOptions": {}}, "outlierDetection": {"errorMatcher": `+m+`}`)
	}
	for _, tt := range []struct {
		m    string
		want []breaker.StatusRange
	}{
		{status(`"stringMatch": {"exact": "429"}`), []breaker.StatusRange{{First: 429, Last: 429}}},
		{status(`"rangeMatch": {"start": "500", "end": "504"}`), []breaker.StatusRange{{First: 500, Last: 503}}},
		{`{"anyMatch": true}`, []breaker.StatusRange{{First: 100, Last: 599}}},
		{
			`{"orMatch": {"rules": [` + status(`"stringMatch": {"exact": "408"}`) + `, ` + status(`"rangeMatch": {"start": "502", "end": "505"}`) + `]}}`,
			[]breaker.StatusRange{{First: 408, Last: 408}, {First: 502, Last: 504}},
		},
	} {
		if got := compiled(t, clusterOf(t, matcher(tt.m))).cfg.Breaker.Classification.Failures; !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.m, got, tt.want)
		}
	}
	for _, m := range []string{
		status(`"stringMatch": {"prefix": "5"}`), status(`"rangeMatch": {"start": "500", "end": "700"}`),
		status(`"stringMatch": {"exact": "500"}, "invertMatch": true`), `{"notMatch": {"anyMatch": true}}`,
	} {
		if _, err := compileCluster(resource(clusterOf(t, matcher(m)))); err == nil || !strings.Contains(err.Error(), "error_matcher: only :status") {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// What cannot be done is refused by name.
func TestClusterRefusesByName(t *testing.T) {
	for want, fields := range map[string]string{
		"health_checks: is not supported":                             `"healthChecks": [{}]`,
		"filters: is not supported":                                   `"filters": [{"name": "x"}]`,
		"upstream_bind_config: is not supported":                      `"upstreamBindConfig": {}`,
		"connection_pool_per_downstream_connection: is not supported": `"connectionPoolPerDownstreamConnection": true`,
		"load_balancing_policy: is not supported":                     `"loadBalancingPolicy": {}`,
		"http2_protocol_options: is not supported":                    `"http2ProtocolOptions": {}`,
		"lb_policy CLUSTER_PROVIDED: ROUND_ROBIN, LEAST_REQUEST":      `"lbPolicy": "CLUSTER_PROVIDED"`,
		"ring_hash_lb_config.hash_function MURMUR_HASH_2":             `"ringHashLbConfig": {"hashFunction": "MURMUR_HASH_2"}`,
		"ring sizes 9 to 3":                                           `"ringHashLbConfig": {"minimumRingSize": "9", "maximumRingSize": "3"}`,
		"table size 4":                                                `"maglevLbConfig": {"tableSize": "4"}`,
		"least_request_lb_config.choice_count 1: must be from 2":      `"leastRequestLbConfig": {"choiceCount": 1}`,
		"active_request_bias 2: 1 is supported":                       `"leastRequestLbConfig": {"activeRequestBias": {"defaultValue": 2}}`,
		"slow_start_config.aggression 0":                              `"roundRobinLbConfig": {"slowStartConfig": {"slowStartWindow": "1s", "aggression": {"defaultValue": 0}}}`,
		"slow_start_config.min_weight_percent 101":                    `"roundRobinLbConfig": {"slowStartConfig": {"slowStartWindow": "1s", "minWeightPercent": {"value": 101}}}`,
		"common_lb_config.zone_aware_lb_config: is not supported":     `"commonLbConfig": {"zoneAwareLbConfig": {}}`,
		"consistent_hashing_lb_config.hash_balance_factor":            `"commonLbConfig": {"consistentHashingLbConfig": {"hashBalanceFactor": 120}}`,
		"circuit_breakers.per_host_thresholds: is not supported":      `"circuitBreakers": {"perHostThresholds": [{}]}`,
		"circuit_breakers.thresholds.max_connection_pools":            `"circuitBreakers": {"thresholds": [{"maxConnectionPools": 1}]}`,
		"outlier_detection.detect_degraded_hosts: is not supported":   `"outlierDetection": {"detectDegradedHosts": true}`,
		"Guards.MaxEjectionPercent: 101":                              `"outlierDetection": {"maxEjectionPercent": 101}`,
		"tcp_keepalive.keepalive_probes 40000: must be at most":       `"upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveProbes": 40000}}`,
		`recloser.service.tcp_idle_timeout "soon"`:                    `"metadata": {"filterMetadata": {"recloser.service": {"tcp_idle_timeout": "soon"}}}`,
		"common_http_protocol_options.max_stream_duration":            options(`"explicitHttpConfig": {"httpProtocolOptions": {}}, "commonHttpProtocolOptions": {"maxStreamDuration": "1s"}`),
		"typed_extension_protocol_options: http_filters":              options(`"explicitHttpConfig": {"httpProtocolOptions": {}}, "httpFilters": [{"name": "x"}]`),
		"max_connection_duration -1s: must not be negative":           options(`"explicitHttpConfig": {"httpProtocolOptions": {}}, "commonHttpProtocolOptions": {"maxConnectionDuration": "-1s"}`),
		"connect_timeout -1s: must not be negative":                   `"connectTimeout": "-1s"`,
	} {
		if _, err := compileCluster(resource(clusterOf(t, fields))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nis refused with %v\nwant %q", fields, err, want)
		}
	}
}

// Endpoints with their places, weights and keys.
func TestAssignment(t *testing.T) {
	m := read(t, new(endpointv3.ClusterLoadAssignment), `{"clusterName": "c", "policy": {"overprovisioningFactor": 200}, "endpoints": [
		{"priority": 1, "locality": {"region": "r2", "zone": "z"}, "loadBalancingWeight": 10, "lbEndpoints": [
			{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}}},
			{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.2", "portValue": 80}}}, "loadBalancingWeight": 7,
			 "metadata": {"filterMetadata": {"envoy.lb": {"hash_key": "two"}}}}]},
		{"locality": {"region": "r1", "zone": "z", "subZone": "s"}, "loadBalancingWeight": 90, "lbEndpoints": [
			{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}}}]}]}`)
	list, err := compileEndpoints(resource(m))
	if err != nil {
		t.Fatal(err)
	}
	near := upstream.Place{Locality: upstream.Locality{Region: "r1", Zone: "z", SubZone: "s"}, LocalityWeight: 90}
	far := upstream.Place{Priority: 1, Locality: upstream.Locality{Region: "r2", Zone: "z"}, LocalityWeight: 10}
	want := []upstream.EndpointConfig{{Address: "10.0.0.1:80", Place: near}, {Address: "10.0.0.2:80", Weight: 7, HashKey: "two", Place: far}}
	if diff := cmp.Diff(want, list.endpoints); diff != "" {
		t.Error(diff)
	}
	if list.overprovision != 200 {
		t.Errorf("overprovisioning factor %d", list.overprovision)
	}
	for want, fields := range map[string]string{
		"policy.overprovisioning_factor 99":         `"policy": {"overprovisioningFactor": 99}`,
		"policy.drop_overloads: is not supported":   `"policy": {"dropOverloads": [{"category": "x"}]}`,
		"policy.weighted_priority_health":           `"policy": {"weightedPriorityHealth": true}`,
		"endpoints[0].priority 129":                 `"endpoints": [{"priority": 129}]`,
		"endpoints[0].leds_cluster_locality_config": `"endpoints": [{"ledsClusterLocalityConfig": {}}]`,
		"named_endpoints: is not supported":         `"namedEndpoints": {"x": {}}`,
	} {
		m := read(t, new(endpointv3.ClusterLoadAssignment), `{"clusterName": "c", `+fields+`}`)
		if _, err := compileEndpoints(resource(m)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

// A cluster's endpoints are asked for under the name that it says, and their
// factor is the cluster's.
func TestServiceName(t *testing.T) {
	r := newRig(t, Config{})
	r.apply(xds.Listener, "inbound|80", inbound(80, "c"))
	c := eds("c")
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{ServiceName: "c@r/z/s"}
	r.apply(xds.Cluster, "c", c)
	r.asked("ClusterLoadAssignment c@r/z/s")
	if r.wanted.count("ClusterLoadAssignment c") != 0 {
		t.Error("endpoints are asked for under the cluster's name")
	}
	a := assignment("c@r/z/s", "10.0.0.1")
	a.Policy = read(t, new(endpointv3.ClusterLoadAssignment_Policy), `{"overprovisioningFactor": 120}`)
	a.Endpoints[0].Priority = 1
	r.apply(xds.Endpoints, "c@r/z/s", a)
	clusters := r.set.Clusters()
	if len(clusters) != 1 || clusters[0].Config().Overprovision != 120 || len(clusters[0].Endpoints()) != 1 || clusters[0].Endpoints()[0].Place().Priority != 1 {
		t.Fatalf("live: %+v", clusters)
	}
	// Another locality of ours: the old endpoints stay until the new are there.
	next := proto.CloneOf(c)
	next.EdsClusterConfig.ServiceName = "c@r/z/t"
	r.apply(xds.Cluster, "c", next)
	r.asked("ClusterLoadAssignment c@r/z/t")
	if n := len(clusters[0].Endpoints()); n != 1 {
		t.Errorf("%d endpoints before the new ones have come", n)
	}
	r.apply(xds.Endpoints, "c@r/z/t", assignment("c@r/z/t", "10.0.0.2", "10.0.0.3"))
	if n := len(clusters[0].Endpoints()); n != 2 {
		t.Errorf("%d endpoints, want the new two", n)
	}
	if r.wanted.count("ClusterLoadAssignment c@r/z/s") != 0 {
		t.Error("the old endpoints are still subscribed")
	}
}
