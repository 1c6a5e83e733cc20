package breaker

import "time"

// LinkerdConsecutive is what balancer.linkerd.io/failure-accrual: consecutive
// means: 7 failures in a row open; probes after 1s to 60s, doubling, with up
// to half added at random; every endpoint may be open.
func LinkerdConsecutive() Config {
	return Config{
		Detectors: Detectors{Consecutive: &Consecutive{Failures: 7}},
		Recovery: Recovery{
			Mode: Probe, Backoff: Exponential,
			Min: time.Second, Max: time.Minute, Jitter: 0.5,
			ProbeTimeout: DefaultProbeTimeout,
		},
		SweepInterval: DefaultSweepInterval,
	}
}

// LinkerdUnified is failure-accrual: unified: LinkerdConsecutive, and a success
// rate below 0.8 in 10s with at least 5 requests, which 429 and
// RESOURCE_EXHAUSTED (8) hurt too.
func LinkerdUnified() Config {
	c := LinkerdConsecutive()
	c.Detectors.SuccessRateWindow = &SuccessRateWindow{Threshold: 0.8, Window: 10 * time.Second, MinRequests: 5}
	c.Classification.RateOnly = []StatusRange{{429, 429}}
	c.Classification.GRPCRateOnly = []uint32{8}
	return c
}

// Linkerd1 is the default of Linkerd 1.x: 5 failures in a row open; probes
// after 5s to 300s with decorrelated jitter.
func Linkerd1() Config {
	return Config{
		Detectors: Detectors{Consecutive: &Consecutive{Failures: 5}},
		Recovery: Recovery{
			Mode: Probe, Backoff: Decorrelated,
			Min: 5 * time.Second, Max: 300 * time.Second,
			ProbeTimeout: DefaultProbeTimeout,
		},
		SweepInterval: DefaultSweepInterval,
	}
}

// EnvoyOutlier is Envoy's outlier_detection with every default: 5 failures in a
// row, or a success rate below mean - 1.9 sigma, eject for 30s x count, at
// most 300s, and at most 10% of the endpoints; gateway failures and failure
// percentage are detected but not enforced; below 50% healthy all are used.
// Envoy's consecutive_local_origin_failure (5) works only with split
// classification, so it is left off here.
func EnvoyOutlier() Config {
	return Config{
		Detectors: Detectors{
			Consecutive:        &Consecutive{Failures: 5},
			ConsecutiveGateway: &Consecutive{Failures: 5, Enforcing: new(uint32(0))},
			SuccessRateOutlier: &SuccessRateOutlier{Factor: 1.9, MinHosts: 5, RequestVolume: 100},
			FailurePercentage:  &FailurePercentage{Threshold: 85, MinHosts: 5, RequestVolume: 50, Enforcing: new(uint32(0))},
		},
		Recovery: Recovery{
			Mode: Timed, Backoff: Linear,
			Min: 30 * time.Second, Max: 300 * time.Second,
		},
		Guards: Guards{MaxEjectionPercent: new(uint32(10)), PanicThreshold: 50},
		// Envoy goes by the HTTP status that it has for a gRPC code.
		Classification: Classification{GRPCFailures: []uint32{2, 4, 12, 13, 14, 15}},
		SweepInterval:  DefaultSweepInterval,
	}
}
