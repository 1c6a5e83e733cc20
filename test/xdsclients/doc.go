// Package xdsclients holds the control plane to what independent clients make
// of it: grpc-go with xds:/// targets, and a real Envoy. A control plane runs as
// its users run it, over a folder of manifests; what a client refuses, and what
// it does with real calls, decides.
package xdsclients
