// Package conformance runs Gateway API's own conformance tests for meshes
// against the laptop mesh: `recloser up`, real processes, and the manifests and
// tables that the module sigs.k8s.io/gateway-api/conformance carries.
//
// Those tests expect a cluster, of which they use two things: a list of the
// pods, and a command run in one of them. A small stand-in gives them both: the
// pods are the instances of the mesh, and the command, a client of HTTP and
// gRPC, calls through the sidecar of the instance that it is run in.
//
// Each of their tests passes here after 20 answers in a row that are as they
// should be, where they want three. Where their tables do not look (at the
// Location of a redirect, at the path that a backend has been asked for, at the
// counts of a split) there are tests of our own, with the same manifests.
package conformance
