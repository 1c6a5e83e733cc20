// Package v1alpha1 holds the kinds of the API group recloser.io/v1alpha1: the
// few things that a mesh needs to say and that no existing kind says.
//
// The types are plain values that decode from YAML or JSON as Kubernetes
// objects do. Each has a Validate method that reports everything that is wrong
// at once, by field. The package does no I/O and starts nothing.
package v1alpha1

// Group is the API group of these kinds.
const Group = "recloser.io"

// Version is the API version of this package's kinds.
const Version = "v1alpha1"

// APIVersion is what `apiVersion` says in a manifest of these kinds.
const APIVersion = Group + "/" + Version

// KindWorkload is what `kind` says in the manifest of a Workload.
const KindWorkload = "Workload"
