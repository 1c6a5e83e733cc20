package source

import (
	"k8s.io/apimachinery/pkg/api/resource"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceProfile is Linkerd's kind.
const ServiceProfile Kind = "ServiceProfile"

// LinkerdServiceProfile is an object of linkerd.io/v1alpha2. Its name is the
// host of the service that it is about: bb.demo.svc.cluster.local.
type LinkerdServiceProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ServiceProfileSpec `json:"spec"`
}

// ServiceProfileSpec is what a ServiceProfile says.
type ServiceProfileSpec struct {
	// Routes divide the requests; the first whose condition holds counts.
	Routes      []ProfileRoute `json:"routes,omitempty"`
	RetryBudget *ProfileBudget `json:"retryBudget,omitempty"`
	// DstOverrides send requests elsewhere, by weight.
	DstOverrides []ProfileDestination `json:"dstOverrides,omitempty"`
	// OpaquePorts are not read; the annotation of that name is.
	OpaquePorts []any `json:"opaquePorts,omitempty"`
}

// ProfileRoute is one class of requests.
type ProfileRoute struct {
	Name            string            `json:"name,omitempty"`
	Condition       *ProfileCondition `json:"condition,omitempty"`
	ResponseClasses []ProfileClass    `json:"responseClasses,omitempty"`
	IsRetryable     bool              `json:"isRetryable,omitempty"`
	// Timeout of the whole exchange, as Go writes durations; empty: none.
	Timeout string `json:"timeout,omitempty"`
}

// ProfileCondition holds when all of its parts do.
type ProfileCondition struct {
	All []ProfileCondition `json:"all,omitempty"`
	Any []ProfileCondition `json:"any,omitempty"`
	Not *ProfileCondition  `json:"not,omitempty"`
	// PathRegex is a regular expression of the path.
	PathRegex string `json:"pathRegex,omitempty"`
	Method    string `json:"method,omitempty"`
}

// ProfileClass says of answers whether they are failures. The first whose
// condition holds counts.
type ProfileClass struct {
	Condition *ProfileAnswer `json:"condition,omitempty"`
	IsFailure bool           `json:"isFailure,omitempty"`
}

// ProfileAnswer is a condition of answers. It holds when all of its parts do.
type ProfileAnswer struct {
	All    []ProfileAnswer `json:"all,omitempty"`
	Any    []ProfileAnswer `json:"any,omitempty"`
	Not    *ProfileAnswer  `json:"not,omitempty"`
	Status *ProfileRange   `json:"status,omitempty"`
}

// ProfileRange is of HTTP statuses, both ends included; a missing one is the
// other.
type ProfileRange struct {
	Min uint32 `json:"min,omitempty"`
	Max uint32 `json:"max,omitempty"`
}

// ProfileBudget bounds retries.
type ProfileBudget struct {
	// RetryRatio of retries to requests, from 0.
	RetryRatio          *float64 `json:"retryRatio,omitempty"`
	MinRetriesPerSecond *uint32  `json:"minRetriesPerSecond,omitempty"`
	// TTL is how long requests count, 1s to 60s, as Go writes durations.
	TTL string `json:"ttl,omitempty"`
}

// ProfileDestination is a host, with or without a port, and its weight.
type ProfileDestination struct {
	Authority string             `json:"authority,omitempty"`
	Weight    *resource.Quantity `json:"weight,omitempty"`
}
